//! What a cache is to look like, and what was decided when it was formed.

use std::collections::BTreeMap;

use super::slots::SlotRange;

/// Nodes are named by their home: the shard whose keys they hold, as primary or replica, for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Name of the CacheTier.
    pub tier: String,
    pub shards: u16,
    pub replicas_per_shard: u16,
    pub zones: ZoneRule,
}

/// What is asked of the zones, besides that no two nodes of a shard share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneRule {
    /// The loss of any zone leaves most of the primaries.
    MajoritySurvives,
    /// The author has opted out.
    AnyMajority,
}

/// Which node of each shard takes its slots first. Recorded before any slot is assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formation {
    /// Index of the node, by shard.
    pub primaries: Vec<u16>,
    /// Whether the cluster has stood complete. From then on it may hold data, and slots without an
    /// owner are a loss, not a beginning.
    pub formed: bool,
}

impl Shape {
    /// Name of the StatefulSet of one node.
    #[must_use]
    pub fn stateful_set(&self, shard: u16, index: u16) -> String {
        format!("{}-{shard}-{index}", self.tier)
    }

    /// Name of the pod of one node.
    #[must_use]
    pub fn pod(&self, shard: u16, index: u16) -> String {
        format!("{}-0", self.stateful_set(shard, index))
    }

    /// Shard and index of every node.
    pub fn homes(&self) -> impl Iterator<Item = (u16, u16)> + use<> {
        let indices = 0..=self.replicas_per_shard;
        (0..self.shards).flat_map(move |shard| indices.clone().map(move |index| (shard, index)))
    }

    #[must_use]
    pub fn range(&self, shard: u16) -> SlotRange {
        SlotRange::of_shard(shard, self.shards)
    }
}

/// The zone that holds half or more of the primaries, with their number, if there is one. Where
/// such a zone is lost, the rest is no majority and promotes nobody.
pub(super) fn crowded_zone<'a>(
    primaries: impl IntoIterator<Item = &'a str>,
    shards: u16,
) -> Option<(&'a str, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for zone in primaries {
        *counts.entry(zone).or_default() += 1;
    }
    counts
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .filter(|(_, count)| 2 * count >= usize::from(shards))
}

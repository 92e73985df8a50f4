//! Hash slots: which part of the keys a primary holds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Hash slots of a cluster, fixed by its protocol.
pub const SLOTS: u16 = 16_384;

/// First and last slot, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotRange {
    first: u16,
    last: u16,
}

impl SlotRange {
    /// None unless `first <= last < 16384`.
    #[must_use]
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first <= last && last < SLOTS {
            Some(Self { first, last })
        } else {
            None
        }
    }

    /// The slots of one of `shards` shards: as even as 16384 allows, in the order of the shards.
    #[must_use]
    pub fn of_shard(shard: u16, shards: u16) -> Self {
        let bound = |shard: u16| {
            let slot = u32::from(shard) * u32::from(SLOTS) / u32::from(shards.max(1));
            u16::try_from(slot).unwrap_or(SLOTS)
        };
        Self {
            first: bound(shard),
            last: bound(shard + 1).saturating_sub(1),
        }
    }

    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }

    #[must_use]
    pub const fn last(self) -> u16 {
        self.last
    }

    fn len(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }
}

impl fmt::Display for SlotRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// A set of slots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots(
    /// Sorted; neighbours neither overlap nor touch.
    Vec<SlotRange>,
);

impl Slots {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.0.iter().map(|range| range.len()).sum()
    }

    #[must_use]
    pub fn contains(&self, wanted: SlotRange) -> bool {
        self.0
            .iter()
            .any(|range| range.first <= wanted.first && wanted.last <= range.last)
    }

    #[must_use]
    pub fn intersects(&self, other: SlotRange) -> bool {
        self.0
            .iter()
            .any(|range| range.first <= other.last && other.first <= range.last)
    }
}

impl FromIterator<SlotRange> for Slots {
    fn from_iter<I: IntoIterator<Item = SlotRange>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort();
        let mut joined: Vec<SlotRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match joined.last_mut() {
                Some(before) if range.first <= before.last + 1 => {
                    before.last = before.last.max(range.last);
                }
                _ => joined.push(range),
            }
        }
        Self(joined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, last: u16) -> SlotRange {
        SlotRange::new(first, last).unwrap()
    }

    #[test]
    fn the_shards_share_all_slots_evenly() {
        for shards in 1..=100 {
            let ranges: Vec<_> = (0..shards)
                .map(|shard| SlotRange::of_shard(shard, shards))
                .collect();
            let (least, most) = (
                ranges.iter().map(|range| range.len()).min().unwrap(),
                ranges.iter().map(|range| range.len()).max().unwrap(),
            );
            assert!(most - least <= 1, "{shards}");
            let all: Slots = ranges.into_iter().collect();
            assert_eq!(all, [range(0, SLOTS - 1)].into_iter().collect());
        }
    }

    #[test]
    fn ranges_that_touch_or_overlap_are_one() {
        let slots: Slots = [range(8, 9), range(0, 3), range(2, 5), range(6, 6)]
            .into_iter()
            .collect();
        assert_eq!(slots, [range(0, 6), range(8, 9)].into_iter().collect());
        assert_eq!(slots.len(), 9);
        assert!(slots.contains(range(1, 6)) && !slots.contains(range(6, 8)));
        assert!(slots.intersects(range(7, 8)) && !slots.intersects(range(7, 7)));
    }
}

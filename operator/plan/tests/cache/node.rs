//! One simulated Valkey node: what is on its volume, and what its process knows.

use std::collections::{BTreeMap, BTreeSet};

use orlop_plan::cache::reading::NodeId;

use crate::world::{Address, Millis};

/// After so long without an answer a node suspects another one.
pub(crate) const NODE_TIMEOUT: Millis = 5_000;
/// How long an identity that was forgotten is not learned again from others.
pub(crate) const BAN: Millis = 60_000;
/// A replica whose link is down for longer is no candidate: ten node timeouts.
pub(crate) const REPLICA_VALID: Millis = 10 * NODE_TIMEOUT;

/// What survives the process: nodes.conf and the data.
#[derive(Clone, Debug)]
pub(crate) struct Volume {
    pub(crate) id: NodeId,
    pub(crate) table: BTreeMap<NodeId, Known>,
    pub(crate) current_epoch: u64,
    pub(crate) last_vote: u64,
    /// The number of the newest write that it holds; all older ones are there too.
    pub(crate) data: u64,
}

/// A node in another one's table. Slots are counted by shard: they are never split here.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Known {
    pub(crate) address: Option<Address>,
    pub(crate) slots: BTreeSet<u16>,
    pub(crate) epoch: u64,
    pub(crate) primary: Option<NodeId>,
    pub(crate) failed: bool,
    pub(crate) suspected: bool,
    pub(crate) link: bool,
    pub(crate) heard: Millis,
}

/// What goes with the process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// It reads its data until then.
    pub(crate) loaded_at: Millis,
    /// Who suspects whom, and since when that was last said.
    pub(crate) reports: BTreeMap<NodeId, BTreeMap<NodeId, Millis>>,
    pub(crate) banned: BTreeMap<NodeId, Millis>,
    pub(crate) meeting: BTreeMap<Address, Millis>,
    /// When the link to the primary last stood, with all its data copied.
    pub(crate) synced_at: Option<Millis>,
    pub(crate) link_up: bool,
    pub(crate) sync_ends: Option<Millis>,
    pub(crate) election_at: Option<Millis>,
    pub(crate) handover_until: Option<Millis>,
    pub(crate) voted_for: BTreeMap<NodeId, Millis>,
}

impl Process {
    pub(crate) fn new(loaded_at: Millis) -> Self {
        Self {
            loaded_at,
            reports: BTreeMap::new(),
            banned: BTreeMap::new(),
            meeting: BTreeMap::new(),
            synced_at: None,
            link_up: false,
            sync_ends: None,
            election_at: None,
            handover_until: None,
            voted_for: BTreeMap::new(),
        }
    }
}

impl Volume {
    pub(crate) fn new(id: NodeId) -> Self {
        Self {
            table: BTreeMap::from([(id.clone(), Known::default())]),
            id,
            current_epoch: 0,
            last_vote: 0,
            data: 0,
        }
    }

    pub(crate) fn me(&self) -> &Known {
        &self.table[&self.id]
    }

    pub(crate) fn me_mut(&mut self) -> &mut Known {
        let id = self.id.clone();
        self.table.get_mut(&id).unwrap()
    }

    pub(crate) fn owner(&self, shard: u16) -> Option<&NodeId> {
        self.table
            .iter()
            .find(|(_, known)| known.slots.contains(&shard))
            .map(|(id, _)| id)
    }

    /// Primaries with slots, by its own word.
    pub(crate) fn voters(&self) -> impl Iterator<Item = (&NodeId, &Known)> {
        self.table
            .iter()
            .filter(|(_, known)| known.primary.is_none() && !known.slots.is_empty())
    }

    pub(crate) fn majority(&self) -> usize {
        self.voters().count() / 2 + 1
    }

    /// Whether it answers requests: all slots have an owner that is not lost, and most of the
    /// primaries are within reach.
    pub(crate) fn serves(&self, shards: u16) -> bool {
        let covered = (0..shards).all(|shard| {
            self.owner(shard)
                .is_some_and(|owner| !self.table[owner].failed)
        });
        let reached = self.voters().filter(|(_, known)| !known.suspected).count();
        covered && reached >= self.majority()
    }

    /// A claim of slots by a primary. Where the owner's epoch is lower the claim wins; a node that
    /// loses its last slot to it, or whose primary does, follows the claimant.
    pub(crate) fn hear_claim(&mut self, claimant: &NodeId, epoch: u64, slots: &BTreeSet<u16>) {
        if !self.table.contains_key(claimant) {
            return;
        }
        let mine = self.me().primary.clone().unwrap_or_else(|| self.id.clone());
        let had = self
            .table
            .get(&mine)
            .is_some_and(|known| !known.slots.is_empty());
        for shard in slots {
            let owner = self.owner(*shard).cloned();
            let wins = match &owner {
                None => true,
                Some(owner) => owner != claimant && self.table[owner].epoch < epoch,
            };
            if wins {
                if let Some(known) = owner.and_then(|owner| self.table.get_mut(&owner)) {
                    known.slots.remove(shard);
                }
                self.table.get_mut(claimant).unwrap().slots.insert(*shard);
            }
        }
        let has = self
            .table
            .get(&mine)
            .is_some_and(|known| !known.slots.is_empty());
        if had && !has && mine != *claimant && *claimant != self.id {
            self.follow(claimant);
        }
    }

    pub(crate) fn follow(&mut self, primary: &NodeId) {
        let me = self.me_mut();
        me.primary = Some(primary.clone());
        me.slots.clear();
    }

    pub(crate) fn start(&mut self, now: Millis) {
        for known in self.table.values_mut() {
            known.suspected = false;
            known.link = false;
            known.heard = now;
        }
    }
}

//! How the simulated nodes hear of each other: the rules of Valkey's cluster bus, without its bytes.

use orlop_plan::cache::reading::NodeId;

use crate::{
    node::{Known, NODE_TIMEOUT, REPLICA_VALID, Volume},
    world::{Address, World},
};

/// Of a thousand chances, how many times a node asks another one in a tick.
const ASKS: usize = 300;

impl World {
    pub(crate) fn gossip(&mut self) {
        for at in 0..self.places.len() {
            if self.places[at].foreign || !self.is_up(at) {
                continue;
            }
            let known: Vec<_> = self.places[at].volume.table.keys().cloned().collect();
            for id in known {
                if id != self.places[at].volume.id && self.dice.per_mille(ASKS) {
                    self.ask(at, &id);
                }
            }
            self.meet(at);
            self.suspect(at);
        }
    }

    /// Asks the node where it is believed to be. If another one answers there, its address is not
    /// known any more.
    fn ask(&mut self, at: usize, id: &NodeId) {
        let Some(known) = self.places[at].volume.table.get_mut(id) else {
            return;
        };
        known.link = false;
        let Some(address) = known.address else {
            return;
        };
        let Some(other) = self
            .at_address(address)
            .filter(|other| self.reaches(at, *other))
        else {
            // Where nobody is, opening the connection goes on and on, and counts as one.
            let known = self.places[at].volume.table.get_mut(id).unwrap();
            known.link = true;
            return;
        };
        let is_it = self.places[other].volume.id == *id;
        let known = self.places[at].volume.table.get_mut(id).unwrap();
        if !is_it {
            known.address = None;
            return;
        }
        known.link = true;
        self.hear(other, at);
        self.hear(at, other);
    }

    fn meet(&mut self, at: usize) {
        let now = self.now;
        let process = self.places[at].process.as_mut().unwrap();
        process
            .meeting
            .retain(|_, since| now - *since < NODE_TIMEOUT);
        let addresses: Vec<Address> = process.meeting.keys().copied().collect();
        for address in addresses {
            let Some(other) = self
                .at_address(address)
                .filter(|other| self.reaches(at, *other))
            else {
                continue;
            };
            if self.dice.per_mille(500) {
                continue;
            }
            if self.places[other].foreign {
                let text = format!("{} met {}", self.places[at].name, self.places[other].name);
                self.broken(text);
                return;
            }
            self.places[at]
                .process
                .as_mut()
                .unwrap()
                .meeting
                .remove(&address);
            if at == other {
                continue;
            }
            self.learn(at, other);
            self.learn(other, at);
            self.hear(at, other);
            self.hear(other, at);
        }
    }

    fn learn(&mut self, listener: usize, speaker: usize) {
        let (id, address) = (
            self.places[speaker].volume.id.clone(),
            self.places[speaker].address,
        );
        let now = self.now;
        let process = self.places[listener].process.as_mut().unwrap();
        process.banned.remove(&id);
        let known = self.places[listener]
            .volume
            .table
            .entry(id)
            .or_insert_with(|| Known {
                heard: now,
                ..Known::default()
            });
        known.address = address;
    }

    /// The listener takes in what the speaker says of itself and of others.
    fn hear(&mut self, listener: usize, speaker: usize) {
        let now = self.now;
        let said = self.places[speaker].volume.clone();
        let address = self.places[speaker].address;
        let volume = &mut self.places[listener].volume;
        let Some(known) = volume.table.get_mut(&said.id) else {
            return;
        };
        let me = said.me();
        known.address = address;
        known.heard = now;
        known.suspected = false;
        known.failed = false;
        known.primary.clone_from(&me.primary);
        if me.primary.is_some() {
            known.slots.clear();
        }
        known.epoch = me.epoch;
        volume.current_epoch = volume.current_epoch.max(said.current_epoch).max(me.epoch);
        if me.primary.is_none() {
            volume.hear_claim(&said.id, me.epoch, &me.slots);
            settle_collision(volume, &said);
            self.correct(listener, speaker);
        } else {
            self.follow_up(listener, &said);
        }
        self.take_gossip(listener, &said);
    }

    /// The primary of the listener has become a replica: it follows the same one.
    fn follow_up(&mut self, listener: usize, said: &Volume) {
        let volume = &mut self.places[listener].volume;
        if volume.me().primary.as_ref() == Some(&said.id)
            && let Some(next) = said.me().primary.clone()
            && next != volume.id
            && volume.table.contains_key(&next)
        {
            volume.follow(&next);
        }
    }

    /// A claim that is out of date is answered with the newer one.
    fn correct(&mut self, listener: usize, speaker: usize) {
        let volume = &self.places[listener].volume;
        let said = self.places[speaker].volume.me();
        let newer = said.slots.iter().find_map(|shard| {
            let owner = volume.owner(*shard)?;
            let known = &volume.table[owner];
            (*owner != self.places[speaker].volume.id && known.epoch > said.epoch)
                .then(|| (owner.clone(), known.epoch, known.slots.clone()))
        });
        if let Some((owner, epoch, slots)) = newer {
            let told = &mut self.places[speaker].volume;
            if let Some(known) = told.table.get_mut(&owner) {
                known.epoch = known.epoch.max(epoch);
                known.primary = None;
            }
            told.hear_claim(&owner, epoch, &slots);
        }
    }

    fn take_gossip(&mut self, listener: usize, said: &Volume) {
        let now = self.now;
        let place = &mut self.places[listener];
        let (volume, process) = (&mut place.volume, place.process.as_mut().unwrap());
        process.banned.retain(|_, until| *until > now);
        let speaks_as_voter = said.me().primary.is_none() && !said.me().slots.is_empty();
        for (id, theirs) in &said.table {
            if *id == volume.id || *id == said.id {
                continue;
            }
            let Some(mine) = volume.table.get_mut(id) else {
                if theirs.address.is_some() && !process.banned.contains_key(id) {
                    let learned = Known {
                        address: theirs.address,
                        heard: now,
                        ..Known::default()
                    };
                    volume.table.insert(id.clone(), learned);
                }
                continue;
            };
            let lost = theirs.failed || theirs.suspected;
            if speaks_as_voter {
                let reports = process.reports.entry(id.clone()).or_default();
                if lost {
                    reports.insert(said.id.clone(), now);
                } else {
                    reports.remove(&said.id);
                }
            }
            if (mine.suspected || mine.failed) && !lost && theirs.address.is_some() {
                mine.address = theirs.address;
            }
        }
    }

    /// Silence becomes suspicion, and the suspicion of most primaries a verdict for all.
    fn suspect(&mut self, at: usize) {
        let now = self.now;
        let place = &mut self.places[at];
        let (volume, process) = (&mut place.volume, place.process.as_mut().unwrap());
        let majority = volume.majority();
        let me = volume.id.clone();
        let own = usize::from(volume.me().primary.is_none() && !volume.me().slots.is_empty());
        let voters: Vec<_> = volume.voters().map(|(id, _)| id.clone()).collect();
        let mut lost = Vec::new();
        for (id, known) in &mut volume.table {
            if *id == me || now - known.heard <= NODE_TIMEOUT {
                continue;
            }
            known.suspected = true;
            let reports = process.reports.entry(id.clone()).or_default();
            reports
                .retain(|voter, since| now - *since < 2 * NODE_TIMEOUT && voters.contains(voter));
            if !known.failed && reports.len() + own >= majority {
                known.failed = true;
                lost.push(id.clone());
            }
        }
        for id in lost {
            for other in 0..self.places.len() {
                let hears = other != at && self.is_up(other) && self.reaches(at, other);
                let volume = &mut self.places[other].volume;
                if hears
                    && volume.id != id
                    && volume.table.contains_key(&me)
                    && let Some(known) = volume.table.get_mut(&id)
                {
                    known.failed = true;
                }
            }
        }
    }

    /// Replicas of a lost primary, and those that are asked to take over, stand for election.
    pub(crate) fn elect(&mut self) {
        for at in 0..self.places.len() {
            if self.places[at].foreign || !self.is_up(at) {
                continue;
            }
            let now = self.now;
            let pause = self.dice.between(500, 1_500);
            let place = &mut self.places[at];
            let (volume, process) = (&place.volume, place.process.as_mut().unwrap());
            let Some(primary) = volume.me().primary.clone() else {
                continue;
            };
            let handover =
                process.handover_until.is_some_and(|until| until > now) && process.link_up;
            let is_lost = volume.table.get(&primary).is_some_and(|known| known.failed);
            let valid = process
                .synced_at
                .is_some_and(|synced| now - synced < REPLICA_VALID);
            let has_slots = volume
                .table
                .get(&primary)
                .is_some_and(|known| !known.slots.is_empty());
            if !has_slots || !(handover || is_lost && valid) {
                process.election_at = None;
                continue;
            }
            let stands_at = *process.election_at.get_or_insert(now + pause);
            if stands_at <= now {
                process.election_at = Some(now + 2 * NODE_TIMEOUT);
                self.stand(at, &primary, handover);
            }
        }
    }

    fn stand(&mut self, at: usize, primary: &NodeId, handover: bool) {
        let volume = &mut self.places[at].volume;
        volume.current_epoch += 1;
        let epoch = volume.current_epoch;
        let me = volume.id.clone();
        let claimed = volume.table[primary].clone();
        let majority = volume.majority();
        let voters: Vec<_> = volume.voters().map(|(id, _)| id.clone()).collect();
        let mut granted = 0;
        for voter in voters {
            let Some(other) = self.by_id(&voter).filter(|other| self.is_up(*other)) else {
                continue;
            };
            if self.reaches(at, other) && self.votes(other, &me, primary, epoch, &claimed, handover)
            {
                granted += 1;
            }
        }
        if granted < majority {
            return;
        }
        if handover {
            let from = self.by_id(primary).unwrap();
            self.places[at].volume.data = self.places[from].volume.data;
        }
        let volume = &mut self.places[at].volume;
        volume.table.get_mut(primary).unwrap().slots.clear();
        let myself = volume.me_mut();
        myself.primary = None;
        myself.epoch = epoch;
        myself.slots = claimed.slots;
        let text = format!("{} is promoted with epoch {epoch}", self.places[at].name);
        self.tell(text);
    }

    fn votes(
        &mut self,
        voter: usize,
        candidate: &NodeId,
        primary: &NodeId,
        epoch: u64,
        claimed: &Known,
        handover: bool,
    ) -> bool {
        let now = self.now;
        let place = &mut self.places[voter];
        let (volume, process) = (&mut place.volume, place.process.as_mut().unwrap());
        let is_voter = volume.me().primary.is_none() && !volume.me().slots.is_empty();
        let known = volume.table.get(candidate);
        let is_replica = known.is_some_and(|known| known.primary.as_ref() == Some(primary));
        let is_lost = handover || volume.table.get(primary).is_some_and(|known| known.failed);
        let outdated = claimed.slots.iter().any(|shard| {
            let owner = volume.owner(*shard).map(|owner| &volume.table[owner]);
            owner.is_some_and(|owner| owner.epoch > claimed.epoch)
        });
        let last = process.voted_for.get(primary);
        let again = last.is_some_and(|last| now - last < 2 * NODE_TIMEOUT);
        let grants = is_voter
            && is_replica
            && is_lost
            && !outdated
            && !again
            && epoch > volume.last_vote
            && epoch >= volume.current_epoch;
        if grants {
            volume.last_vote = epoch;
            volume.current_epoch = epoch;
            process.voted_for.insert(primary.clone(), now);
        }
        grants
    }
}

/// Two primaries of one epoch: the one with the smaller identity takes a new one.
fn settle_collision(volume: &mut Volume, said: &Volume) {
    let is_primary = volume.me().primary.is_none();
    if is_primary && volume.me().epoch == said.me().epoch && volume.id < said.id {
        volume.current_epoch += 1;
        let epoch = volume.current_epoch;
        volume.me_mut().epoch = epoch;
    }
}

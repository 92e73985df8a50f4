//! What the simulated nodes do when they are told to, and the rules that no order may break.

use orlop_plan::cache::{Action, action::Command, reading::NodeId, slots::SlotRange};

use crate::{
    node::{BAN, NODE_TIMEOUT},
    world::{Address, World},
};

impl World {
    /// Sends one action to the address that it names. The same connection asks the node who it is,
    /// so another one that has the address by now is not told.
    pub(crate) fn perform(&mut self, action: &Action) -> Result<(), String> {
        let address = last_number(&action.node.address.to_string());
        let at = self.at_address(address).ok_or("no answer")?;
        let place = &self.places[at];
        if place.foreign || place.volume.id != action.node.id {
            return Err("another node answers".to_owned());
        }
        if self.cut.contains(&place.zone) {
            return Err("no answer".to_owned());
        }
        self.done += 1;
        self.tell(format!("does: {action}"));
        match &action.command {
            Command::SetConfigEpoch(epoch) => self.set_epoch(at, *epoch),
            Command::Meet(peer) => {
                let address = last_number(&peer.address.to_string());
                let now = self.now;
                self.process(at).meeting.insert(address, now);
                Ok(())
            }
            Command::AddSlots(range) => self.add_slots(at, *range),
            Command::Replicate(primary) => self.replicate_by_order(at, primary),
            Command::Forget(gone) => self.forget(at, gone),
            Command::Failover => {
                let until = self.now + NODE_TIMEOUT;
                self.process(at).handover_until = Some(until);
                Ok(())
            }
        }
    }

    fn process(&mut self, at: usize) -> &mut crate::node::Process {
        self.places[at].process.as_mut().unwrap()
    }

    fn set_epoch(&mut self, at: usize, epoch: u64) -> Result<(), String> {
        let volume = &mut self.places[at].volume;
        if volume.table.len() > 1 || volume.me().epoch != 0 {
            return Err("not alone, or it has an epoch".to_owned());
        }
        volume.current_epoch = volume.current_epoch.max(epoch);
        volume.me_mut().epoch = epoch;
        Ok(())
    }

    fn add_slots(&mut self, at: usize, range: SlotRange) -> Result<(), String> {
        let shard = (0..self.shape.shards).find(|shard| self.shape.range(*shard) == range);
        let shard = shard.ok_or("not the slots of a shard")?;
        if self.places[at].volume.owner(shard).is_some() {
            return Err("slot is busy".to_owned());
        }
        let name = self.places[at].name.clone();
        let had = self.own().find(|place| {
            let has_slots = place.volume.me().slots.contains(&shard);
            place.name != name && has_slots || place.shard == shard && place.volume.data > 0
        });
        if let Some(had) = had {
            self.broken(format!(
                "{name} was given slots that {} has or had data of",
                had.name
            ));
        }
        self.places[at].volume.me_mut().slots.insert(shard);
        Ok(())
    }

    fn replicate_by_order(&mut self, at: usize, primary: &NodeId) -> Result<(), String> {
        let place = &self.places[at];
        let volume = &place.volume;
        let known = volume.table.get(primary).ok_or("unknown node")?;
        if known.primary.is_some() {
            return Err("not a primary".to_owned());
        }
        let me = volume.me();
        if me.primary.is_none() && (!me.slots.is_empty() || volume.data > 0) {
            return Err("not empty".to_owned());
        }
        let name = place.name.clone();
        let (shard, zone) = (place.shard, place.zone);
        match self.by_id(primary) {
            Some(source) => {
                let source = &self.places[source];
                if source.shard != shard {
                    let text = format!(
                        "{name} was told to replicate {}, of another shard",
                        source.name
                    );
                    self.broken(text);
                } else if source.zone == zone {
                    let text = format!("{name} was told to replicate {}, of its zone", source.name);
                    self.broken(text);
                }
            }
            None => self.broken(format!("{name} was told to replicate what is gone")),
        }
        self.places[at].volume.follow(primary);
        let process = self.process(at);
        process.synced_at = None;
        process.sync_ends = None;
        process.link_up = false;
        Ok(())
    }

    fn forget(&mut self, at: usize, gone: &NodeId) -> Result<(), String> {
        let volume = &self.places[at].volume;
        if !volume.table.contains_key(gone) {
            return Err("unknown node".to_owned());
        }
        if volume.id == *gone || volume.me().primary.as_ref() == Some(gone) {
            return Err("it is itself or its primary".to_owned());
        }
        if let Some(alive) = self.by_id(gone) {
            let text = format!(
                "{} was told to forget {}, whose volume exists",
                self.places[at].name, self.places[alive].name
            );
            self.broken(text);
        }
        self.places[at].volume.table.remove(gone);
        let until = self.now + BAN;
        self.process(at).banned.insert(gone.clone(), until);
        Ok(())
    }

    /// What holds at any moment.
    pub(crate) fn check(&mut self) {
        for shard in 0..self.shape.shards {
            let owners: Vec<_> = self
                .own()
                .filter(|place| place.volume.me().slots.contains(&shard))
                .map(|place| (place.name.clone(), place.volume.me().epoch))
                .collect();
            for (position, (one, epoch)) in owners.iter().enumerate() {
                let same = owners[position + 1..]
                    .iter()
                    .find(|(_, other)| other == epoch);
                if let Some((other, _)) = same {
                    let text =
                        format!("{one} and {other} both have shard {shard} in epoch {epoch}");
                    self.broken(text);
                    return;
                }
            }
        }
    }
}

fn last_number(address: &str) -> Address {
    address.rsplit('.').next().unwrap().parse().unwrap()
}

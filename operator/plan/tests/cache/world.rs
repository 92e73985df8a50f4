//! The simulated world: pods, volumes, zones, addresses, and the clients' writes.

use std::collections::{BTreeMap, BTreeSet};

use orlop_plan::cache::{
    Shape,
    reading::{Flag, Member, Node, NodeId, Reading, Replication, State, View},
    slots::Slots,
};

use crate::{
    node::{NODE_TIMEOUT, Process, Volume},
    seed::Dice,
};

pub(crate) type Millis = i64;
/// Last number of an address.
pub(crate) type Address = u8;

pub(crate) const TICK: Millis = 100;
/// Addresses are given out again, but not at once: what a cluster's address management does.
const ADDRESSES: Address = 40;
const ZONES: [&str; 3] = ["north", "east", "south"];

/// A place for a node: its pod comes and goes, its volume stays.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) shard: u16,
    /// A node of another cache: it refuses this one's password.
    pub(crate) foreign: bool,
    pub(crate) zone: usize,
    pub(crate) volume: Volume,
    pub(crate) address: Option<Address>,
    pub(crate) process: Option<Process>,
    /// When a pod that is gone, or a process that ended, is back.
    pub(crate) back_at: Millis,
}

pub(crate) struct World {
    pub(crate) shape: Shape,
    pub(crate) now: Millis,
    pub(crate) dice: Dice,
    pub(crate) places: Vec<Place>,
    /// Zones that nobody reaches from outside.
    pub(crate) cut: BTreeSet<usize>,
    /// Newest write that all copies of a shard held at one time.
    pub(crate) durable: BTreeMap<u16, u64>,
    /// Newest write that was acknowledged.
    pub(crate) written: BTreeMap<u16, u64>,
    /// Actions that reached a node.
    pub(crate) done: usize,
    /// What broke a rule.
    pub(crate) broken: Option<String>,
    pub(crate) trace: Vec<String>,
    next_address: Address,
}

impl World {
    pub(crate) fn new(shape: Shape, seed: u64) -> Self {
        let mut world = Self {
            now: 0,
            dice: Dice::new(seed),
            places: Vec::new(),
            cut: BTreeSet::new(),
            durable: BTreeMap::new(),
            written: BTreeMap::new(),
            done: 0,
            broken: None,
            trace: Vec::new(),
            next_address: 1,
            shape,
        };
        for (shard, index) in world.shape.homes() {
            let zone = usize::from(shard + index) % ZONES.len();
            let name = world.shape.pod(shard, index);
            world.add(name, shard, zone, false);
        }
        for zone in 0..ZONES.len() {
            world.add(format!("harbour-{zone}-0-0"), 0, zone, true);
        }
        world
    }

    fn add(&mut self, name: String, shard: u16, zone: usize, foreign: bool) {
        let id = self.new_id();
        let back_at = self.dice.between(0, 5_000);
        self.places.push(Place {
            name,
            shard,
            foreign,
            zone,
            volume: Volume::new(id),
            address: None,
            process: None,
            back_at,
        });
    }

    fn new_id(&mut self) -> NodeId {
        let digits = format!(
            "{:016x}{:016x}{:08x}",
            self.dice.next(),
            self.dice.next(),
            0
        );
        NodeId::parse(&digits).unwrap()
    }

    pub(crate) fn tell(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.trace.push(format!("{:>7} {text}", self.now));
    }

    pub(crate) fn broken(&mut self, text: String) {
        self.tell(format!("BROKEN {text}"));
        self.broken.get_or_insert(text);
    }

    pub(crate) fn own(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|place| !place.foreign)
    }

    pub(crate) fn is_up(&self, at: usize) -> bool {
        let place = &self.places[at];
        let loaded = place.process.as_ref().map(|process| process.loaded_at);
        place.address.is_some() && loaded.is_some_and(|loaded| loaded <= self.now)
    }

    /// Which process answers at an address.
    pub(crate) fn at_address(&self, address: Address) -> Option<usize> {
        (0..self.places.len())
            .find(|at| self.places[*at].address == Some(address) && self.is_up(*at))
    }

    pub(crate) fn reaches(&self, one: usize, other: usize) -> bool {
        let (one, other) = (self.places[one].zone, self.places[other].zone);
        one == other || !(self.cut.contains(&one) || self.cut.contains(&other))
    }

    pub(crate) fn by_id(&self, id: &NodeId) -> Option<usize> {
        self.places.iter().position(|place| place.volume.id == *id)
    }

    /// Pods come back, processes start.
    pub(crate) fn start_processes(&mut self) {
        for at in 0..self.places.len() {
            if self.places[at].process.is_some() || self.places[at].back_at > self.now {
                continue;
            }
            let address = match self.places[at].address {
                Some(address) => address,
                None => self.free_address(),
            };
            let loading = if self.places[at].volume.data > 0 {
                self.dice.between(100, 3_000)
            } else {
                0
            };
            let now = self.now;
            let place = &mut self.places[at];
            place.address = Some(address);
            place.process = Some(Process::new(now + loading));
            place.volume.start(now);
            place.volume.me_mut().address = Some(address);
        }
    }

    fn free_address(&mut self) -> Address {
        loop {
            let address = self.next_address;
            self.next_address = self.next_address % ADDRESSES + 1;
            if self
                .places
                .iter()
                .all(|place| place.address != Some(address))
            {
                return address;
            }
        }
    }

    /// The process ends; the pod keeps its address.
    pub(crate) fn kill(&mut self, at: usize) {
        let back = self.now + self.dice.between(200, 8_000);
        let place = &mut self.places[at];
        place.process = None;
        place.back_at = back;
    }

    /// The pod is deleted: another one with another address takes its place.
    pub(crate) fn delete(&mut self, at: usize) {
        self.kill(at);
        self.places[at].address = None;
    }

    pub(crate) fn lose_volume(&mut self, at: usize) {
        self.delete(at);
        let id = self.new_id();
        self.places[at].volume = Volume::new(id);
    }

    /// Clients write to whom has the slots and serves; replicas copy.
    pub(crate) fn move_data(&mut self) {
        for at in 0..self.places.len() {
            if self.is_up(at) {
                self.replicate(at);
            }
        }
        for shard in 0..self.shape.shards {
            let serving: Vec<_> = (0..self.places.len())
                .filter(|at| !self.places[*at].foreign && self.is_up(*at))
                .filter(|at| {
                    let volume = &self.places[*at].volume;
                    volume.me().slots.contains(&shard) && volume.serves(self.shape.shards)
                })
                .collect();
            for at in serving {
                let next = self.written.get(&shard).copied().unwrap_or(0) + 1;
                self.written.insert(shard, next);
                self.places[at].volume.data = next;
            }
            let copies = self.own().filter(|place| place.shard == shard);
            let everywhere = copies.map(|place| place.volume.data).min().unwrap_or(0);
            let durable = self.durable.entry(shard).or_default();
            *durable = (*durable).max(everywhere);
        }
    }

    fn replicate(&mut self, at: usize) {
        let now = self.now;
        let volume = &self.places[at].volume;
        let source = volume.me().primary.clone().and_then(|primary| {
            let address = volume.table.get(&primary)?.address?;
            let source = self.at_address(address)?;
            let found = &self.places[source].volume;
            let is_it = found.id == primary && found.me().primary.is_none();
            (is_it && self.reaches(at, source)).then_some(source)
        });
        let copying = self.dice.between(200, 2_000);
        let data = source.map(|source| self.places[source].volume.data);
        let place = &mut self.places[at];
        let Some(process) = place.process.as_mut() else {
            return;
        };
        let Some(data) = data else {
            process.link_up = false;
            process.sync_ends = None;
            return;
        };
        let ends = *process.sync_ends.get_or_insert(now + copying);
        process.link_up = ends <= now;
        if process.link_up {
            process.synced_at = Some(now);
            place.volume.data = data;
        }
    }

    /// What a poll of all nodes gives, if no answer is lost.
    pub(crate) fn read(&self) -> Reading {
        let nodes = self.own().map(|place| {
            let at = self
                .places
                .iter()
                .position(|other| other.name == place.name);
            (place.name.clone(), self.read_node(at.unwrap()))
        });
        Reading {
            nodes: nodes.collect(),
        }
    }

    fn read_node(&self, at: usize) -> Node {
        let place = &self.places[at];
        let state = match (&place.process, place.address) {
            (_, None) => State::Absent,
            (None, _) => State::Unreachable("connection refused".to_owned()),
            _ if self.cut.contains(&place.zone) => State::Unreachable("no answer".to_owned()),
            _ if !self.is_up(at) => State::Loading,
            (Some(process), _) => State::Up(Box::new(self.view(place, process))),
        };
        Node {
            address: place.address.map(ip),
            zone: Some(ZONES[place.zone].to_owned()),
            state,
        }
    }

    fn view(&self, place: &Place, process: &Process) -> View {
        let volume = &place.volume;
        let mut members: BTreeMap<_, _> = volume
            .table
            .iter()
            .map(|(id, known)| {
                let flags = [
                    (Flag::Myself, *id == volume.id),
                    (Flag::Suspected, known.suspected && !known.failed),
                    (Flag::Failed, known.failed),
                    (Flag::NoAddress, known.address.is_none()),
                ];
                let member = Member {
                    address: known.address.map(ip),
                    flags: flags
                        .iter()
                        .filter(|(_, is)| *is)
                        .map(|(flag, _)| *flag)
                        .collect(),
                    primary: known.primary.clone(),
                    epoch: known.epoch,
                    connected: *id == volume.id || known.link,
                    slots: self.slots(&known.slots),
                };
                (id.clone(), member)
            })
            .collect();
        for address in process.meeting.keys() {
            let placeholder = NodeId::parse(&format!("{:040x}", 0xff00 + u32::from(*address)));
            let member = Member {
                address: Some(ip(*address)),
                flags: BTreeSet::from([Flag::Handshake]),
                primary: None,
                epoch: 0,
                connected: false,
                slots: Slots::default(),
            };
            members.insert(placeholder.unwrap(), member);
        }
        let me = volume.me();
        View {
            id: volume.id.clone(),
            version: "9.1.0".to_owned(),
            members,
            serves: volume.serves(self.shape.shards),
            stray_keys: if me.slots.is_empty() && me.primary.is_none() {
                volume.data
            } else {
                0
            },
            replication: match me.primary {
                None => Replication::Primary,
                Some(_) => Replication::Replica {
                    link_up: process.link_up,
                },
            },
        }
    }

    fn slots(&self, shards: &BTreeSet<u16>) -> Slots {
        shards
            .iter()
            .map(|shard| self.shape.range(*shard))
            .collect()
    }

    /// Whether a node may lose its volume without that being the loss of its shard's data: another
    /// copy is complete and could be promoted.
    pub(crate) fn can_spare(&self, at: usize) -> bool {
        let lost = &self.places[at];
        let owner = (0..self.places.len()).find(|other| {
            self.is_up(*other) && self.places[*other].volume.me().slots.contains(&lost.shard)
        });
        let Some(owner) = owner else {
            return false;
        };
        let follows = |other: usize| {
            let place = &self.places[other];
            let fresh = place.process.as_ref().and_then(|process| process.synced_at);
            other != at
                && !place.foreign
                && place.shard == lost.shard
                && self.is_up(other)
                && fresh.is_some_and(|synced| self.now - synced < NODE_TIMEOUT)
        };
        // A quorum that promotes: all other shards have their primaries, and none is about to go.
        let quiet = self.cut.is_empty()
            && self.own().all(|place| place.process.is_some())
            && (0..self.places.len())
                .filter(|other| !self.places[*other].foreign)
                .all(|other| {
                    self.is_up(other) && self.places[other].volume.serves(self.shape.shards)
                });
        quiet && (owner != at || (0..self.places.len()).any(follows))
    }
}

pub(crate) fn ip(address: Address) -> std::net::IpAddr {
    [192, 0, 2, address].into()
}

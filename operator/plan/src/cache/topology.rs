//! All views of a reading put together.

use std::net::IpAddr;

use super::{
    action::NodeRef,
    cause::Cause,
    reading::{Flag, Member, NodeId, Reading, State, View},
    shape::Shape,
    slots::SlotRange,
};

/// The nodes that answer, and what they say together.
pub(super) struct Topology<'a> {
    pub(super) shape: &'a Shape,
    /// In the order of their homes.
    pub(super) live: Vec<Live<'a>>,
    /// Pods that do not give a view.
    pub(super) missing: Vec<Missing<'a>>,
}

pub(super) struct Missing<'a> {
    pub(super) name: String,
    pub(super) shard: u16,
    /// None if it was not even asked.
    pub(super) state: Option<&'a State>,
}

/// A node that answers.
#[derive(Clone)]
pub(super) struct Live<'a> {
    pub(super) name: String,
    pub(super) shard: u16,
    pub(super) index: u16,
    pub(super) address: IpAddr,
    pub(super) zone: Option<&'a str>,
    pub(super) view: &'a View,
}

/// Who has the slots of one shard, by all views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner<'a> {
    /// All agree that nobody has any of them.
    Nobody,
    /// All agree on one node that has all of them.
    One(&'a NodeId),
    /// Some know of one owner, the others of none.
    Spreading(&'a NodeId),
    /// The views differ.
    Disputed,
    /// A view has them split.
    Split,
}

impl<'a> Topology<'a> {
    pub(super) fn of(shape: &'a Shape, reading: &'a Reading) -> Result<Self, Cause> {
        let (mut live, mut missing): (Vec<Live<'a>>, Vec<_>) = (Vec::new(), Vec::new());
        for (shard, index) in shape.homes() {
            let name = shape.pod(shard, index);
            let node = reading.nodes.get(&name);
            match node.map(|node| (&node.state, node.address)) {
                Some((State::Up(view), Some(address))) => live.push(Live {
                    name,
                    shard,
                    index,
                    address,
                    zone: node.and_then(|node| node.zone.as_deref()),
                    view,
                }),
                state => missing.push(Missing {
                    name,
                    shard,
                    state: state.map(|(state, _)| state),
                }),
            }
        }
        for (position, one) in live.iter().enumerate() {
            if let Some(other) = live[position + 1..]
                .iter()
                .find(|other| other.view.id == one.view.id)
            {
                return Err(Cause::Duplicate {
                    one: one.name.clone(),
                    other: other.name.clone(),
                });
            }
        }
        Ok(Self {
            shape,
            live,
            missing,
        })
    }

    /// Whether every node of the cache answers: then an identity that is not among theirs is gone
    /// with its volume.
    pub(super) fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    pub(super) fn by_id(&self, id: &NodeId) -> Option<&Live<'a>> {
        self.live.iter().find(|node| node.view.id == *id)
    }

    pub(super) fn at_home(&self, shard: u16) -> impl Iterator<Item = &Live<'a>> {
        self.live.iter().filter(move |node| node.shard == shard)
    }

    pub(super) fn owner(&self, shard: u16) -> Owner<'a> {
        let range = self.shape.range(shard);
        let mut found: Option<&NodeId> = None;
        let mut unknown_to_some = false;
        for node in &self.live {
            match owner_in(node.view, range) {
                Ok(None) => unknown_to_some = true,
                Ok(Some(owner)) => match found {
                    Some(other) if other != owner => return Owner::Disputed,
                    _ => found = Some(owner),
                },
                Err(Split) => return Owner::Split,
            }
        }
        match found {
            Some(owner) if unknown_to_some => Owner::Spreading(owner),
            Some(owner) => Owner::One(owner),
            None => Owner::Nobody,
        }
    }

    /// The primary of a shard on which all agree, if it answers and agrees itself.
    pub(super) fn primary(&self, shard: u16) -> Option<&Live<'a>> {
        match self.owner(shard) {
            Owner::One(id) => self.by_id(id),
            _ => None,
        }
    }

    /// What is known of a node by those that answer.
    pub(super) fn views_of(&self, id: &NodeId) -> impl Iterator<Item = &'a Member> {
        self.live
            .iter()
            .filter_map(move |node| node.view.members.get(id))
    }

    /// Why not all nodes answer, if so: the worst first.
    pub(super) fn absence(&self) -> Option<Cause> {
        let named = |wanted: fn(Option<&State>) -> bool| {
            let names: Vec<_> = self
                .missing
                .iter()
                .filter(|missing| wanted(missing.state))
                .map(|missing| missing.name.clone())
                .collect();
            (!names.is_empty()).then_some(names)
        };
        named(|state| matches!(state, Some(State::Refused)))
            .map(Cause::Refused)
            .or_else(|| {
                named(|state| !matches!(state, Some(State::Loading))).map(Cause::NotAnswering)
            })
            .or_else(|| named(|_| true).map(Cause::Loading))
    }
}

struct Split;

fn owner_in(view: &View, range: SlotRange) -> Result<Option<&NodeId>, Split> {
    let mut owners = view
        .members
        .iter()
        .filter(|(_, member)| member.slots.intersects(range));
    match (owners.next(), owners.next()) {
        (None, _) => Ok(None),
        (Some((id, member)), None) if member.slots.contains(range) => Ok(Some(id)),
        _ => Err(Split),
    }
}

impl Live<'_> {
    pub(super) fn reference(&self) -> NodeRef {
        NodeRef {
            name: self.name.clone(),
            id: self.view.id.clone(),
            address: self.address,
        }
    }

    /// Whether it knows of no slot that anybody has: a node at its first start, or one that met
    /// only such nodes.
    pub(super) fn is_blank(&self) -> bool {
        self.view
            .members
            .values()
            .all(|member| member.slots.is_empty())
    }

    pub(super) fn has_slots(&self) -> bool {
        self.view
            .myself()
            .is_some_and(|member| !member.slots.is_empty())
    }

    /// Whether it knows where the other one is now.
    pub(super) fn knows(&self, other: &Live<'_>) -> bool {
        self.view.members.get(&other.view.id).is_some_and(|member| {
            member.address == Some(other.address) && !member.is(Flag::Handshake)
        })
    }

    /// Whether it was told already where the other one is, and has not heard of it yet.
    pub(super) fn is_meeting(&self, other: &Live<'_>) -> bool {
        self.view
            .members
            .values()
            .any(|member| member.is(Flag::Handshake) && member.address == Some(other.address))
    }

    /// Whether both have ever been in one cluster: one knows the other, or both know a third.
    pub(super) fn is_acquainted(&self, other: &Self) -> bool {
        self.view
            .members
            .iter()
            .filter(|(_, member)| !member.is(Flag::Handshake))
            .any(|(id, _)| other.view.members.contains_key(id))
    }
}

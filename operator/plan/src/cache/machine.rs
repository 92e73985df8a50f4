//! The state machine of a cache: from what its nodes say to what is done next.
//!
//! Its memory is the [`Formation`] in the status and what the nodes keep on their volumes. A step
//! either decides something to be recorded or acts. An action is done only if, planned anew from a
//! reading made right before, it is still among the actions: so every condition under which it was
//! planned is its expectation.

use super::{
    action::{Action, Command, NodeRef},
    cause::Cause,
    formation::decide,
    reading::{Flag, Member, NodeId, Reading, Replication},
    shape::{Formation, Shape, ZoneRule, crowded_zone},
    topology::{Live, Owner, Topology},
};

/// What one step decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// To be recorded. Where it differs from what was recorded there are no actions.
    pub formation: Option<Formation>,
    pub actions: Vec<Action>,
    /// Why the cache is not complete; none when it is.
    pub cause: Option<Cause>,
}

pub fn step(shape: &Shape, reading: &Reading, recorded: Option<&Formation>) -> Step {
    let told = |formation: Option<Formation>, halt: Halt| Step {
        formation,
        actions: halt.actions,
        cause: Some(halt.cause),
    };
    let topology = match Topology::of(shape, reading) {
        Ok(topology) => topology,
        Err(cause) => return told(recorded.cloned(), cause.into()),
    };
    let Some(formation) = recorded else {
        return match begin(&topology) {
            Ok(formation) => told(Some(formation), Cause::Introducing.into()),
            Err(halt) => told(None, halt),
        };
    };
    match advance(&topology, formation) {
        Ok(()) => Step {
            formation: Some(Formation {
                formed: true,
                ..formation.clone()
            }),
            actions: Vec::new(),
            cause: None,
        },
        Err(halt) => told(Some(formation.clone()), halt),
    }
}

/// Whether a planned action is still right, by a reading made right before it is done.
pub fn is_still_due(
    action: &Action,
    shape: &Shape,
    fresh: &Reading,
    recorded: Option<&Formation>,
) -> bool {
    step(shape, fresh, recorded).actions.contains(action)
}

/// At most so many actions a step, each of which costs a reading of all nodes.
const ACTIONS_MAX: usize = 32;

/// Where a step ends: what is to be done, and what it is for.
struct Halt {
    actions: Vec<Action>,
    cause: Cause,
}

impl From<Cause> for Halt {
    fn from(cause: Cause) -> Self {
        Self {
            actions: Vec::new(),
            cause,
        }
    }
}

/// Ends the step if there is something to do.
fn act(mut actions: Vec<Action>, cause: Cause) -> Result<(), Halt> {
    if actions.is_empty() {
        return Ok(());
    }
    actions.truncate(ACTIONS_MAX);
    Err(Halt { actions, cause })
}

/// The formation to record. Nodes that were in one cluster before find each other again first: what
/// they say together is what was.
fn begin(topology: &Topology<'_>) -> Result<Formation, Halt> {
    refuse_strangers(topology)?;
    introduce(topology, Live::is_acquainted)?;
    Ok(decide(topology)?)
}

/// The safe order. Each stage passes only when it has nothing left to do for the nodes that answer.
fn advance(topology: &Topology<'_>, formation: &Formation) -> Result<(), Halt> {
    refuse_strangers(topology)?;
    // Nodes that refuse the password are restarted first: what the others say is half the truth.
    if let Some(cause @ Cause::Refused(_)) = topology.absence() {
        return Err(cause.into());
    }
    begin_epochs(topology, formation)?;
    introduce(topology, |_, _| true)?;
    assign_slots(topology, formation)?;
    attach_replicas(topology)?;
    forget_the_gone(topology)?;
    verify(topology)?;
    balance_zones(topology, formation)
}

/// Nodes of two clusters that both hold data are never joined: one of them would lose.
fn refuse_strangers(topology: &Topology<'_>) -> Result<(), Halt> {
    let mut populated: Vec<_> = topology
        .live
        .iter()
        .filter(|node| !node.is_blank())
        .collect();
    let Some(first) = populated.pop() else {
        return Ok(());
    };
    let mut joined = vec![first];
    while let Some(next) = populated
        .iter()
        .position(|node| joined.iter().any(|known| node.is_acquainted(known)))
    {
        joined.push(populated.swap_remove(next));
    }
    match populated.first() {
        None => Ok(()),
        Some(stranger) => Err(Cause::Strangers {
            one: first.name.clone(),
            other: stranger.name.clone(),
        }
        .into()),
    }
}

/// Primaries start with different epochs, so that no two claims ever weigh the same. A node accepts
/// this only while it is alone.
fn begin_epochs(topology: &Topology<'_>, formation: &Formation) -> Result<(), Halt> {
    if formation.formed {
        return Ok(());
    }
    let alone = |node: &&Live<'_>| {
        let myself = node.view.myself();
        node.view.members.len() == 1 && myself.is_some_and(|member| member.epoch == 0)
    };
    let actions = topology
        .live
        .iter()
        .filter(|node| is_chosen(node, formation))
        .filter(alone)
        .map(|node| tell(node, Command::SetConfigEpoch(u64::from(node.shard) + 1)))
        .collect();
    act(actions, Cause::Introducing)
}

/// All nodes that answer know where all others are. One that knows of data comes first and is
/// introduced to the rest both ways; what gossip then does not spread is introduced as well.
fn introduce<'a>(
    topology: &Topology<'a>,
    may_meet: fn(&Live<'a>, &Live<'a>) -> bool,
) -> Result<(), Halt> {
    let live = &topology.live;
    let Some(seed) = live.iter().find(|node| !node.is_blank()).or(live.first()) else {
        return Ok(());
    };
    let lacking = |one: &Live<'a>, other: &Live<'a>| {
        one.name != other.name && !one.knows(other) && may_meet(one, other)
    };
    let with_seed = live.iter().flat_map(|node| [(seed, node), (node, seed)]);
    let mut pairs: Vec<_> = with_seed
        .filter(|(one, other)| lacking(one, other))
        .collect();
    if pairs.is_empty() {
        let all = live
            .iter()
            .flat_map(|one| live.iter().map(move |other| (one, other)));
        pairs = all.filter(|(one, other)| lacking(one, other)).collect();
    }
    if pairs.is_empty() {
        return Ok(());
    }
    let actions = pairs
        .iter()
        .filter(|(one, other)| !one.is_meeting(other))
        .map(|(one, other)| tell(one, Command::Meet(other.reference())))
        .collect();
    act(actions, Cause::Introducing)?;
    Err(Cause::Introducing.into())
}

/// Only in a cluster that never stood complete, only slots that nobody has by the word of every
/// node, and only to an empty one.
fn assign_slots(topology: &Topology<'_>, formation: &Formation) -> Result<(), Halt> {
    if formation.formed {
        return Ok(());
    }
    if let Some(cause) = topology.absence() {
        return Err(cause.into());
    }
    let mut actions = Vec::new();
    let mut cause = None;
    for shard in 0..topology.shape.shards {
        match topology.owner(shard) {
            Owner::One(_) => {}
            Owner::Spreading(_) | Owner::Disputed => cause = Some(Cause::Agreeing),
            Owner::Split => return Err(Cause::OddSlots { shard }.into()),
            Owner::Nobody => {
                let chosen = topology
                    .at_home(shard)
                    .find(|node| is_chosen(node, formation));
                let Some(node) = chosen else {
                    return Err(Cause::Agreeing.into());
                };
                if node.view.stray_keys > 0 {
                    return Err(holds_keys(node).into());
                }
                if node.has_slots() || node.view.replication != Replication::Primary {
                    return Err(Cause::Agreeing.into());
                }
                actions.push(tell(node, Command::AddSlots(topology.shape.range(shard))));
            }
        }
    }
    act(actions, Cause::Assigning)?;
    cause.map_or(Ok(()), |cause| Err(cause.into()))
}

/// Every node without slots replicates the primary of its home, on which all agree.
fn attach_replicas(topology: &Topology<'_>) -> Result<(), Halt> {
    let mut actions = Vec::new();
    let mut attaching = 0;
    for shard in 0..topology.shape.shards {
        let Some(primary) = topology.primary(shard) else {
            continue;
        };
        for node in topology.at_home(shard) {
            if node.view.id == primary.view.id || !wants_primary(topology, node, primary) {
                continue;
            }
            if let Some(cause) = shares_zone(node, primary) {
                return Err(cause.into());
            }
            if node.view.stray_keys > 0 {
                return Err(holds_keys(node).into());
            }
            attaching = shard;
            actions.push(tell(node, Command::Replicate(primary.view.id.clone())));
        }
    }
    act(actions, Cause::Attaching { shard: attaching })
}

/// Whether a node has to be told whom to replicate. One that has slots, or whose primary has just
/// become a replica itself, follows by itself.
fn wants_primary(topology: &Topology<'_>, node: &Live<'_>, primary: &Live<'_>) -> bool {
    let Some(myself) = node.view.myself() else {
        return false;
    };
    if !myself.slots.is_empty() {
        return false;
    }
    match &myself.primary {
        None => true,
        Some(followed) if *followed == primary.view.id => false,
        Some(followed) => topology
            .by_id(followed)
            .is_none_or(|followed| followed.view.replication == Replication::Primary),
    }
}

/// An identity is gone if every node of the cache answers under another one. It is forgotten once
/// it has no slots, nobody replicates it and nobody reaches it.
fn forget_the_gone(topology: &Topology<'_>) -> Result<(), Halt> {
    if !topology.is_complete() {
        return Ok(());
    }
    let is_gone = |id: &NodeId| {
        topology.by_id(id).is_none()
            && topology.views_of(id).all(|member| {
                member.slots.is_empty() && is_out_of_reach(member) && !member.is(Flag::Handshake)
            })
            && topology.live.iter().all(|node| {
                let myself = node.view.myself();
                myself.is_some_and(|member| member.primary.as_ref() != Some(id))
            })
    };
    let actions = topology
        .live
        .iter()
        .flat_map(|node| node.view.members.keys().map(move |id| (node, id)))
        .filter(|(_, id)| is_gone(id))
        .map(|(node, id)| tell(node, Command::Forget(id.clone())))
        .collect();
    act(actions, Cause::Forgetting)
}

/// A connection that is being opened to an address where nobody is counts as one for the node.
fn is_out_of_reach(member: &Member) -> bool {
    !member.connected || member.is(Flag::Failed) || member.is(Flag::NoAddress)
}

/// Every node answers, all agree, every shard has its primary and replicas, and all serve.
fn verify(topology: &Topology<'_>) -> Result<(), Halt> {
    let shape = topology.shape;
    for shard in 0..shape.shards {
        shard_stands(topology, shard)?;
    }
    if let Some(cause) = topology.absence() {
        return Err(cause.into());
    }
    let count = topology.live.len();
    for node in &topology.live {
        if node.view.members.len() != count {
            return Err(Cause::Forgetting.into());
        }
        let follows = matches!(
            node.view.replication,
            Replication::Replica { link_up: true }
        );
        let shard = node.shard;
        let is_primary = (0..shape.shards).any(|shard| {
            topology
                .primary(shard)
                .is_some_and(|primary| primary.view.id == node.view.id)
        });
        if !is_primary && !follows {
            return Err(Cause::Attaching { shard }.into());
        }
        let suspects = |flag| node.view.members.values().any(|member| member.is(flag));
        if !node.view.serves || suspects(Flag::Suspected) || suspects(Flag::Failed) {
            return Err(Cause::Agreeing.into());
        }
    }
    Ok(())
}

/// One primary that answers, and what is known of a shard without.
fn shard_stands(topology: &Topology<'_>, shard: u16) -> Result<(), Halt> {
    let at_home = topology.at_home(shard).count();
    let cause = match topology.owner(shard) {
        Owner::One(id) if topology.by_id(id).is_some() => return Ok(()),
        _ if at_home == 0 => {
            let missing = topology
                .missing
                .iter()
                .filter(|missing| missing.shard == shard);
            // Where the pods only read their data, they are back soon.
            return Err(topology
                .absence()
                .filter(|cause| matches!(cause, Cause::Loading(_) | Cause::Refused(_)))
                .unwrap_or(Cause::ShardDown {
                    shard,
                    pods: missing.map(|missing| missing.name.clone()).collect(),
                })
                .into());
        }
        // A node with a new volume never hears of the slots of one that is lost.
        Owner::One(id) | Owner::Spreading(id) if topology.by_id(id).is_none() => {
            without_primary(topology, shard, id)
        }
        Owner::Nobody if topology.is_complete() => Cause::DataGone { shard },
        Owner::Nobody | Owner::One(_) | Owner::Spreading(_) | Owner::Disputed => Cause::Agreeing,
        Owner::Split => Cause::OddSlots { shard },
    };
    Err(cause.into())
}

/// The owner of a shard does not answer, but another node of it does.
fn without_primary(topology: &Topology<'_>, shard: u16, owner: &NodeId) -> Cause {
    let follows = |node: &Live<'_>| {
        let myself = node.view.myself();
        myself.is_some_and(|member| member.primary.as_ref() == Some(owner))
    };
    if !topology.live.iter().any(follows) {
        if topology.is_complete() {
            return Cause::DataGone { shard };
        }
        let missing = topology
            .missing
            .iter()
            .filter(|missing| missing.shard == shard);
        let pods = missing.map(|missing| missing.name.clone()).collect();
        return Cause::ShardDown { shard, pods };
    }
    let shards = topology.shape.shards;
    let primaries = (0..shards)
        .filter(|shard| topology.primary(*shard).is_some())
        .count();
    if 2 * primaries <= usize::from(shards) {
        return Cause::NoMajority { primaries, shards };
    }
    Cause::FailingOver { shard }
}

/// After failovers a zone may hold half of the primaries: they are handed back one by one to the
/// nodes chosen when the cache was formed.
fn balance_zones(topology: &Topology<'_>, formation: &Formation) -> Result<(), Halt> {
    let shape = topology.shape;
    let primaries: Vec<_> = (0..shape.shards)
        .filter_map(|shard| topology.primary(shard))
        .collect();
    let zones = primaries.iter().filter_map(|node| node.zone);
    let Some((zone, _)) = crowded_zone(zones, shape.shards) else {
        return Ok(());
    };
    if shape.zones == ZoneRule::AnyMajority {
        return Ok(());
    }
    let handed_back = (0..shape.shards)
        .zip(&primaries)
        .find_map(|(shard, primary)| {
            let chosen = topology
                .at_home(shard)
                .find(|node| is_chosen(node, formation))?;
            let moves = primary.zone == Some(zone) && chosen.zone != Some(zone);
            moves.then_some((shard, chosen))
        });
    match handed_back {
        Some((shard, chosen)) => act(
            vec![tell(chosen, Command::Failover)],
            Cause::Balancing { shard },
        ),
        None => Ok(()),
    }
}

/// Whether the formation gives the slots of its home to this node first.
fn is_chosen(node: &Live<'_>, formation: &Formation) -> bool {
    formation.primaries.get(usize::from(node.shard)) == Some(&node.index)
}

fn shares_zone(node: &Live<'_>, primary: &Live<'_>) -> Option<Cause> {
    let (one, other) = (node.zone?, primary.zone?);
    (one == other).then(|| Cause::SameZone {
        one: primary.name.clone(),
        other: node.name.clone(),
        zone: one.to_owned(),
    })
}

fn holds_keys(node: &Live<'_>) -> Cause {
    Cause::HoldsKeys {
        pod: node.name.clone(),
        keys: node.view.stray_keys,
    }
}

fn tell(node: &Live<'_>, command: Command) -> Action {
    let node: NodeRef = node.reference();
    Action { node, command }
}

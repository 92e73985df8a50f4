//! Deciding how a cache is formed, or how it was when the record is lost.

use super::{
    cause::Cause,
    shape::{Formation, ZoneRule, crowded_zone},
    topology::{Live, Owner, Topology},
};

/// The formation to record where none is. A cluster that has all its slots stands already; one that
/// has none is formed from empty nodes; one in between goes on where it stopped.
pub(super) fn decide(topology: &Topology<'_>) -> Result<Formation, Cause> {
    let shards = topology.shape.shards;
    let owners: Vec<_> = (0..shards).map(|shard| topology.owner(shard)).collect();
    let owned = owners
        .iter()
        .filter(|owner| **owner != Owner::Nobody)
        .count();
    if owned == usize::from(shards) {
        let primaries = (0..shards).zip(&owners);
        return Ok(Formation {
            primaries: primaries
                .map(|(shard, owner)| index_of(topology, shard, *owner))
                .collect(),
            formed: true,
        });
    }
    if let Some(cause) = topology.absence() {
        return Err(cause);
    }
    if let Some(node) = topology.live.iter().find(|node| node.view.stray_keys > 0) {
        return Err(Cause::HoldsKeys {
            pod: node.name.clone(),
            keys: node.view.stray_keys,
        });
    }
    let mut primaries = Vec::with_capacity(owners.len());
    for (shard, owner) in (0..shards).zip(owners) {
        primaries.push(match owner {
            Owner::Nobody => Choice::Free(0),
            Owner::One(_) => Choice::Taken(index_of(topology, shard, owner)),
            Owner::Spreading(_) | Owner::Disputed => return Err(Cause::Agreeing),
            Owner::Split => return Err(Cause::OddSlots { shard }),
        });
    }
    spread(topology, &mut primaries)?;
    Ok(Formation {
        primaries: primaries.into_iter().map(Choice::index).collect(),
        formed: false,
    })
}

/// The node of a shard that has its slots; the first one if that is not known.
fn index_of(topology: &Topology<'_>, shard: u16, owner: Owner<'_>) -> u16 {
    match owner {
        Owner::One(id) | Owner::Spreading(id) => topology
            .by_id(id)
            .filter(|node| node.shard == shard)
            .map_or(0, |node| node.index),
        _ => 0,
    }
}

/// Which node of a shard is its first primary.
#[derive(Clone, Copy)]
enum Choice {
    Free(u16),
    Taken(u16),
}

impl Choice {
    const fn index(self) -> u16 {
        match self {
            Self::Free(index) | Self::Taken(index) => index,
        }
    }
}

/// Moves choices out of a zone with too many, each to the zone with the fewest that it can reach.
fn spread(topology: &Topology<'_>, choices: &mut [Choice]) -> Result<(), Cause> {
    for shard in 0..topology.shape.shards {
        one_zone_each(topology, shard)?;
    }
    if topology.shape.zones == ZoneRule::AnyMajority {
        return Ok(());
    }
    if let Some(node) = topology.live.iter().find(|node| node.zone.is_none()) {
        return Err(Cause::ZoneUnknown {
            pod: node.name.clone(),
        });
    }
    // Every move takes one primary out of the fullest zone, so as many moves as shards are enough.
    for _ in 0..choices.len() {
        let zones = zones(topology, choices);
        let Some((crowded, _)) = crowded_zone(zones.iter().copied(), topology.shape.shards) else {
            return Ok(());
        };
        let Some((shard, node)) = relief(topology, choices, &zones, crowded) else {
            break;
        };
        choices[shard] = Choice::Free(node.index);
    }
    let zones = zones(topology, choices);
    match crowded_zone(zones, topology.shape.shards) {
        None => Ok(()),
        Some((zone, primaries)) => Err(Cause::ZoneCrowded {
            zone: zone.to_owned(),
            primaries,
            shards: topology.shape.shards,
        }),
    }
}

/// A shard whose choice is in the crowded zone, and its node in the emptiest other one.
fn relief<'t, 'a>(
    topology: &'t Topology<'a>,
    choices: &[Choice],
    zones: &[&str],
    crowded: &str,
) -> Option<(usize, &'t Live<'a>)> {
    let load = |zone: &str| zones.iter().filter(|other| **other == zone).count();
    let free = (0_u16..)
        .zip(choices)
        .filter(|(_, choice)| matches!(choice, Choice::Free(_)));
    free.filter(|(shard, _)| zones[usize::from(*shard)] == crowded)
        .flat_map(|(shard, _)| {
            topology
                .at_home(shard)
                .map(move |node| (usize::from(shard), node))
        })
        .filter(|(_, node)| node.zone.is_some_and(|zone| load(zone) + 1 < load(crowded)))
        .min_by_key(|(_, node)| node.zone.map(load))
}

fn zones<'a>(topology: &Topology<'a>, choices: &[Choice]) -> Vec<&'a str> {
    let chosen = (0_u16..).zip(choices).filter_map(|(shard, choice)| {
        topology
            .at_home(shard)
            .find(|node| node.index == choice.index())
    });
    chosen.filter_map(|node| node.zone).collect()
}

fn one_zone_each(topology: &Topology<'_>, shard: u16) -> Result<(), Cause> {
    let nodes: Vec<_> = topology.at_home(shard).collect();
    for (position, one) in nodes.iter().enumerate() {
        if let Some(other) = nodes[position + 1..]
            .iter()
            .find(|other| one.zone.is_some() && other.zone == one.zone)
        {
            return Err(Cause::SameZone {
                one: one.name.clone(),
                other: other.name.clone(),
                zone: one.zone.unwrap_or_default().to_owned(),
            });
        }
    }
    Ok(())
}

//! What a person would try first.

use orlop_plan::cache::{Cause, Shape, ZoneRule};

use crate::{operator::Simulation, world::World};

fn formed() -> Simulation {
    let shape = Shape {
        tier: "lantern".to_owned(),
        shards: 3,
        replicas_per_shard: 1,
        zones: ZoneRule::MajoritySurvives,
    };
    let mut simulation = Simulation::new(World::new(shape, 7), 1, 7);
    simulation.until_ready(30_000).unwrap();
    simulation
}

fn cause(simulation: &Simulation) -> Option<Cause> {
    simulation.operators[0].last.as_ref().unwrap().cause.clone()
}

#[test]
fn a_cache_is_formed_and_then_left_alone() {
    let mut simulation = formed();
    simulation.stays_quiet(60_000).unwrap();
}

#[test]
fn all_pods_deleted_at_once_come_back_with_their_data() {
    let mut simulation = formed();
    for at in 0..simulation.world.places.len() {
        simulation.world.delete(at);
    }
    simulation.tick().unwrap();
    simulation.until_ready(60_000).unwrap();
    simulation.nothing_lost().unwrap();
}

#[test]
fn a_node_that_lost_its_volume_becomes_a_replica_of_its_shard() {
    let mut simulation = formed();
    simulation.world.lose_volume(0);
    simulation.tick().unwrap();
    simulation.until_ready(90_000).unwrap();
    simulation.nothing_lost().unwrap();
    let ids: Vec<_> = simulation
        .world
        .own()
        .map(|place| place.volume.id.clone())
        .collect();
    for place in simulation.world.own() {
        let known: Vec<_> = place.volume.table.keys().cloned().collect();
        assert_eq!(known.len(), ids.len(), "{}", place.name);
        assert!(known.iter().all(|id| ids.contains(id)), "{}", place.name);
    }
}

#[test]
fn a_shard_whose_volumes_are_all_lost_is_told_and_not_given_away() {
    let mut simulation = formed();
    let lost: Vec<_> = (0..simulation.world.places.len())
        .filter(|at| {
            let place = &simulation.world.places[*at];
            !place.foreign && place.shard == 1
        })
        .collect();
    for at in lost {
        simulation.world.lose_volume(at);
    }
    assert!(simulation.until_ready(120_000).is_err());
    assert_eq!(simulation.world.broken, None);
    assert_eq!(cause(&simulation), Some(Cause::DataGone { shard: 1 }));
    simulation.stays_quiet(60_000).unwrap();
}

#[test]
fn a_lost_zone_is_waited_for_while_its_primaries_are_replaced() {
    let mut simulation = formed();
    simulation.world.cut.insert(1);
    for _ in 0..300 {
        simulation.tick().unwrap();
    }
    assert!(matches!(cause(&simulation), Some(Cause::NotAnswering(pods)) if pods.len() == 2));
    let serving = simulation.world.own().filter(|place| {
        place.zone != 1 && place.volume.me().primary.is_none() && place.volume.serves(3)
    });
    assert_eq!(serving.count(), 3);
    simulation.world.cut.clear();
    simulation.until_ready(60_000).unwrap();
    simulation.nothing_lost().unwrap();
}

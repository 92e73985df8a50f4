//! Runs by chance.

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use orlop_plan::cache::{Shape, ZoneRule};

use crate::{
    node::NODE_TIMEOUT,
    operator::{Faults, Simulation},
    seed::Dice,
    world::{Millis, World},
};

/// Runs of a normal test: some ten seconds on two cores.
const SEEDS: u64 = 250;
/// How long things go wrong in a run.
const DISTURBED: (Millis, Millis) = (5_000, 180_000);
/// From when all goes well until the cache is complete. A forgotten identity is banned for a minute.
const READY_WITHIN: Millis = 150_000;
const QUIET_FOR: Millis = 20_000;

#[test]
fn whatever_happens_no_data_is_lost_and_the_cache_heals() {
    let only = env::var("ORLOP_SIM_SEED")
        .ok()
        .map(|seed| seed.parse().expect("a number"));
    let seeds = env::var("ORLOP_SIM_SEEDS").map_or(SEEDS, |count| count.parse().expect("a number"));
    let range = only.map_or(0..seeds, |seed: u64| seed..seed + 1);
    let next = AtomicU64::new(range.start);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let finished: u64 = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|_| scope.spawn(|| work(&next, range.end, only.is_some())))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a run broke a rule: see above"))
            .sum()
    });
    assert_eq!(finished, range.end - range.start);
}

fn work(next: &AtomicU64, end: u64, tell_all: bool) -> u64 {
    let mut finished = 0;
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return finished;
        }
        let mut simulation = simulation(seed);
        let result = run(&mut simulation);
        if tell_all || result.is_err() {
            let trace = &simulation.world.trace;
            let from = if tell_all {
                0
            } else {
                trace.len().saturating_sub(60)
            };
            println!("{}", trace[from..].join("\n"));
        }
        if let Err(broken) = result {
            next.store(end, Ordering::Relaxed);
            panic!(
                "{broken}\nseed {seed}; repeat it with\n\
                 ORLOP_SIM_SEED={seed} cargo test -p orlop-plan --test cache whatever\n"
            );
        }
        finished += 1;
    }
}

fn simulation(seed: u64) -> Simulation {
    let (shards, replicas_per_shard) =
        *Dice::new(seed).pick(&[(3, 1), (3, 1), (3, 2), (5, 1), (3, 0)]);
    let shape = Shape {
        tier: "lantern".to_owned(),
        shards,
        replicas_per_shard,
        zones: ZoneRule::MajoritySurvives,
    };
    let operators = if seed.is_multiple_of(3) { 1 } else { 2 };
    Simulation::new(World::new(shape, seed), operators, seed)
}

fn run(simulation: &mut Simulation) -> Result<(), String> {
    simulation.faults = Faults {
        node_unread: 30,
        reading_late: 100,
        lost: 40,
        answer_lost: 40,
        crash: 40,
    };
    let span = simulation.chance().between(DISTURBED.0, DISTURBED.1);
    let mut calm_until = 0;
    while simulation.world.now < span {
        simulation.tick()?;
        if simulation.world.now >= calm_until {
            calm_until = disturb(simulation);
        }
    }
    simulation.faults = Faults::default();
    simulation.world.cut.clear();
    simulation.world.tell("all goes well from here");
    simulation.until_ready(READY_WITHIN)?;
    simulation.stays_quiet(QUIET_FOR)?;
    simulation.nothing_lost()
}

/// Something that goes wrong, or nothing; and until when nothing else may.
fn disturb(simulation: &mut Simulation) -> Millis {
    let now = simulation.world.now;
    let places = simulation.world.places.len();
    let at = simulation.chance().below(places);
    let name = simulation.world.places[at].name.clone();
    match simulation.chance().below(2_000) {
        0..12 => {
            simulation.world.tell(format!("{name} is killed"));
            simulation.world.kill(at);
        }
        12..24 => {
            simulation.world.tell(format!("{name} is deleted"));
            simulation.world.delete(at);
        }
        24..30 => {
            simulation.world.tell("all pods are deleted at once");
            for at in 0..places {
                simulation.world.delete(at);
            }
        }
        30..38 => {
            let zone = simulation.chance().below(3);
            simulation.world.tell(format!("zone {zone} is cut off"));
            simulation.world.cut.insert(zone);
        }
        38..60 => {
            simulation.world.cut.clear();
            simulation.world.tell("no zone is cut off");
        }
        60..75 => return lose_volume(simulation, at),
        75..78 => {
            simulation.world.tell("the status is lost");
            simulation.stored.formation = None;
            simulation.stored.version += 1;
        }
        78..90 => change_leader(simulation),
        90..95 => {
            let operators = simulation.operators.len();
            let number = simulation.chance().below(operators);
            let until = now + simulation.chance().between(1_000, 40_000);
            simulation.operators[number].away_until = until;
            simulation.world.tell(format!("operator {number} hangs"));
        }
        _ => {}
    }
    now
}

/// One copy of a shard is destroyed while another one is complete; the cluster gets the time that
/// it needs to promote that one.
fn lose_volume(simulation: &mut Simulation, at: usize) -> Millis {
    let now = simulation.world.now;
    let has_replicas = simulation.world.shape.replicas_per_shard > 0;
    let place = &simulation.world.places[at];
    if !place.foreign && has_replicas && simulation.world.can_spare(at) {
        let name = place.name.clone();
        simulation.world.tell(format!("{name} loses its volume"));
        simulation.world.lose_volume(at);
        return now + 6 * NODE_TIMEOUT;
    }
    now
}

fn change_leader(simulation: &mut Simulation) {
    let both = simulation.chance().per_mille(500);
    let operators = simulation.operators.len();
    let leader = simulation.chance().below(operators);
    for (number, operator) in simulation.operators.iter_mut().enumerate() {
        operator.leads = both || number == leader;
    }
    simulation.world.tell(if both {
        "all lead".to_owned()
    } else {
        format!("operator {leader} leads")
    });
}

//! Runs by chance: people, cluster, watches, one or two leaders, and anything may fail.

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use crate::{
    ending::{all_is_ready, stays_at_rest},
    faults::Faults,
    people,
    report::{Broken, Totals},
    simulation::Simulation,
    snapshot::{difference, snapshot},
    world::{Body, Resource, World},
};

/// Runs of a normal test: less than a minute on two cores.
const SEEDS: u64 = 400;
/// Steps of a run while things go wrong, at least and at most: up to some fifteen things that people
/// do.
const STEPS: (i64, i64) = (200, 2000);

/// Times that people let releases through at the end, at most: one that is held back, and begins
/// anew, may wait for a promotion once more.
const PROMOTIONS_MAX: usize = 4;

#[test]
fn whatever_happens_no_rule_breaks_and_the_end_is_the_same() {
    let begin = Instant::now();
    let only = env::var("ORLOP_SIM_SEED")
        .ok()
        .map(|seed| seed.parse().expect("a number"));
    let seeds = env::var("ORLOP_SIM_SEEDS").map_or(SEEDS, |count| count.parse().expect("a number"));
    let first = env::var("ORLOP_SIM_FIRST").map_or(0, |first| first.parse().expect("a number"));
    let range = only.map_or(first..first + seeds, |seed: u64| seed..seed + 1);
    let next = AtomicU64::new(range.start);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let totals = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|_| scope.spawn(|| work(&next, range.end, only.is_some())))
            .collect();
        workers
            .into_iter()
            .fold(Totals::default(), |mut totals, worker| {
                totals.add(worker.join().expect("a run broke a rule: see above"));
                totals
            })
    });
    println!("random: {totals}, {:.1} s", begin.elapsed().as_secs_f64());
    assert_eq!(
        totals.runs,
        usize::try_from(range.end - range.start).unwrap()
    );
}

fn work(next: &AtomicU64, end: u64, tell_all: bool) -> Totals {
    let mut totals = Totals::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return totals;
        }
        match run(seed, tell_all) {
            Ok(run) => totals.add(run),
            Err(broken) => {
                next.store(end, Ordering::Relaxed);
                panic!(
                    "{broken}\nseed {seed}; repeat it with\n\
                     ORLOP_SIM_SEED={seed} cargo test -p orlop-plan --test simulator whatever\n"
                );
            }
        }
    }
}

fn run(seed: u64, tell_all: bool) -> Result<Totals, Broken> {
    let processes = if seed.is_multiple_of(3) { 1 } else { 2 };
    let mut simulation = Simulation::new(seed, processes, 100);
    if tell_all {
        simulation.trace_length = usize::MAX;
    }
    simulation.faults = Faults::Random {
        lost: 40,
        answer_lost: 30,
        crash: 20,
    };
    people::begin(&mut simulation);
    for _ in 0..simulation.dice.between(STEPS.0, STEPS.1) {
        simulation.step()?;
        disturb(&mut simulation);
    }
    people::put_right(&mut simulation);
    simulation.calm();
    simulation.rest()?;
    // The application may have been on its way out.
    people::put_right(&mut simulation);
    simulation.rest()?;
    for _ in 0..PROMOTIONS_MAX {
        if !people::let_through(&mut simulation) {
            break;
        }
        simulation.rest()?;
    }
    same_end_as_undisturbed(&simulation)?;
    all_is_ready(&simulation)?;
    stays_at_rest(&mut simulation)?;
    Ok(simulation.finished())
}

fn disturb(simulation: &mut Simulation) {
    match simulation.dice.below(1000) {
        0..8 => people::act(simulation),
        8..14 => {
            let now = simulation.now;
            simulation
                .cluster
                .crash_a_pod(&mut simulation.world, now, &mut simulation.dice);
        }
        14..17 => {
            let process = simulation.dice.below(simulation.processes.len());
            simulation.crash(process);
        }
        17..22 => change_leader(simulation),
        22..28 => stall_a_watch(simulation),
        28..31 => hang(simulation),
        _ => {}
    }
}

/// The lease moves. Sometimes the old leader does not know for a while, and both lead.
fn change_leader(simulation: &mut Simulation) {
    let both = simulation.dice.per_mille(600);
    let leader = simulation.dice.below(simulation.processes.len());
    for process in &mut simulation.processes {
        process.leads = both || process.number == leader;
    }
    if both {
        simulation.tell("all lead");
    } else {
        simulation.tell(&format!("p{leader} leads"));
    }
}

fn stall_a_watch(simulation: &mut Simulation) {
    let process = simulation.dice.below(simulation.processes.len());
    let resource = *simulation.dice.pick(&Resource::ALL);
    let until = simulation.now + simulation.dice.between(1000, 60_000);
    simulation.processes[process]
        .stalled
        .insert(resource, until);
    simulation.tell(&format!(
        "p{process} hears nothing of {resource:?} for a while"
    ));
}

/// A process does nothing for a while, in the middle of what it was doing.
fn hang(simulation: &mut Simulation) {
    let process = simulation.dice.below(simulation.processes.len());
    let until = simulation.now + simulation.dice.between(1000, 60_000);
    simulation.processes[process].away_until = until;
    simulation.tell(&format!("p{process} hangs for a while"));
}

/// What was declared last, declared in a fresh world where nothing goes wrong, ends the same.
fn same_end_as_undisturbed(simulation: &Simulation) -> Result<(), Broken> {
    let mut undisturbed = undisturbed(&simulation.world);
    undisturbed.rest()?;
    match difference(&snapshot(&simulation.world), &snapshot(&undisturbed.world)) {
        Some(difference) => Err(simulation.broken(format!("the end differs: {difference}"))),
        None => Ok(()),
    }
}

fn undisturbed(world: &World) -> Simulation {
    let mut undisturbed = Simulation::new(0, 1, 0);
    let declared = world.all().filter(|stored| {
        stored.body.resource().is_primary() && stored.body.owners().next().is_none()
    });
    for stored in declared {
        let mut body = stored.body.clone();
        forget(&mut body);
        undisturbed
            .world
            .create(body, crate::cluster::at(undisturbed.now))
            .unwrap();
    }
    undisturbed
}

/// Only what was declared, as a file would hold it.
fn forget(body: &mut Body) {
    let name = body.meta().name.clone();
    *body.meta_mut() = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        name,
        ..Default::default()
    };
    if let Some(platform) = body.app_platform_mut() {
        platform.status = None;
    } else if let Some(service) = body.app_service_mut() {
        service.status = None;
    }
}

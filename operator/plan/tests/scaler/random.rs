//! Runs by chance.

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use orlop_plan::worker::scaler::{self, Policy, UTILISATION_AFTER_PERCENT, UTILISATION_PERCENT};

use crate::{
    Millis,
    seed::Dice,
    simulation::{Faults, Simulation},
};

/// Runs of a normal test: some seconds on two cores.
const SEEDS: u64 = 600;
/// What goes wrong goes wrong for so long.
const DISTURBED: (Millis, Millis) = (60_000, 420_000);
/// Nothing changes any more: time for windows to be whole again, and for a few steps down.
const CALM: Millis = 300_000;
/// In which the number of workers must stay as it is.
const AT_REST: Millis = 90_000;

#[test]
fn whatever_happens_no_rule_breaks_and_the_number_is_the_formulas() {
    let begin = Instant::now();
    let number = |name: &str| {
        env::var(name)
            .ok()
            .map(|text| text.parse().expect("a number"))
    };
    let only: Option<u64> = number("ORLOP_SIM_SEED");
    let seeds = number("ORLOP_SIM_SEEDS").unwrap_or(SEEDS);
    let range = only.map_or(0..seeds, |seed| seed..seed + 1);
    let next = AtomicU64::new(range.start);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let totals = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| work(&next, range.end)))
            .collect();
        threads
            .into_iter()
            .fold((0, 0, 0), |(runs, writes, decisions), thread| {
                let more = thread.join().expect("a run broke a rule: see above");
                (runs + more.0, writes + more.1, decisions + more.2)
            })
    });
    let (runs, writes, decisions) = totals;
    let seconds = begin.elapsed().as_secs_f64();
    println!("{runs} runs, {writes} writes, {decisions} decisions, {seconds:.1} s");
    assert_eq!(runs, range.end - range.start);
}

/// How many runs, writes and decisions.
fn work(next: &AtomicU64, end: u64) -> (u64, u32, u32) {
    let (mut runs, mut writes, mut decisions) = (0, 0, 0);
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return (runs, writes, decisions);
        }
        let mut simulation = any_simulation(seed);
        if let Err(broken) = run(&mut simulation) {
            next.store(end, Ordering::Relaxed);
            panic!(
                "{}\n{broken}\nseed {seed}; repeat it with\n\
                 ORLOP_SIM_SEED={seed} cargo test -p orlop-plan --test scaler whatever\n",
                simulation.trace()
            );
        }
        runs += 1;
        writes += simulation.writes;
        decisions += simulation.rules.changes;
    }
}

fn run(simulation: &mut Simulation) -> Result<(), String> {
    let until = simulation.dice.between(DISTURBED.0, DISTURBED.1);
    while simulation.world.now < until {
        simulation.step()?;
        disturb(simulation);
    }
    let end = undisturbed(simulation);
    simulation.run(CALM)?;
    settled(simulation, end)?;
    simulation.rate = 0;
    simulation.run(CALM)?;
    let (arrived, done) = (simulation.world.arrived, simulation.world.done);
    if arrived != done && end.0 < f64::from(simulation.policy.max) {
        return Err(format!("{arrived} jobs came, {done} were done"));
    }
    if simulation.world.depth() == 0 && simulation.world.replicas != Some(simulation.policy.min) {
        simulation.run(CALM)?;
        if simulation.world.replicas != Some(simulation.policy.min) {
            return Err("workers stay although there is nothing to do".to_owned());
        }
    }
    Ok(())
}

fn any_simulation(seed: u64) -> Simulation {
    let mut dice = Dice::new(seed);
    let concurrency = u32::try_from(dice.between(1, 8)).unwrap();
    let prefetch = concurrency * u32::try_from(dice.between(1, 3)).unwrap();
    let policy = any_policy(&mut dice, concurrency);
    let shortest = dice.between(50, 4000);
    let mut simulation = Simulation::new(seed, policy, prefetch);
    simulation.world.job = (shortest, shortest + dice.between(0, 4000));
    simulation.faults = Faults {
        lost: *dice.pick(&[0, 20, 100]),
        late: *dice.pick(&[0, 50]),
        empty: *dice.pick(&[0, 20]),
        false_zero: *dice.pick(&[0, 20]),
        write: 150,
        stale: *dice.pick(&[0, 100]),
    };
    simulation.dice = dice;
    simulation
}

fn any_policy(dice: &mut Dice, concurrency: u32) -> Policy {
    let min = u32::try_from(*dice.pick(&[0, 0, 0, 1, 3])).unwrap();
    Policy {
        min,
        max: min + u32::try_from(dice.between(1, 20)).unwrap(),
        concurrency,
        drain_within: Duration::from_secs(dice.between(5, 120).unsigned_abs()),
        expected_service_time: Duration::from_millis(dice.between(10, 5000).unsigned_abs()),
    }
}

/// People, producers, the broker and the machine under the operator.
fn disturb(simulation: &mut Simulation) {
    let choice = simulation.dice.below(10_000);
    match choice {
        0..40 => simulation.rate = rate(simulation),
        40..70 => {
            let burst = simulation.dice.between(1, 3000).unsigned_abs();
            simulation.world.publish(burst);
        }
        70..90 => simulation.rate = 0,
        90..100 => simulation.crash(),
        100..106 => {
            let away = simulation.dice.between(1000, 60_000);
            simulation.world.restart_broker(away);
            simulation.tell("the broker restarts");
        }
        106..112 => {
            simulation.world.purge();
            simulation.tell("the queue is purged");
        }
        112..118 => {
            let replicas = simulation.dice.between(0, 30);
            simulation.set_replicas(u32::try_from(replicas).ok());
            meddle(simulation, "somebody scales the Deployment");
        }
        118..122 => {
            simulation.set_replicas(None);
            meddle(simulation, "somebody deletes the Deployment");
        }
        122..126 => {
            simulation.status = None;
            meddle(simulation, "the status is lost");
        }
        126..130 => {
            let concurrency = simulation.policy.concurrency;
            simulation.policy = any_policy(&mut simulation.dice, concurrency);
            meddle(simulation, "other bounds are declared");
        }
        _ => {}
    }
}

fn meddle(simulation: &mut Simulation, what: &str) {
    simulation.rules.meddled = true;
    simulation.tell(what);
}

/// Thousandths of a message a second, up to more than all workers can do.
fn rate(simulation: &mut Simulation) -> u64 {
    let job = i64::midpoint(simulation.world.job.0, simulation.world.job.1);
    let at_once = i64::from(simulation.policy.max * simulation.policy.concurrency);
    let most = at_once * 1_000_000 / job;
    simulation.dice.between(0, most * 11 / 10).unsigned_abs()
}

/// From now on nothing goes wrong and jobs arrive evenly. How many workers would be busy, and the
/// messages a second.
fn undisturbed(simulation: &mut Simulation) -> (f64, f64) {
    simulation.faults = Faults::default();
    simulation.rate = rate(simulation) * 3 / 4;
    simulation.tell("nothing goes wrong any more");
    let seconds = as_f64(simulation.world.job.0 + simulation.world.job.1) / 2000.0;
    // Jobs are begun and ended at whole steps.
    let seconds = seconds + as_f64(crate::simulation::STEP) / 2000.0;
    let arrivals = as_f64(simulation.rate.cast_signed()) / 1000.0;
    let busy = arrivals * seconds / f64::from(simulation.policy.concurrency);
    (busy, arrivals)
}

fn settled(simulation: &mut Simulation, (busy, arrivals): (f64, f64)) -> Result<(), String> {
    // A backlog that is hardly more than what comes in takes its time.
    while simulation.world.ready > ceil(arrivals) + 10 {
        let before = simulation.world.depth();
        simulation.run(CALM)?;
        let full = simulation.world.replicas == Some(simulation.policy.max);
        if simulation.world.depth() >= before {
            return if full || busy > 0.9 * f64::from(simulation.policy.max) {
                Ok(())
            } else {
                Err("the backlog does not shrink".to_owned())
            };
        }
    }
    simulation.run(CALM)?;
    let (changes, replicas) = (simulation.rules.changes, simulation.world.replicas);
    let mut taken = 0;
    let end = simulation.world.now + AT_REST;
    while simulation.world.now < end {
        simulation.step()?;
        taken = taken.max(simulation.world.unacknowledged());
    }
    // One more at a moment that was busier than any before, one fewer when it is long past.
    if simulation.rules.changes > changes + 2 {
        return Err("the number of workers does not come to rest".to_owned());
    }
    let measured = simulation.operator.workers.service_time;
    let Some(service_time) = measured.filter(|_| arrivals >= 1.0) else {
        return Ok(());
    };
    let policy = &simulation.policy;
    let workers = |arrivals: f64, backlog: u64, utilisation: u32| {
        let workers = scaler::workers(policy, arrivals, backlog, service_time, utilisation);
        workers.clamp(policy.min, policy.max)
    };
    let fewest = workers(arrivals * 0.85, 0, UTILISATION_PERCENT);
    let backlog = ceil(arrivals * 2.0);
    let most = workers(arrivals * 1.2, backlog, UTILISATION_AFTER_PERCENT) + 1;
    // Workers that take more jobs than they do at once are kept for those in their hands.
    let occupied = taken.div_ceil(u64::from(policy.concurrency));
    let most = most.max(u32::try_from(occupied).map_err(|error| error.to_string())?);
    let is = replicas.ok_or("there is no Deployment")?;
    if is < fewest || is > most {
        return Err(format!(
            "{is} workers for a load of {busy:.2}: not between {fewest} and {most}"
        ));
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss)]
fn as_f64(number: i64) -> f64 {
    number as f64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn ceil(number: f64) -> u64 {
    number.ceil() as u64
}

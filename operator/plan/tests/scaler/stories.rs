//! One thing at a time.

use std::time::Duration;

use orlop_crds::worker_pool::{ScalingDecision, ScalingReason, ServiceTimeSource};
use orlop_plan::worker::scaler::{self, Policy, STABLE_FOR};

use crate::simulation::{Faults, Simulation, policy};

const MINUTE: i64 = 60_000;

fn idle() -> Simulation {
    let mut simulation = Simulation::new(1, policy(), 8);
    simulation.run(2 * MINUTE).unwrap();
    assert_eq!(simulation.world.replicas, Some(0));
    simulation
}

/// As whoever reads the status would do it.
fn recomputed(policy: &Policy, record: &ScalingDecision) -> u32 {
    let workers = scaler::workers(
        policy,
        record
            .arrivals_per_second
            .as_ref()
            .unwrap()
            .parse()
            .unwrap(),
        record.backlog.unwrap().unsigned_abs(),
        Duration::from_millis(record.service_time.unwrap().as_millis()),
        record.utilisation_percent.unwrap().unsigned_abs(),
    );
    workers.clamp(policy.min, policy.max)
}

#[test]
fn a_burst_from_zero_is_answered_at_once_by_one_write_of_the_formulas_number() {
    let mut simulation = idle();
    let (writes, version) = (simulation.writes, simulation.world.version);
    simulation.world.publish(2000);
    simulation.run(3000).unwrap();
    assert_eq!(simulation.writes, writes + 2, "a decision and a Deployment");
    assert_eq!(simulation.world.version, version + 1);
    let record = simulation.status.clone().unwrap();
    assert_eq!(record.service_time_from, Some(ServiceTimeSource::Expected));
    // (2000 / 20 s x 1 s / 0.8 + 2000 x 1 s / 60 s) / 4 = 39.6, more than there may be.
    assert_eq!(record.desired, 20);
    assert_eq!(record.reason, ScalingReason::Maximum);
    assert_eq!(recomputed(&simulation.policy, &record), 20);
    assert_eq!(record.backlog, Some(2000));
}

#[test]
fn the_numbers_in_the_status_give_the_number_that_was_decided() {
    let mut simulation = idle();
    simulation.policy.max = 1000;
    simulation.rate = 40_000;
    let mut decided = Vec::new();
    for minute in 0..8 {
        if minute == 3 {
            simulation.world.publish(5000);
        }
        for _ in 0..300 {
            simulation.step().unwrap();
            let record = simulation.status.clone().unwrap();
            if record.reason == ScalingReason::Load && decided.last() != Some(&record) {
                decided.push(record);
            }
        }
    }
    assert!(decided.len() > 2, "{decided:?}");
    for record in &decided {
        let desired = u32::try_from(record.desired).unwrap();
        assert_eq!(
            recomputed(&simulation.policy, record),
            desired,
            "{record:?}"
        );
    }
}

#[test]
fn all_is_done_and_the_pool_goes_back_to_zero_in_a_few_steps() {
    let mut simulation = idle();
    simulation.world.publish(2000);
    let changes = simulation.rules.changes;
    simulation.run(5 * MINUTE).unwrap();
    assert_eq!(simulation.world.done, 2000);
    assert_eq!(simulation.world.replicas, Some(0));
    let steps = simulation.rules.changes - changes;
    assert!(steps <= 4, "{steps} steps\n{}", simulation.trace());
}

#[test]
fn one_job_of_many_minutes_keeps_its_worker() {
    let mut simulation = idle();
    simulation.world.job = (10 * MINUTE, 10 * MINUTE);
    simulation.world.publish(1);
    for _ in 0..(9 * MINUTE / 1000) {
        simulation.run(1000).unwrap();
        assert!(simulation.world.replicas >= Some(1));
    }
    simulation.run(4 * MINUTE).unwrap();
    assert_eq!(simulation.world.done, 1);
    assert_eq!(simulation.world.replicas, Some(0));
}

#[test]
fn without_statistics_everything_stays_as_it_is() {
    for faults in [
        Faults {
            lost: 1000,
            ..Faults::default()
        },
        Faults {
            empty: 1000,
            ..Faults::default()
        },
    ] {
        let mut simulation = idle();
        simulation.rate = 20_000;
        simulation.run(3 * MINUTE).unwrap();
        let replicas = simulation.world.replicas;
        assert!(replicas > Some(1));
        simulation.faults = faults;
        simulation.run(15_000).unwrap();
        let writes = simulation.writes;
        simulation.rate = 0;
        simulation.run(30 * MINUTE).unwrap();
        assert_eq!(
            (simulation.world.replicas, simulation.writes),
            (replicas, writes)
        );
        simulation.faults = Faults::default();
        simulation.run(3 * MINUTE).unwrap();
        assert_eq!(simulation.world.replicas, Some(0));
    }
}

#[test]
fn an_operator_that_starts_anew_takes_no_worker_away_before_it_has_watched_long_enough() {
    let mut simulation = idle();
    simulation.world.publish(500);
    simulation.run(MINUTE).unwrap();
    simulation.crash();
    let born = simulation.operator.born;
    let replicas = simulation.world.replicas;
    let stable = i64::try_from(STABLE_FOR.as_millis()).unwrap();
    simulation
        .run(born + stable - simulation.world.now - 1000)
        .unwrap();
    assert_eq!(simulation.world.replicas, replicas);
    simulation.run(3 * MINUTE).unwrap();
    assert_eq!(simulation.world.replicas, Some(0));
}

#[test]
fn a_reduction_that_was_recorded_before_a_crash_is_not_carried_out_into_another_world() {
    let mut simulation = idle();
    simulation.rate = 40_000;
    simulation.run(3 * MINUTE).unwrap();
    let replicas = simulation.world.replicas;
    // Decided at a quiet time, not yet written when the process ended; by now jobs are arriving.
    let mut record = simulation.status.clone().unwrap();
    record.desired = 0;
    simulation.status = Some(record);
    simulation.crash();
    simulation.run(2 * MINUTE).unwrap();
    assert!(
        simulation.world.replicas >= replicas,
        "{}",
        simulation.trace()
    );
}

#[test]
fn at_rest_nothing_is_written() {
    let mut simulation = idle();
    simulation.rate = 30_000;
    simulation.run(6 * MINUTE).unwrap();
    let writes = simulation.writes;
    simulation.run(30 * MINUTE).unwrap();
    assert_eq!(simulation.writes, writes, "{}", simulation.trace());
    simulation.crash();
    simulation.run(30 * MINUTE).unwrap();
    assert_eq!(simulation.writes, writes, "{}", simulation.trace());
}

#[test]
fn a_broker_that_restarts_and_counts_from_zero_costs_no_worker() {
    let mut simulation = idle();
    simulation.rate = 40_000;
    simulation.run(4 * MINUTE).unwrap();
    let replicas = simulation.world.replicas;
    simulation.world.restart_broker(20_000);
    for _ in 0..120 {
        simulation.run(1000).unwrap();
        assert!(
            simulation.world.replicas >= replicas,
            "{}",
            simulation.trace()
        );
    }
}

#[test]
fn a_load_that_comes_and_goes_changes_the_number_a_few_times_and_not_with_each_wave() {
    let mut simulation = idle();
    simulation.run(MINUTE).unwrap();
    let changes = simulation.rules.changes;
    for _ in 0..30 {
        simulation.rate = 60_000;
        simulation.run(20_000).unwrap();
        simulation.rate = 0;
        simulation.run(20_000).unwrap();
    }
    let changes = simulation.rules.changes - changes;
    assert!(changes <= 6, "{changes} changes\n{}", simulation.trace());
}

#[test]
fn a_burst_that_comes_again_within_the_minute_finds_its_workers() {
    let mut simulation = idle();
    // So that only time keeps the workers.
    simulation.world.lag = 0;
    simulation.policy.expected_service_time = Duration::from_millis(200);
    simulation.world.publish(3000);
    simulation.run(2000).unwrap();
    let replicas = simulation.world.replicas;
    assert_eq!(replicas, Some(12));
    simulation.run(55_000).unwrap();
    assert_eq!(simulation.world.depth(), 0);
    assert_eq!(
        simulation.world.replicas,
        replicas,
        "{}",
        simulation.trace()
    );
    simulation.run(30_000).unwrap();
    assert!(
        simulation.world.replicas < replicas,
        "{}",
        simulation.trace()
    );
}

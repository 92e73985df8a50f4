//! The formula alone.

use std::time::Duration;

use orlop_plan::worker::scaler::{Policy, UTILISATION_PERCENT, workers};
use proptest::prelude::*;

use crate::simulation;

prop_compose! {
    fn any_policy()(concurrency in 1_u32..=256, drain_millis in 1_000_u64..=86_400_000) -> Policy {
        Policy {
            concurrency,
            drain_within: Duration::from_millis(drain_millis),
            ..simulation::policy()
        }
    }
}

prop_compose! {
    fn any_load()(
        arrivals in 0_u32..=100_000_000,
        backlog in 0_u64..=10_000_000_000,
        millis in 1_u64..=900_000,
    ) -> (f64, u64, Duration) {
        (f64::from(arrivals) / 10.0, backlog, Duration::from_millis(millis))
    }
}

/// Jobs at once that a load keeps going, were nothing ever to wait.
#[allow(clippy::cast_precision_loss)]
fn busy(policy: &Policy, (arrivals, backlog, service_time): (f64, u64, Duration)) -> f64 {
    let drain_within = policy.drain_within.as_secs_f64();
    let seconds = service_time.as_secs_f64();
    arrivals * seconds / 0.8 + backlog as f64 * seconds / drain_within
}

fn asked(policy: &Policy, (arrivals, backlog, service_time): (f64, u64, Duration)) -> u32 {
    workers(policy, arrivals, backlog, service_time, UTILISATION_PERCENT)
}

proptest! {
    #[test]
    fn it_is_the_smallest_number_that_meets_the_target(policy in any_policy(), load in any_load()) {
        let number = asked(&policy, load);
        let needed = busy(&policy, load) / f64::from(policy.concurrency);
        prop_assume!(needed < f64::from(u32::MAX));
        let slack = needed * 1e-9 + 1e-8;
        prop_assert!(f64::from(number) + slack >= needed);
        prop_assert!(number <= 1 || f64::from(number - 1) < needed + slack);
    }

    #[test]
    fn none_is_for_no_load_at_all(policy in any_policy(), load in any_load()) {
        let (arrivals, backlog, _) = load;
        prop_assert_eq!(asked(&policy, load) == 0, arrivals == 0.0 && backlog == 0);
    }

    #[test]
    fn more_load_never_asks_for_fewer(policy in any_policy(), load in any_load(), more in 1_u32..1000) {
        let (arrivals, backlog, service_time) = load;
        let number = asked(&policy, load);
        let arriving = (arrivals + f64::from(more), backlog, service_time);
        let waiting = (arrivals, backlog + u64::from(more), service_time);
        let slower = (arrivals, backlog, service_time + Duration::from_millis(more.into()));
        for heavier in [arriving, waiting, slower] {
            prop_assert!(asked(&policy, heavier) >= number);
        }
    }

    #[test]
    fn any_numbers_at_all_give_a_number(
        arrivals in any::<f64>(),
        backlog in any::<u64>(),
        seconds in any::<u64>(),
        utilisation in any::<u32>(),
    ) {
        let mut policy = simulation::policy();
        policy.concurrency = 0;
        policy.drain_within = Duration::ZERO;
        let number = workers(&policy, arrivals, backlog, Duration::from_secs(seconds), utilisation);
        prop_assert!(number > 0 || backlog == 0);
    }
}

#[test]
fn whole_numbers_are_not_rounded_up() {
    let policy = Policy {
        concurrency: 1,
        drain_within: Duration::from_secs(10),
        ..simulation::policy()
    };
    // 24 x 0.1 s / 0.8 = 3, and 10 x 0.1 s / 10 s = 0.1.
    let tenth = Duration::from_millis(100);
    assert_eq!(workers(&policy, 24.0, 0, tenth, UTILISATION_PERCENT), 3);
    assert_eq!(workers(&policy, 24.0, 10, tenth, UTILISATION_PERCENT), 4);
}

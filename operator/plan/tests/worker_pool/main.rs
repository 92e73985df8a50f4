//! A pool's whole life, as its room plans it: the objects, how many workers, what is told.

// Outside of functions marked as tests, clippy does not know that this is one.
#![allow(clippy::unwrap_used, clippy::panic)]

mod release;
mod world;

use jiff::SignedDuration;
use orlop_contract::worker::{BrokerError, BrokerErrorKind, HandlerFailure, Millis, WorkerStats};
use orlop_crds::{Reason, worker_pool::ScalingReason};
use orlop_plan::{Images, Kind, Object, ObjectName, ReadFailure, Reconcile};
use serde_json::json;

use crate::world::{World, hold, statistics};

#[test]
fn a_pool_that_uses_every_field_is_rendered() {
    let world = World::idle();
    let objects: Vec<_> = world
        .observed
        .children
        .iter()
        .map(|object| object.to_value().unwrap())
        .collect();
    insta::assert_yaml_snapshot!(objects);
}

#[test]
fn jobs_that_come_are_answered_by_one_write_of_the_number_in_the_status() {
    let mut world = World::idle();
    world.now += SignedDuration::from_secs(1);
    world.hears(200, 0, None);
    assert_eq!(world.settle(), 1);
    let status = world.pool.status.clone().unwrap();
    let scaling = status.scaling.unwrap();
    // (200 / 20 s x 0.3 s / 0.8 + 200 x 0.3 s / 30 s) / 2 = 2.875
    assert_eq!(scaling.desired, 3);
    assert_eq!(scaling.reason, ScalingReason::Load);
    assert_eq!(world.replicas(), Some(3));
    assert_eq!(status.summary.as_deref(), Some("3/3"));
    assert_eq!(world.ready(), ("True".to_owned(), Reason::Available));
}

#[test]
fn a_decision_is_recorded_before_it_is_acted_on() {
    let mut world = World::idle();
    world.now += SignedDuration::from_secs(1);
    world.hears(200, 0, None);
    let decided = world.pass();
    assert_eq!(decided.writes, []);
    assert_eq!(decided.status.scaling.unwrap().desired, 3);
    assert_eq!(decided.notices.len(), 2, "{:?}", decided.notices);
    let acted = world.pass();
    assert_eq!(acted.writes.len(), 1);
}

#[test]
fn the_worker_is_told_the_queues_of_the_ladder() {
    let world = World::idle();
    let config = world.config();
    assert_eq!(config.dead_queue, "cargo.dead");
    let rungs: Vec<_> = config
        .retry
        .rungs
        .iter()
        .map(|rung| (rung.queue.as_str(), rung.delay_millis.0))
        .collect();
    assert_eq!(config.retry.attempts, 3);
    assert_eq!(rungs, [("cargo.retry.1", 1000), ("cargo.retry.2", 2000)]);
}

#[test]
fn another_number_of_workers_is_no_new_revision_and_another_retry_is_one() {
    let mut world = World::idle();
    let revision = world.active();
    world.pool.spec.scale = None;
    world.pool.spec.replicas = Some(2);
    world.settle();
    assert_eq!(world.replicas(), Some(2));
    assert_eq!(world.active(), revision);
    let scaling = world.pool.status.clone().unwrap().scaling.unwrap();
    assert_eq!(scaling.reason, ScalingReason::Fixed);
    world.observed.brokers = vec![hold(&json!({"attempts": 1}))];
    world.settle();
    assert_ne!(world.active(), revision);
    assert_eq!(world.config().retry.attempts, 1);
}

#[test]
fn an_upgrade_of_the_operator_releases_nothing() {
    let mut world = World::idle();
    let template = world.template();
    world.images = Images::of("registry.example", "2");
    assert_eq!(world.settle(), 0);
    assert_eq!(world.template(), template);
    world.pool.spec.concurrency = Some(3);
    world.settle();
    let image = world.template().spec.unwrap().containers[0].image.clone();
    assert_eq!(image.as_deref(), Some("registry.example/orlop-worker:2"));
}

#[test]
fn what_is_not_there_is_named_and_nothing_is_started() {
    let without = |change: fn(&mut World)| {
        let mut world = World::new();
        change(&mut world);
        world.settle();
        (world.ready().1, world.message())
    };
    let (reason, message) = without(|world| {
        world.observed.existing.clear();
        world.observed.brokers.clear();
    });
    assert_eq!(reason, Reason::DependencyMissing);
    assert!(
        message.contains("BrokerTier 'hold' does not exist"),
        "{message}"
    );
    let (reason, message) = without(|world| world.pool.spec.source.rabbitmq.queue = "ore".into());
    assert_eq!(reason, Reason::QueueMissing);
    assert!(message.contains("queue 'ore' is not declared"), "{message}");
    let (reason, message) = without(|world| {
        let crane = ObjectName::new(Kind::AppService, "crane");
        world.observed.existing.remove(&crane);
    });
    assert_eq!(reason, Reason::DependencyMissing);
    assert!(message.contains("AppService 'crane'"), "{message}");
    let (reason, message) = without(|world| world.observed.secrets.clear());
    assert_eq!(reason, Reason::BindingMissing);
    assert!(message.contains("'hold-binding'"), "{message}");
}

#[test]
fn a_broker_that_is_deleted_stops_no_worker() {
    let mut world = World::idle();
    world.now += SignedDuration::from_secs(1);
    world.hears(200, 0, None);
    world.settle();
    world.observed.existing.clear();
    world.observed.brokers.clear();
    world.observed.secrets.clear();
    world.observed.snapshots.rabbitmq = None;
    world.now += SignedDuration::from_hours(1);
    assert_eq!(world.settle(), 0);
    assert_eq!(world.replicas(), Some(3));
    assert_eq!(world.ready().1, Reason::DependencyMissing);
}

#[test]
fn a_broker_that_does_not_answer_freezes_the_number_and_is_named() {
    let mut world = World::idle();
    world.now += SignedDuration::from_secs(1);
    world.hears(200, 0, None);
    world.settle();
    let snapshot = world.observed.snapshots.rabbitmq.as_mut().unwrap();
    snapshot.failure = Some(ReadFailure::Unreachable("refused".to_owned()));
    world.settle();
    assert_eq!(world.ready().1, Reason::Available, "a moment is no failure");
    world.now += SignedDuration::from_hours(1);
    assert_eq!(world.settle(), 0);
    assert_eq!(world.replicas(), Some(3));
    assert_eq!(world.ready().1, Reason::StatisticsMissing);
    assert!(world.message().contains("refused"), "{}", world.message());
}

#[test]
fn what_workers_say_of_handler_and_broker_is_told() {
    let failure = |in_a_row| {
        Some(HandlerFailure {
            message: "handler answered 500 Internal Server Error".to_owned(),
            in_a_row,
            ago_millis: Millis(1),
        })
    };
    let error = |kind| {
        Some(BrokerError {
            kind,
            message: "no".to_owned(),
        })
    };
    let cases = [
        (failure(1), None, Reason::Available),
        (failure(5), None, Reason::HandlerFailing),
        (
            None,
            error(BrokerErrorKind::AccessRefused),
            Reason::CredentialsRefused,
        ),
        (
            failure(5),
            error(BrokerErrorKind::QueueMissing),
            Reason::QueueMissing,
        ),
        (
            None,
            error(BrokerErrorKind::Unreachable),
            Reason::Unreachable,
        ),
    ];
    for (handler_failure, last_error, expected) in cases {
        let mut world = World::idle();
        world.now += SignedDuration::from_secs(1);
        world.hears(200, 0, None);
        world.settle();
        world.worker_says(WorkerStats {
            last_error,
            handler_failure,
            ..statistics()
        });
        world.settle();
        assert_eq!(world.ready().1, expected, "{}", world.message());
    }
}

#[test]
fn what_workers_said_stands_until_they_are_asked_again_after_a_restart() {
    let mut world = World::idle();
    world.now += SignedDuration::from_secs(1);
    world.hears(200, 0, None);
    world.settle();
    world.worker_says(WorkerStats {
        handler_failure: Some(HandlerFailure {
            message: "handler answered 500".to_owned(),
            in_a_row: 5,
            ago_millis: Millis(1),
        }),
        ..statistics()
    });
    world.settle();
    let told = world.pool.status.clone();
    world.observed.snapshots = orlop_plan::Snapshots::default();
    let restarted = world.pass();
    assert_eq!(Some(restarted.status), told);
    world.hears(200, 0, None);
    world.worker_says(statistics());
    world.settle();
    assert_eq!(world.ready().1, Reason::Available);
}

#[test]
fn everything_that_is_deleted_comes_back() {
    let mut world = World::idle();
    let before: Vec<_> = world.observed.children.iter().map(Object::name).collect();
    for name in &before {
        world
            .observed
            .children
            .retain(|object| object.name() != *name);
        world.settle();
        let mut after: Vec<_> = world.observed.children.iter().map(Object::name).collect();
        after.sort();
        let mut expected = before.clone();
        expected.sort();
        assert_eq!(after, expected);
    }
}

#[test]
fn the_broker_is_asked_as_its_own_room_asks_it() {
    let world = World::idle();
    let sources = world.pool.sources(&world.observed, &world.settings());
    let source = sources.rabbitmq.unwrap();
    assert_eq!(source.host, "hold.harbour.svc.cluster.local");
    assert_eq!(source.password.reveal(), "rope");
}

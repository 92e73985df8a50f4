//! A pool's whole life, as its room plans it: the objects, how many workers, what is told.

// Outside of functions marked as tests, clippy does not know that this is one.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    ByteString,
    api::core::v1::{Pod, Secret},
};
use orlop_contract::worker::{
    BrokerError, BrokerErrorKind, HandlerFailure, Jobs, Millis, WorkerConfig, WorkerStats,
};
use orlop_crds::{BrokerTier, Reason, WorkerPool, WorkerPoolStatus, worker_pool::ScalingReason};
use orlop_plan::{
    Answer, Images, Kind, Object, ObjectName, Observed, Plan, ReadFailure, Reconcile, Settings,
    Snapshot, Write,
    broker::{self, QueueStatistics, reading::Queue},
    labels, worker,
};
use serde_json::json;

/// A pool with its cluster: what is planned is done at once.
struct World {
    pool: WorkerPool,
    observed: Observed,
    now: Timestamp,
    versions: u64,
    images: Images,
}

impl World {
    fn new() -> Self {
        let text = fs::read_to_string("tests/fixtures/worker-pool.yaml").unwrap();
        let mut pool: WorkerPool = serde_saphyr::from_str(&text).unwrap();
        pool.metadata.namespace = Some("harbour".to_owned());
        pool.metadata.uid = Some("00000000-0000-4000-8000-000000000000".to_owned());
        pool.metadata.generation = Some(1);
        pool.metadata.resource_version = Some("1".to_owned());
        let mut world = Self {
            pool,
            observed: Observed {
                secrets: vec![
                    secret("hold-auth", "admin-password"),
                    secret("hold-binding", "uri"),
                ],
                brokers: vec![hold(&json!({"attempts": 3, "backoff": "1s"}))],
                ..Observed::default()
            },
            now: "2026-11-22T12:00:00Z".parse().unwrap(),
            versions: 1,
            images: Images::of("registry.example", "1"),
        };
        for name in [
            ObjectName::new(Kind::BrokerTier, "hold"),
            ObjectName::new(Kind::AppService, "crane"),
        ] {
            world.observed.existing.insert(name);
        }
        world
    }

    /// A pool at rest: nothing to do, no worker.
    fn idle() -> Self {
        let mut world = Self::new();
        world.hears(0, 0, None);
        world.settle();
        assert_eq!(world.ready(), ("True".to_owned(), Reason::Available));
        world
    }

    fn settings(&self) -> Settings {
        Settings {
            cluster_domain: "cluster.local".to_owned(),
            images: self.images.clone(),
        }
    }

    /// One pass, and what comes of it.
    fn pass(&mut self) -> Plan<WorkerPoolStatus> {
        let plan = self.pool.plan(&self.observed, &self.settings(), self.now);
        for write in plan.writes.clone() {
            self.write(write);
        }
        self.pool.status = Some(plan.status.clone());
        plan
    }

    /// Passes until nothing is to be written; how many writes there were of Deployments.
    fn settle(&mut self) -> usize {
        let mut deployments = 0;
        for _ in 0..10 {
            let before = self.pool.status.clone();
            let plan = self.pass();
            let is_deployment = |write: &&Write| write.target().kind == Kind::Deployment;
            deployments += plan.writes.iter().filter(is_deployment).count();
            self.deploy();
            if plan.writes.is_empty() && before == self.pool.status {
                return deployments;
            }
        }
        panic!("the pool does not come to rest: {:?}", self.pool.status);
    }

    fn write(&mut self, write: Write) {
        self.versions += 1;
        let target = write.target();
        self.observed
            .children
            .retain(|other| other.name() != target);
        let (Write::Create(mut object) | Write::Update { mut object, .. }) = write else {
            return;
        };
        let metadata = object.metadata_mut();
        metadata.uid = Some(format!("uid of {target}"));
        metadata.resource_version = Some(self.versions.to_string());
        metadata.generation = Some(1);
        self.observed.children.push(object);
    }

    /// The cluster starts and stops pods, and they are ready at once.
    fn deploy(&mut self) {
        for object in &mut self.observed.children {
            if let Object::Deployment(deployment) = object {
                let replicas = deployment.spec.as_ref().unwrap().replicas.unwrap();
                let status = json!({
                    "replicas": replicas, "readyReplicas": replicas,
                    "updatedReplicas": replicas, "observedGeneration": 1,
                });
                deployment.status = serde_json::from_value(status).unwrap();
                let pods = (0..replicas).map(|number| pod(&format!("deckhands-{number}")));
                self.observed.pods = pods.collect();
            }
        }
    }

    /// The broker tells what is in the queue.
    fn hears(&mut self, ready: u64, unacknowledged: u64, acknowledged: Option<u64>) {
        let statistics = QueueStatistics {
            ready: Some(ready),
            unacknowledged: Some(unacknowledged),
            acknowledged_total: acknowledged,
            ..QueueStatistics::default()
        };
        let queue = Queue {
            statistics,
            ..Queue::default()
        };
        let before = self.observed.snapshots.rabbitmq.take();
        let before = before.and_then(|snapshot| snapshot.answer);
        let mut reading = broker::Reading {
            history: before
                .map(|answer| answer.value.history)
                .unwrap_or_default(),
            ..broker::Reading::default()
        };
        reading.queues.insert("cargo".to_owned(), queue);
        reading.history.push(self.now, &reading.queues);
        self.observed.snapshots.rabbitmq = Some(Snapshot {
            answer: Some(Answer {
                at: self.now,
                value: reading,
            }),
            failure: None,
        });
    }

    fn worker_says(&mut self, said: WorkerStats) {
        let fresh = worker::Reading::answered(vec![("deckhands-0".to_owned(), said)]);
        self.observed.snapshots.workers = Some(Snapshot {
            answer: Some(Answer {
                at: self.now,
                value: fresh.following(None, self.now, |_| true),
            }),
            failure: None,
        });
    }

    fn ready(&self) -> (String, Reason) {
        let status = self.pool.status.as_ref().unwrap();
        let mut conditions = status.conditions.iter();
        let ready = conditions.find(|it| it.type_ == "Ready").unwrap();
        let mut reasons = Reason::ALL.into_iter();
        let reason = reasons.find(|it| it.as_str() == ready.reason).unwrap();
        (ready.status.clone(), reason)
    }

    fn message(&self) -> String {
        let status = self.pool.status.as_ref().unwrap();
        let mut conditions = status.conditions.iter();
        let ready = conditions.find(|it| it.type_ == "Ready").unwrap();
        ready.message.clone()
    }

    fn replicas(&self) -> Option<i32> {
        let mut children = self.observed.children.iter();
        children.find_map(|object| match object {
            Object::Deployment(deployment) => deployment.spec.as_ref()?.replicas,
            _ => None,
        })
    }

    fn template(&self) -> k8s_openapi::api::core::v1::PodTemplateSpec {
        let mut children = self.observed.children.iter();
        let found = children.find_map(|object| match object {
            Object::Deployment(deployment) => deployment.spec.clone(),
            _ => None,
        });
        found.unwrap().template
    }

    fn config(&self) -> WorkerConfig {
        let annotations = self.template().metadata.unwrap().annotations.unwrap();
        serde_json::from_str(&annotations[labels::WORKER_CONFIG]).unwrap()
    }
}

fn secret(name: &str, key: &str) -> Secret {
    let mut secret = Secret::default();
    secret.metadata.name = Some(name.to_owned());
    secret.data = Some([(key.to_owned(), ByteString(b"rope".to_vec()))].into());
    secret
}

fn hold(retry: &serde_json::Value) -> BrokerTier {
    serde_json::from_value(json!({
        "apiVersion": "orlop.dev/v1alpha1",
        "kind": "BrokerTier",
        "metadata": {"name": "hold", "namespace": "harbour"},
        "spec": {"rabbitmq": {"queues": [{"name": "cargo", "retry": retry}]}},
    }))
    .unwrap()
}

fn pod(name: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "status": {
            "phase": "Running", "podIP": "192.0.2.7",
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }))
    .unwrap()
}

fn statistics() -> WorkerStats {
    WorkerStats {
        start: "1".to_owned(),
        connected: true,
        draining: false,
        jobs: Jobs::default(),
        redelivered: 0,
        busy_seconds: 0.0,
        in_flight: 0,
        last_error: None,
        handler_failure: None,
    }
}

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
    let revision = world.pool.status.clone().unwrap().active_revision;
    world.pool.spec.scale = None;
    world.pool.spec.replicas = Some(2);
    world.settle();
    assert_eq!(world.replicas(), Some(2));
    assert_eq!(world.pool.status.clone().unwrap().active_revision, revision);
    let scaling = world.pool.status.clone().unwrap().scaling.unwrap();
    assert_eq!(scaling.reason, ScalingReason::Fixed);
    world.observed.brokers = vec![hold(&json!({"attempts": 1}))];
    world.settle();
    assert_ne!(world.pool.status.clone().unwrap().active_revision, revision);
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

//! A pool with its cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::Deployment,
        core::v1::{Pod, PodTemplateSpec, Secret},
    },
};
use orlop_contract::worker::{Jobs, WorkerConfig, WorkerStats};
use orlop_crds::{
    BrokerTier, Reason, WorkerPool, WorkerPoolStatus,
    release::{self, CommandOutcome, ReleasePhase, ReleaseRecord},
};
use orlop_plan::{
    Answer, Images, Kind, Object, ObjectName, Observed, Plan, Reconcile, Settings, Snapshot, Write,
    broker::{self, QueueStatistics, reading::Queue},
    labels, worker,
};
use serde_json::json;

/// Passes until rest, at most: a release has eight phases, each recorded and then acted on.
pub(crate) const PASSES_MAX: usize = 40;

/// A pool with its cluster: what is planned is done at once.
pub(crate) struct World {
    pub(crate) pool: WorkerPool,
    pub(crate) observed: Observed,
    pub(crate) now: Timestamp,
    pub(crate) versions: u64,
    pub(crate) images: Images,
    /// Revisions that never become ready.
    pub(crate) broken: BTreeSet<String>,
    /// Pods that are stopped finish their jobs first.
    pub(crate) linger: bool,
}

impl World {
    pub(crate) fn new() -> Self {
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
            broken: BTreeSet::new(),
            linger: false,
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
    pub(crate) fn idle() -> Self {
        let mut world = Self::new();
        world.hears(0, 0, None);
        world.settle();
        assert_eq!(world.ready(), ("True".to_owned(), Reason::Available));
        world
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            cluster_domain: "cluster.local".to_owned(),
            images: self.images.clone(),
        }
    }

    /// One pass, and what comes of it.
    pub(crate) fn pass(&mut self) -> Plan<WorkerPoolStatus> {
        let plan = self.pool.plan(&self.observed, &self.settings(), self.now);
        for write in plan.writes.clone() {
            self.write(write);
        }
        self.pool.status = Some(plan.status.clone());
        plan
    }

    /// Passes until nothing is to be written; how many writes there were of Deployments.
    pub(crate) fn settle(&mut self) -> usize {
        let mut deployments = 0;
        for _ in 0..PASSES_MAX {
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

    pub(crate) fn write(&mut self, write: Write) {
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

    /// The cluster starts and stops pods, and they are ready at once. Those that are to linger when
    /// they are stopped do so until they are told to end.
    pub(crate) fn deploy(&mut self) {
        let mut pods = Vec::new();
        for object in &mut self.observed.children {
            let Object::Deployment(deployment) = object else {
                continue;
            };
            let name = deployment.metadata.name.clone().unwrap();
            let revision = name.strip_prefix("deckhands-").unwrap();
            let replicas = deployment.spec.as_ref().unwrap().replicas.unwrap();
            let runs = !self.broken.contains(revision);
            let ready = if runs { replicas } else { 0 };
            let progress = if runs {
                "NewReplicaSetAvailable"
            } else {
                "ReplicaSetUpdated"
            };
            let status = json!({
                "replicas": replicas, "readyReplicas": ready,
                "updatedReplicas": replicas, "observedGeneration": 1,
                "conditions": [{"type": "Progressing", "status": "True", "reason": progress}],
            });
            deployment.status = serde_json::from_value(status).unwrap();
            pods.extend((0..replicas).map(|number| pod(revision, number, runs)));
        }
        let lingering = self.observed.pods.drain(..).filter(|before| {
            let name = &before.metadata.name;
            self.linger && pods.iter().all(|pod| pod.metadata.name != *name)
        });
        let lingering: Vec<_> = lingering.collect();
        self.observed.pods = pods;
        self.observed.pods.extend(lingering);
    }

    /// The broker tells what is in the queue.
    pub(crate) fn hears(&mut self, ready: u64, unacknowledged: u64, acknowledged: Option<u64>) {
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

    pub(crate) fn worker_says(&mut self, said: WorkerStats) {
        let fresh = worker::Reading::answered(vec![("deckhands-0".to_owned(), said)]);
        self.observed.snapshots.workers = Some(Snapshot {
            answer: Some(Answer {
                at: self.now,
                value: fresh.following(None, self.now, |_| true),
            }),
            failure: None,
        });
    }

    pub(crate) fn ready(&self) -> (String, Reason) {
        let status = self.pool.status.as_ref().unwrap();
        let mut conditions = status.conditions.iter();
        let ready = conditions.find(|it| it.type_ == "Ready").unwrap();
        let mut reasons = Reason::ALL.into_iter();
        let reason = reasons.find(|it| it.as_str() == ready.reason).unwrap();
        (ready.status.clone(), reason)
    }

    pub(crate) fn message(&self) -> String {
        let status = self.pool.status.as_ref().unwrap();
        let mut conditions = status.conditions.iter();
        let ready = conditions.find(|it| it.type_ == "Ready").unwrap();
        ready.message.clone()
    }

    pub(crate) fn record(&self) -> ReleaseRecord {
        self.pool.status.clone().unwrap().record
    }

    pub(crate) fn active(&self) -> String {
        self.record().active_revision.unwrap()
    }

    pub(crate) fn phase(&self) -> Option<ReleasePhase> {
        Some(self.record().release?.phase)
    }

    /// Workers that each revision is asked for.
    pub(crate) fn sizes(&self) -> BTreeMap<String, i32> {
        let sizes = self.deployments().map(|deployment| {
            let name = deployment.metadata.name.as_deref().unwrap();
            let revision = name.strip_prefix("deckhands-").unwrap();
            let replicas = deployment.spec.as_ref().unwrap().replicas.unwrap();
            (revision.to_owned(), replicas)
        });
        sizes.collect()
    }

    pub(crate) fn deployments(&self) -> impl Iterator<Item = &Deployment> {
        self.observed
            .children
            .iter()
            .filter_map(|object| match object {
                Object::Deployment(deployment) => Some(deployment.as_ref()),
                _ => None,
            })
    }

    /// Of the revision that takes the jobs.
    pub(crate) fn replicas(&self) -> Option<i32> {
        self.sizes().get(&self.active()).copied()
    }

    /// Of the revision that takes the jobs.
    pub(crate) fn template(&self) -> PodTemplateSpec {
        let name = format!("deckhands-{}", self.active());
        let mut deployments = self.deployments();
        let active = deployments.find(|it| it.metadata.name.as_ref() == Some(&name));
        active.unwrap().spec.clone().unwrap().template
    }

    /// A pool of so many workers at rest.
    pub(crate) fn of(replicas: i32) -> Self {
        let mut world = Self::idle();
        world.resize(replicas);
        world.settle();
        world
    }

    pub(crate) fn resize(&mut self, replicas: i32) {
        self.pool.spec.scale = None;
        self.pool.spec.replicas = Some(replicas);
    }

    pub(crate) fn release_by(&mut self, release: &serde_json::Value) {
        self.pool.spec.release = Some(serde_json::from_value(release.clone()).unwrap());
    }

    /// Another revision is declared.
    pub(crate) fn declare_another(&mut self) {
        self.pool.spec.concurrency = Some(self.pool.spec.concurrency.unwrap_or(1) + 1);
    }

    pub(crate) fn command(&mut self, verb: &str, revision: &str) {
        let annotations = self.pool.metadata.annotations.get_or_insert_default();
        annotations.insert(release::COMMAND.to_owned(), format!("{verb}@{revision}"));
    }

    pub(crate) fn outcome(&self) -> CommandOutcome {
        self.record().command.unwrap().outcome
    }

    pub(crate) fn config(&self) -> WorkerConfig {
        let annotations = self.template().metadata.unwrap().annotations.unwrap();
        serde_json::from_str(&annotations[labels::WORKER_CONFIG]).unwrap()
    }
}

pub(crate) fn secret(name: &str, key: &str) -> Secret {
    let mut secret = Secret::default();
    secret.metadata.name = Some(name.to_owned());
    secret.data = Some([(key.to_owned(), ByteString(b"rope".to_vec()))].into());
    secret
}

pub(crate) fn hold(retry: &serde_json::Value) -> BrokerTier {
    serde_json::from_value(json!({
        "apiVersion": "orlop.dev/v1alpha1",
        "kind": "BrokerTier",
        "metadata": {"name": "hold", "namespace": "harbour"},
        "spec": {"rabbitmq": {"queues": [{"name": "cargo", "retry": retry}]}},
    }))
    .unwrap()
}

pub(crate) fn pod(revision: &str, number: i32, is_ready: bool) -> Pod {
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("deckhands-{revision}-{number}"),
            "labels": {labels::REVISION: revision},
        },
        "status": {
            "phase": "Running", "podIP": "192.0.2.7",
            "conditions": [{"type": "Ready", "status": if is_ready { "True" } else { "False" }}],
        },
    }))
    .unwrap()
}

pub(crate) fn statistics() -> WorkerStats {
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

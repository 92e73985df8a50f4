//! A broker's whole life, as its room plans it: the objects, what is done on the broker, what is told.

// Outside of functions marked as tests, clippy does not know that this is one.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{collections::BTreeSet, fs};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use orlop_crds::{BrokerTier, BrokerTierStatus, DeletionPolicy, Reason};
use orlop_plan::{
    Action, Answer, Entropy, Images, Kind, Object, ObjectName, Observed, Plan, ReadFailure,
    Reconcile, Settings, Snapshot, Write,
    broker::{
        self, Reading,
        reading::{Alarm, Argument, Queue},
    },
};
use serde_json::json;

/// A broker with its cluster: what is planned is done at once.
#[derive(Clone)]
struct World {
    broker: BrokerTier,
    observed: Observed,
    reading: Reading,
    now: Timestamp,
    writes: u64,
}

impl World {
    fn new() -> Self {
        let text = fs::read_to_string("tests/fixtures/broker.yaml").unwrap();
        let mut broker: BrokerTier = serde_saphyr::from_str(&text).unwrap();
        broker.metadata.namespace = Some("harbour".to_owned());
        broker.metadata.uid = Some("00000000-0000-4000-8000-000000000000".to_owned());
        broker.metadata.generation = Some(1);
        broker.metadata.resource_version = Some("1".to_owned());
        Self {
            broker,
            observed: Observed {
                entropy: Entropy::new([7; 32]),
                ..Observed::default()
            },
            reading: Reading::default(),
            now: "2026-11-22T12:00:00Z".parse().unwrap(),
            writes: 0,
        }
    }

    /// A world in which everything stands.
    fn settled() -> Self {
        let mut world = Self::new();
        world.pass();
        world.start();
        world.pass();
        world.pass();
        assert_eq!(
            world.ready(),
            ("True", Reason::Available),
            "{:?}",
            world.status()
        );
        world
    }

    fn plan(&self) -> Plan<BrokerTierStatus> {
        let settings = Settings {
            cluster_domain: "cluster.local".to_owned(),
            images: Images::default(),
        };
        self.broker.plan(&self.observed, &settings, self.now)
    }

    /// One pass, and what comes of it.
    fn pass(&mut self) -> Plan<BrokerTierStatus> {
        let plan = self.plan();
        for write in plan.writes.clone() {
            self.write(write);
        }
        for action in plan.actions.clone() {
            self.perform(action);
        }
        self.broker.status = Some(plan.status.clone());
        self.answered();
        plan
    }

    fn write(&mut self, write: Write) {
        self.writes += 1;
        let target = write.target();
        let (Write::Create(mut object) | Write::Update { mut object, .. }) = write else {
            panic!("nothing is deleted, but {target}");
        };
        self.observed
            .children
            .retain(|other| other.name() != target);
        let metadata = object.metadata_mut();
        metadata.uid = Some(format!("uid of {target}"));
        metadata.resource_version = Some(self.writes.to_string());
        metadata.generation = Some(1);
        self.observed.children.push(object);
    }

    /// The cluster starts the pod.
    fn start(&mut self) {
        let name = ObjectName::new(Kind::StatefulSet, "hold");
        for object in &mut self.observed.children {
            if object.name() == name
                && let Object::StatefulSet(set) = object
            {
                let status = json!({"replicas": 1, "updatedReplicas": 1, "observedGeneration": 1});
                set.status = serde_json::from_value(status).unwrap();
            }
        }
        let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T11:00:00Z"}]);
        self.observed.pods = vec![pod(&json!({"conditions": ready}))];
        self.answered();
    }

    fn answered(&mut self) {
        if self.observed.pods.is_empty() {
            return;
        }
        self.observed.snapshots.rabbitmq = Some(Snapshot {
            answer: Some(Answer {
                at: self.now,
                value: self.reading.clone(),
            }),
            failure: None,
        });
    }

    /// The broker gives no answer any more.
    fn fails(&mut self, failure: ReadFailure) {
        let snapshot = self.observed.snapshots.rabbitmq.as_mut().unwrap();
        snapshot.failure = Some(failure);
        self.now += SignedDuration::from_secs(11);
    }

    /// A broker that does what it is told.
    fn perform(&mut self, action: Action) {
        let Action::RabbitMq { source, action } = action else {
            panic!("{action:?} is not for a broker");
        };
        assert_eq!(source.host, "hold.harbour.svc.cluster.local");
        let reading = &mut self.reading;
        match action {
            broker::Action::PutVhost => {
                reading.vhosts.insert("orlop".to_owned());
            }
            broker::Action::PutUser { name, user } => {
                reading.users.insert(name, user);
            }
            broker::Action::PutPermission { user, permission } => {
                reading.permissions.insert(user, permission);
            }
            broker::Action::PutPolicy { name, policy } => {
                reading.policies.insert(name, policy);
            }
            broker::Action::DeletePolicy { name } => {
                reading.policies.remove(&name);
            }
            broker::Action::DeclareQueue { name } => {
                reading.queues.insert(name, quorum());
            }
        }
    }

    fn status(&self) -> BrokerTierStatus {
        self.plan().status
    }

    fn ready(&self) -> (&'static str, Reason) {
        let status = self.status();
        let ready = status
            .conditions
            .iter()
            .find(|it| it.type_ == "Ready")
            .unwrap();
        let reason = Reason::ALL
            .into_iter()
            .find(|it| it.as_str() == ready.reason);
        let is_ready = if ready.status == "True" {
            "True"
        } else {
            "False"
        };
        (is_ready, reason.unwrap())
    }

    fn message(&self) -> String {
        let status = self.status();
        let ready = status.conditions.iter().find(|it| it.type_ == "Ready");
        ready.unwrap().message.clone()
    }

    fn object(&self, kind: Kind, name: &str) -> &Object {
        let name = ObjectName::new(kind, name);
        let mut children = self.observed.children.iter();
        children.find(|object| object.name() == name).unwrap()
    }

    fn secret(&self, name: &str, key: &str) -> String {
        let Object::Secret(secret) = self.object(Kind::Secret, name) else {
            panic!("{name} is a Secret");
        };
        String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap()
    }
}

fn quorum() -> Queue {
    let kind = Argument::Text("quorum".to_owned());
    Queue {
        kind: "quorum".to_owned(),
        durable: true,
        arguments: [("x-queue-type".to_owned(), kind)].into(),
        ..Queue::default()
    }
}

fn pod(status: &serde_json::Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "hold-0"}, "status": status})).unwrap()
}

#[test]
fn a_broker_that_uses_every_field_is_rendered() {
    let plan = World::new().plan();
    let documents = plan.writes.into_iter().map(|write| match write {
        Write::Create(object) => serde_saphyr::to_string(&object.to_value().unwrap()).unwrap(),
        other => panic!("nothing exists yet, but {other:?}"),
    });
    insta::assert_snapshot!(documents.collect::<Vec<_>>().join("---\n"));
}

#[test]
fn a_broker_comes_up_and_then_nothing_is_written_or_done_any_more() {
    let mut world = World::new();
    let first = world.pass();
    assert_eq!(first.actions, [], "nobody is there to be asked");
    assert_eq!(world.ready(), ("False", Reason::Starting));
    world.start();
    let second = world.pass();
    assert_eq!(second.writes, []);
    assert!(!second.actions.is_empty());
    world.pass();
    let rest = world.plan();
    assert_eq!((rest.writes, rest.actions), (Vec::new(), Vec::new()));
    assert_eq!(Some(rest.status), world.broker.status);
    assert_eq!(rest.wake_at, None);
    assert_eq!(world.status().queues, ["letters", "parcels"]);
    let queues: BTreeSet<&str> = world.reading.queues.keys().map(String::as_str).collect();
    assert!(
        queues.is_superset(
            &[
                "letters",
                "letters.dead",
                "letters.retry.3",
                "parcels.retry.4"
            ]
            .into()
        )
    );
}

#[test]
fn a_restart_of_the_operator_is_no_news() {
    let mut world = World::settled();
    world.observed.snapshots.rabbitmq = None;
    let plan = world.plan();
    assert_eq!(Some(plan.status), world.broker.status);
    assert_eq!((plan.writes, plan.actions), (Vec::new(), Vec::new()));
}

#[test]
fn whatever_is_taken_away_on_the_broker_comes_back() {
    let mut world = World::settled();
    let whole = world.reading.clone();
    world.reading = Reading::default();
    world.answered();
    assert_eq!(world.status().queues, Vec::<String>::new());
    world.pass();
    assert_eq!(world.reading, whole);
}

#[test]
fn users_keep_their_password_when_the_credentials_are_deleted_and_the_node_restarts() {
    let mut world = World::settled();
    let (admin, app) = ("admin-password", "password");
    let before = (
        world.secret("hold-auth", admin),
        world.secret("hold-auth", app),
    );
    let lost = ObjectName::new(Kind::Secret, "hold-auth");
    world
        .observed
        .children
        .retain(|object| object.name() != lost);
    world.observed.entropy = Entropy::new([8; 32]);
    let plan = world.pass();
    let written: Vec<String> = plan
        .writes
        .iter()
        .map(|it| it.target().to_string())
        .collect();
    let expected = [
        "Secret/hold-auth",
        "Secret/hold-definitions",
        "StatefulSet/hold",
    ];
    assert_eq!(written, expected);
    assert_ne!(world.secret("hold-auth", admin), before.0);
    assert_eq!(world.secret("hold-auth", app), before.1);
    assert_eq!(world.ready(), ("False", Reason::Starting));
}

#[test]
fn credentials_and_volumes_go_with_the_broker_only_where_its_author_says_so() {
    for (deletion, is_owned, when_deleted) in [
        (DeletionPolicy::Keep, false, "Retain"),
        (DeletionPolicy::Delete, true, "Delete"),
    ] {
        let mut world = World::new();
        world.broker.spec.deletion = Some(deletion);
        world.pass();
        let auth = world.object(Kind::Secret, "hold-auth").metadata();
        assert_eq!(auth.owner_references.is_some(), is_owned);
        let Object::StatefulSet(set) = world.object(Kind::StatefulSet, "hold") else {
            panic!("a StatefulSet");
        };
        let spec = set.spec.as_ref().unwrap();
        let policy = spec
            .persistent_volume_claim_retention_policy
            .as_ref()
            .unwrap();
        assert_eq!(policy.when_deleted.as_deref(), Some(when_deleted));
    }
}

#[test]
fn no_secret_is_told_outside_of_secrets() {
    let world = World::settled();
    let passwords = [
        world.secret("hold-auth", "password"),
        world.secret("hold-auth", "admin-password"),
        world.secret("hold-auth", "erlang-cookie"),
    ];
    let others = world
        .observed
        .children
        .iter()
        .filter(|it| it.kind() != Kind::Secret);
    let mut text: String = others
        .map(|it| it.to_value().unwrap().to_string())
        .collect();
    text.push_str(&serde_json::to_string(&world.status()).unwrap());
    let mut lost = world.clone();
    lost.reading = Reading::default();
    lost.answered();
    let actions = format!("{:?}", lost.plan().actions);
    assert!(actions.contains("PutUser"), "{actions}");
    text.push_str(&actions);
    assert!(passwords.iter().all(|password| !text.contains(password)));
    let definitions = world.secret("hold-definitions", "definitions.json");
    assert!(
        passwords
            .iter()
            .all(|password| !definitions.contains(password))
    );
}

#[test]
fn each_fault_of_a_broker_is_told_by_its_cause() {
    let mut world = World::settled();
    world.reading.alarms = [Alarm::Disk, Alarm::Memory].into();
    world.answered();
    assert_eq!(world.ready(), ("False", Reason::DiskFull));
    world.reading.alarms = [Alarm::Memory].into();
    world.answered();
    assert_eq!(world.ready(), ("False", Reason::MemoryFull));

    let mut world = World::settled();
    world.fails(ReadFailure::CredentialsRefused("no".to_owned()));
    assert_eq!(world.ready(), ("False", Reason::CredentialsRefused));
    assert!(
        world.message().contains("Secret 'hold-auth'"),
        "{}",
        world.message()
    );

    let mut world = World::settled();
    world.fails(ReadFailure::Unreachable("port 15672: refused".to_owned()));
    assert_eq!(world.ready(), ("False", Reason::Unreachable));

    let mut world = World::settled();
    world.reading.queues.get_mut("parcels").unwrap().kind = "classic".to_owned();
    world.answered();
    assert_eq!(world.ready(), ("False", Reason::NameTaken));
    assert_eq!(world.status().queues, ["letters"]);
    assert!(
        world
            .message()
            .starts_with("hold/BrokerTier/hold: 'parcels' exists"),
        "{}",
        world.message()
    );

    let mut world = World::settled();
    world.observed.pods = vec![pod(&json!({"conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
    }]}))];
    assert_eq!(world.ready(), ("False", Reason::VolumePending));
}

#[test]
fn a_broker_that_is_silent_for_a_moment_stays_as_it_was() {
    let mut world = World::settled();
    world.fails(ReadFailure::Unreachable(
        "no answer within 2500 ms".to_owned(),
    ));
    world.now -= SignedDuration::from_secs(8);
    let plan = world.plan();
    assert_eq!(Some(plan.status), world.broker.status);
    assert!(
        plan.wake_at.is_some(),
        "it is looked at again before it is told"
    );
}

#[test]
fn a_queue_that_is_declared_no_more_keeps_its_messages_and_is_named() {
    let mut world = World::settled();
    world
        .broker
        .spec
        .rabbitmq
        .queues
        .retain(|queue| queue.name != "parcels");
    world.pass();
    assert!(world.reading.queues.contains_key("parcels"));
    assert!(world.reading.policies.contains_key("orlop.parcels"));
    assert_eq!(world.ready(), ("True", Reason::Available));
    assert!(
        world.message().contains("kept: 'parcels'"),
        "{}",
        world.message()
    );
}

#[test]
fn what_the_schema_should_have_refused_is_refused_again() {
    let mut world = World::new();
    world.broker.spec.rabbitmq.nodes = Some(3);
    assert_eq!(world.ready(), ("False", Reason::InvalidSpec));
    assert_eq!(world.plan().writes, []);
    let mut world = World::new();
    world.broker.spec.rabbitmq.queues[0].name = "letters.*".to_owned();
    assert_eq!(world.ready(), ("False", Reason::InvalidSpec));
}

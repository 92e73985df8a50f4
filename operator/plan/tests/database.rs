//! What is made of a database, and what is told of it.

// Outside of functions marked as tests, clippy does not know that this is one.
#![allow(clippy::unwrap_used, clippy::panic)]

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use orlop_crds::{DatabaseTier, DatabaseTierStatus};
use orlop_plan::{
    Entropy, Images, Kind, Object, ObjectName, Observed, Plan, ProbeFailure, Reconcile, Settings,
    Write,
};
use serde_json::{Value, json};

fn database(spec: &Value) -> DatabaseTier {
    let object = json!({
        "apiVersion": "orlop.dev/v1alpha1",
        "kind": "DatabaseTier",
        "metadata": {
            "name": "hold",
            "namespace": "harbour",
            "uid": "00000000-0000-4000-8000-000000000000",
            "generation": 1,
            "resourceVersion": "1",
        },
        "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

fn settings() -> Settings {
    Settings {
        cluster_domain: "cluster.local".to_owned(),
        images: Images {
            postgres: "acme/postgres:17".to_owned(),
            ..Images::default()
        },
    }
}

fn pass(database: &DatabaseTier, observed: &Observed) -> Plan<DatabaseTierStatus> {
    database.plan(observed, &settings(), Timestamp::UNIX_EPOCH)
}

/// A world that holds these objects and nothing else. Passwords in it are random by `seed`.
fn world(seed: u8, children: Vec<Object>) -> Observed {
    Observed {
        children,
        entropy: Entropy::new([seed; 32]),
        ..Observed::default()
    }
}

fn written(plan: &Plan<DatabaseTierStatus>) -> Vec<Object> {
    let objects = plan.writes.iter().map(|write| match write {
        Write::Create(object) | Write::Update { object, .. } => object.clone(),
        Write::Delete { name, .. } => panic!("{name} is deleted"),
    });
    objects.collect()
}

fn secret<'a>(objects: &'a [Object], name: &str) -> &'a Secret {
    let wanted = ObjectName::new(Kind::Secret, name);
    match objects.iter().find(|object| object.name() == wanted) {
        Some(Object::Secret(secret)) => secret,
        other => panic!("{name} is {other:?}"),
    }
}

fn entry(secret: &Secret, key: &str) -> String {
    let bytes = &secret.data.as_ref().unwrap()[key];
    String::from_utf8(bytes.0.clone()).unwrap()
}

fn ready(status: &DatabaseTierStatus) -> (&str, &str) {
    let condition = &status.conditions[0];
    assert_eq!(condition.type_, "Ready");
    (&condition.reason, &condition.message)
}

/// The cluster as it is once the pod runs.
fn running(mut objects: Vec<Object>) -> Vec<Object> {
    for object in &mut objects {
        if let Object::StatefulSet(set) = object {
            set.metadata.generation = Some(1);
            let status = json!({
                "observedGeneration": 1, "replicas": 1, "readyReplicas": 1,
                "currentRevision": "hold-1", "updateRevision": "hold-1",
            });
            set.status = Some(serde_json::from_value(status).unwrap());
        }
    }
    objects
}

#[test]
fn a_database_that_uses_every_field_is_rendered() {
    let spec = json!({
        "postgres": {
            "version": "17",
            "storage": "20Gi",
            "resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}},
        },
        "deletion": "Delete",
        "imagePullSecrets": [{"name": "registry"}],
        "tolerations": [{"key": "disks", "operator": "Exists"}],
        "nodeSelector": {"disks": "fast"},
    });
    let objects = written(&pass(&database(&spec), &world(1, Vec::new())));
    let documents = objects
        .iter()
        .map(|object| serde_saphyr::to_string(&object.to_value().unwrap()).unwrap());
    insta::assert_snapshot!(documents.collect::<Vec<_>>().join("---\n"));
}

#[test]
fn a_pass_over_what_stands_writes_nothing_and_tells_the_same() {
    let mut database = database(&json!({"postgres": {}}));
    let made = written(&pass(&database, &world(1, Vec::new())));
    let rest = world(2, running(made));
    let first = pass(&database, &rest);
    assert_eq!(first.writes, []);
    assert_eq!(ready(&first.status).0, "Available");
    assert_eq!(first.status.summary.as_deref(), Some("1/1"));
    database.status = Some(first.status.clone());
    let second = pass(&database, &rest);
    assert_eq!((second.writes, second.status), (Vec::new(), first.status));
    assert_eq!((second.wake_at, second.notices), (None, Vec::new()));
}

#[test]
fn who_makes_the_database_again_finds_its_credentials() {
    let database = database(&json!({"postgres": {}}));
    let before = written(&pass(&database, &world(1, Vec::new())));
    let left = secret(&before, "hold-auth").clone();
    assert_eq!(left.metadata.owner_references, None);
    assert_eq!(left.immutable, Some(true));
    let after = written(&pass(&database, &world(2, vec![left.into()])));
    for name in ["hold-binding", "hold-statements"] {
        assert_eq!(secret(&after, name).data, secret(&before, name).data);
    }
}

#[test]
fn the_users_password_is_the_one_that_every_start_sets() {
    let made = written(&pass(
        &database(&json!({"postgres": {}})),
        &world(1, Vec::new()),
    ));
    let password = entry(secret(&made, "hold-binding"), "password");
    assert_eq!(password.len(), 32);
    assert_eq!(
        entry(secret(&made, "hold-statements"), "20-password.sql"),
        format!("ALTER ROLE \"app\" PASSWORD '{password}';\n")
    );
    assert_eq!(
        entry(secret(&made, "hold-binding"), "uri"),
        format!("postgresql://app:{password}@hold.harbour.svc.cluster.local:5432/app")
    );
}

#[test]
fn what_was_fixed_when_the_database_was_made_goes_on_to_apply() {
    let mut database = database(&json!({"postgres": {"storage": "1Gi"}}));
    let plan = pass(&database, &world(1, Vec::new()));
    let made = written(&plan);
    database.status = Some(plan.status);

    // The same amount in other words, and an operator with another image.
    database.spec.postgres.as_mut().unwrap().storage = Some(orlop_crds::Quantity::new("1024Mi"));
    let newer = Settings {
        images: Images {
            postgres: "acme/postgres:18".to_owned(),
            ..Images::default()
        },
        ..settings()
    };
    let rest = world(1, running(made));
    let plan = database.plan(&rest, &newer, Timestamp::UNIX_EPOCH);
    assert_eq!(plan.writes, []);

    database.spec.postgres.as_mut().unwrap().storage = Some(orlop_crds::Quantity::new("2Gi"));
    let plan = pass(&database, &rest);
    assert_eq!(plan.writes, []);
    let (reason, message) = ready(&plan.status);
    assert_eq!(reason, "InvalidSpec");
    assert!(
        message.contains("`spec.postgres.storage` must stay '1Gi'"),
        "{message}"
    );
}

#[test]
fn a_volume_that_is_not_made_is_told_as_the_root_cause() {
    let database = database(&json!({"postgres": {}}));
    let mut observed = world(1, written(&pass(&database, &world(1, Vec::new()))));
    let pod = json!({"metadata": {"name": "hold-0"}, "spec": null, "status": {"conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
    }]}});
    observed.pods = vec![serde_json::from_value(pod).unwrap()];
    let status = pass(&database, &observed).status;
    let (reason, message) = ready(&status);
    assert_eq!(reason, "VolumePending");
    assert!(message.starts_with("hold/StatefulSet/hold: "), "{message}");
    assert!(
        message.ends_with(
            "check the storage class and its capacity, and that the volume's zone has nodes"
        ),
        "{message}"
    );
}

#[test]
fn a_server_that_replays_its_log_is_starting_and_one_that_is_silent_is_not() {
    let database = database(&json!({"postgres": {}}));
    let mut observed = world(1, written(&pass(&database, &world(1, Vec::new()))));
    let pod = json!({"metadata": {"name": "hold-0"}, "spec": null, "status": {"containerStatuses": [{
        "name": "hold", "image": "acme/postgres:17", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"running": {}}, "lastState": {},
    }]}});
    observed.pods = vec![serde_json::from_value(pod).unwrap()];
    for (answer, reason) in [
        ("127.0.0.1:5432 - rejecting connections", "Starting"),
        ("127.0.0.1:5432 - no response", "ProbeFailing"),
    ] {
        observed.probe_failures = vec![ProbeFailure {
            pod: "hold-0".to_owned(),
            message: format!("Readiness probe failed: {answer}"),
        }];
        assert_eq!(ready(&pass(&database, &observed).status).0, reason);
    }
}

#[test]
fn a_database_elsewhere_is_published_once_its_secret_is_complete() {
    let database = database(&json!({"external": {"secretName": "chart"}}));
    assert!(database.secrets().contains(&"chart".to_owned()));
    let with = |entries: &[(&str, &str)]| {
        let data = entries
            .iter()
            .map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec())));
        let secret = Secret {
            metadata: serde_json::from_value(json!({"name": "chart"})).unwrap(),
            data: Some(data.collect()),
            ..Secret::default()
        };
        Observed {
            secrets: vec![secret],
            ..Observed::default()
        }
    };

    let plan = pass(&database, &Observed::default());
    assert_eq!(plan.writes, []);
    assert_eq!(
        ready(&plan.status),
        (
            "ConfigMissing",
            "hold/Secret/chart: does not exist; create what is missing, or correct `external.secretName`"
        )
    );

    let mut entries = vec![
        ("type", "postgresql"),
        ("host", "db.example"),
        ("port", "5433"),
        ("database", "fleet"),
        ("username", "crew"),
        ("uri", "postgresql://db.example"),
    ];
    let plan = pass(&database, &with(&entries));
    assert!(ready(&plan.status).1.contains("has no 'password';"));

    entries.push(("password", "anchor"));
    let plan = pass(&database, &with(&entries));
    let made = written(&plan);
    assert_eq!(made.len(), 1);
    assert_eq!(entry(secret(&made, "hold-binding"), "username"), "crew");
    assert_eq!(
        plan.status.endpoint.as_deref(),
        Some("postgresql://db.example:5433/fleet")
    );
    assert_eq!(ready(&plan.status).0, "Available");
}

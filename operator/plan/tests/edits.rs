//! Each field of each object that is made for a tier or a pool is missed when somebody edits it:
//! field by field, which a live cluster, where an object that is edited again and again is written
//! once a second, can only show for many fields together.

// Outside of functions marked as tests, clippy does not know that this is one.
#![allow(clippy::unwrap_used, clippy::panic)]

use jiff::Timestamp;
use orlop_crds::{BrokerTier, CacheTier, DatabaseTier, WorkerPool};
use orlop_plan::{
    Entropy, Images, Kind, Object, ObjectName, Observed, Reconcile, Settings, Write, labels,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// An object stands still after a few passes: what it decides is recorded before it is acted on.
const PASSES_MAX: usize = 10;

#[test]
fn every_edit_of_a_databases_objects_is_missed() {
    let spec = json!({
        "postgres": {"resources": {"requests": {"cpu": "20m"}, "limits": {"memory": "256Mi"}}},
        "nodeSelector": {"quay": "north"},
        "tolerations": [{"key": "salt", "operator": "Equal", "value": "water"}],
    });
    World::<DatabaseTier>::of("DatabaseTier", &spec).misses_every_edit(7);
}

#[test]
fn every_edit_of_a_caches_objects_is_missed() {
    let spec = json!({"valkey": {"shards": 3, "replicasPerShard": 0, "memory": "32Mi"}});
    World::<CacheTier>::of("CacheTier", &spec).misses_every_edit(10);
}

#[test]
fn every_edit_of_a_brokers_objects_is_missed() {
    let spec = json!({"rabbitmq": {"queues": [{"name": "cargo"}]}});
    World::<BrokerTier>::of("BrokerTier", &spec).misses_every_edit(7);
}

#[test]
fn every_edit_of_a_pools_objects_is_missed() {
    let spec = json!({
        "source": {"rabbitmq": {"broker": "hold", "queue": "cargo"}},
        "handler": {"http": {"service": "crane", "path": "/job"}},
        "replicas": 2,
        "nodeSelector": {"quay": "north"},
        "imagePullSecrets": [{"name": "customs"}],
    });
    let mut world = World::<WorkerPool>::of("WorkerPool", &spec);
    let broker = json!({"rabbitmq": {"queues": [{"name": "cargo"}]}});
    let mut broker: BrokerTier = serde_json::from_value(owner("BrokerTier", &broker)).unwrap();
    broker.metadata.name = Some("hold".to_owned());
    world.observed.brokers = vec![broker];
    for name in [
        ObjectName::new(Kind::BrokerTier, "hold"),
        ObjectName::new(Kind::AppService, "crane"),
    ] {
        world.observed.existing.insert(name);
    }
    world.misses_every_edit(2);
}

/// One object and all that is made for it: what is planned is done at once.
struct World<K> {
    object: K,
    observed: Observed,
}

impl<K> World<K>
where
    K: Reconcile + Serialize + DeserializeOwned,
    K::Status: Serialize + PartialEq,
{
    fn of(kind: &str, spec: &Value) -> Self {
        Self {
            object: serde_json::from_value(owner(kind, spec)).unwrap(),
            observed: Observed {
                entropy: Entropy::new([7; 32]),
                ..Observed::default()
            },
        }
    }

    fn misses_every_edit(mut self, objects: usize) {
        self.settle();
        let made: Vec<Object> = self.observed.children.clone();
        assert_eq!(made.len(), objects, "made: {:?}", names(&made));
        let mut unnoticed = Vec::new();
        let mut edits = 0;
        for (index, object) in made.iter().enumerate() {
            let value = object.to_value().unwrap();
            for path in fields(&value) {
                if !is_ours_to_say(object, &path) {
                    continue;
                }
                for edited in edits_of(&value, &path) {
                    // What is no object of its kind any more the API server refuses.
                    let Ok(edited) = Object::from_value(object.kind(), edited) else {
                        continue;
                    };
                    edits += 1;
                    self.observed.children[index] = edited;
                    if !self.writes().contains(&object.name()) {
                        unnoticed.push(format!("{}{path}", object.name()));
                    }
                }
            }
            self.observed.children[index] = object.clone();
        }
        assert!(unnoticed.is_empty(), "{unnoticed:#?}");
        assert!(edits > 20 * objects, "only {edits} edits");
    }

    fn settle(&mut self) {
        for _ in 0..PASSES_MAX {
            let plan = self.object.plan(&self.observed, &settings(), now());
            let is_same = self.object.recorded_status() == Some(&plan.status);
            if is_same && plan.writes.is_empty() {
                return;
            }
            let mut object = serde_json::to_value(&self.object).unwrap();
            object["status"] = serde_json::to_value(&plan.status).unwrap();
            self.object = serde_json::from_value(object).unwrap();
            for write in plan.writes {
                self.take(write);
            }
        }
        panic!("it does not stand still");
    }

    fn take(&mut self, write: Write) {
        let (Write::Create(mut object) | Write::Update { mut object, .. }) = write else {
            panic!("{} is deleted", write.target());
        };
        let name = object.name();
        let metadata = object.metadata_mut();
        metadata.uid = Some(format!("uid-of-{name}"));
        metadata.resource_version = Some("7".to_owned());
        self.observed.children.retain(|other| other.name() != name);
        self.observed.children.push(object);
    }

    fn writes(&self) -> Vec<ObjectName> {
        let plan = self.object.plan(&self.observed, &settings(), now());
        plan.writes.iter().map(Write::target).collect()
    }
}

fn owner(kind: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "orlop.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": "rope",
            "namespace": "harbour",
            "uid": "00000000-0000-4000-8000-000000000000",
            "generation": 1,
            "resourceVersion": "1",
        },
        "spec": spec,
    })
}

fn settings() -> Settings {
    Settings {
        cluster_domain: "cluster.local".to_owned(),
        images: Images::of("registry.example", "1"),
    }
}

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn names(objects: &[Object]) -> Vec<String> {
    let names = objects.iter().map(|object| object.name().to_string());
    names.collect()
}

/// JSON pointers to all fields and list items, the empty ones left out: the API does not store those.
fn fields(value: &Value) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.replace('~', "~0").replace('/', "~1"), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    let below = inner.into_iter().flat_map(|(name, value)| {
        let is_empty = [json!(null), json!({}), json!([]), json!("")].contains(value);
        let itself = (!is_empty).then(|| format!("/{name}"));
        let below = fields(value).into_iter();
        let below = below.map(move |path| format!("/{name}{path}"));
        itself.into_iter().chain(below).collect::<Vec<_>>()
    });
    below.collect()
}

/// What the API server lets nobody edit, and what the object alone remembers.
fn is_ours_to_say(object: &Object, path: &str) -> bool {
    let is_identity = [
        "/apiVersion",
        "/kind",
        "/metadata/name",
        "/metadata/namespace",
        "/metadata/uid",
        "/metadata/resourceVersion",
    ]
    .contains(&path);
    let noted = labels::OWNER_VERSION.replace('/', "~1");
    let is_noted = path == format!("/metadata/annotations/{noted}");
    let is_kept = match object {
        Object::ControllerRevision(_) => path == "/revision" || path.starts_with("/data"),
        Object::Secret(secret) => secret.immutable == Some(true) && path.starts_with("/data"),
        Object::StatefulSet(_) => path.starts_with("/spec/volumeClaimTemplates"),
        _ => false,
    };
    !is_identity && !is_noted && !is_kept
}

/// The object with this field changed, and without it.
fn edits_of(object: &Value, path: &str) -> Vec<Value> {
    let (parent, name) = path.rsplit_once('/').unwrap();
    let name = name.replace("~1", "/").replace("~0", "~");
    let mut without = object.clone();
    match without.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.remove(&name).unwrap()),
        Value::Array(items) => drop(items.remove(name.parse().unwrap())),
        other => panic!("{other} has no fields"),
    }
    let mut changed = object.clone();
    let field = changed.pointer_mut(path).unwrap();
    *field = match field.take() {
        Value::Bool(value) => json!(!value),
        Value::Number(number) => json!(number.as_i64().unwrap() + 1),
        // Also of base64, which has the length of a multiple of four.
        Value::String(text) => json!(format!("AAAA{text}")),
        _ => return vec![without],
    };
    vec![changed, without]
}

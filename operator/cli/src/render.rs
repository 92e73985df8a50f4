//! `orlop render`: the objects that the operator would make, without a cluster.

use std::io::Write as _;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use orlop_crds::{AppPlatform, AppService, BrokerTier, CacheTier, DatabaseTier, WorkerPool};
use orlop_plan::{Images, Object, Observed, Reconcile, Settings, Write};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    Failure,
    args::{Connection, Format, Render},
    declared::Declared,
    manifest::{self, Manifest},
};

/// UID of what is declared; the cluster gives another one.
const UID: &str = "00000000-0000-0000-0000-000000000000";
/// The first pass records a decision and the second acts on it; no plan of a new object needs more
/// than one record after another for each of the release's phases.
const PASSES_MAX: usize = 5;

pub(crate) fn run(args: &Render, connection: &Connection) -> Result<(), Failure> {
    let manifests = manifest::read(&args.files.files)?.manifests;
    let settings = Settings {
        cluster_domain: args.cluster_domain.clone(),
        images: Images::of(&args.registry, env!("CARGO_PKG_VERSION")),
    };
    let mut objects = Vec::new();
    for manifest in &manifests {
        let namespace = connection.namespace.as_deref().or(manifest.namespace());
        objects.extend(render(manifest, namespace.unwrap_or("default"), &settings)?);
    }
    print(&objects, args.output)?;
    Ok(())
}

fn render(manifest: &Manifest, namespace: &str, settings: &Settings) -> anyhow::Result<Vec<Value>> {
    match &manifest.declared {
        Declared::AppPlatform(platform) => {
            let mut objects = Vec::new();
            for object in first_writes(platform.as_ref(), namespace, settings)? {
                objects.push(object.to_value()?);
                objects.extend(of_component(&object, namespace, settings)?);
            }
            Ok(objects)
        }
        Declared::AppService(it) => values(it.as_ref(), namespace, settings),
        Declared::WorkerPool(it) => values(it.as_ref(), namespace, settings),
        Declared::DatabaseTier(it) => values(it.as_ref(), namespace, settings),
        Declared::CacheTier(it) => values(it.as_ref(), namespace, settings),
        Declared::BrokerTier(it) => values(it.as_ref(), namespace, settings),
    }
}

/// What is made of an object that was made of an application.
fn of_component(
    object: &Object,
    namespace: &str,
    settings: &Settings,
) -> anyhow::Result<Vec<Value>> {
    match object {
        Object::AppService(it) => values(it.as_ref(), namespace, settings),
        Object::WorkerPool(it) => values(it.as_ref(), namespace, settings),
        Object::DatabaseTier(it) => values(it.as_ref(), namespace, settings),
        Object::CacheTier(it) => values(it.as_ref(), namespace, settings),
        Object::BrokerTier(it) => values(it.as_ref(), namespace, settings),
        _ => Ok(Vec::new()),
    }
}

fn values<K: Planned>(
    declared: &K,
    namespace: &str,
    settings: &Settings,
) -> anyhow::Result<Vec<Value>> {
    let made = first_writes(declared, namespace, settings)?;
    made.iter()
        .map(|object| {
            let mut value = object.to_value()?;
            if let (Object::Secret(_), Some(fields)) = (object, value.as_object_mut()) {
                // Generated in the cluster: a password that is printed here would be everybody's.
                fields.remove("data");
            }
            Ok(value)
        })
        .collect()
}

/// A declared object whose plan can be asked for again with the status that it recorded.
trait Planned: Reconcile + Clone {
    fn record(&mut self, status: Self::Status);
    fn metadata_mut(&mut self) -> &mut kube::api::ObjectMeta;
}

macro_rules! planned {
    ($($kind:ident),*) => {$(
        impl Planned for $kind {
            fn record(&mut self, status: Self::Status) {
                self.status = Some(status);
            }

            fn metadata_mut(&mut self) -> &mut kube::api::ObjectMeta {
                &mut self.metadata
            }
        }
    )*};
}
planned!(
    AppPlatform,
    AppService,
    BrokerTier,
    CacheTier,
    DatabaseTier,
    WorkerPool
);

/// With what the API server adds.
fn in_cluster<K: Planned>(declared: &K, namespace: &str) -> K {
    let mut stored = declared.clone();
    let metadata = stored.metadata_mut();
    metadata.namespace = Some(namespace.to_owned());
    metadata.uid = Some(UID.to_owned());
    metadata.generation = Some(1);
    stored
}

/// The objects of the first pass that writes, in a namespace that has everything referred to and
/// nothing else.
fn first_writes<K: Planned>(
    declared: &K,
    namespace: &str,
    settings: &Settings,
) -> anyhow::Result<Vec<Object>> {
    let observed = Observed {
        existing: declared.references().into_iter().collect(),
        ..Observed::default()
    };
    let mut object = in_cluster(declared, namespace);
    for _ in 0..PASSES_MAX {
        let plan = object.plan(&observed, settings, Timestamp::UNIX_EPOCH);
        if !plan.writes.is_empty() {
            return Ok(plan.writes.into_iter().filter_map(created).collect());
        }
        if object.recorded_status() == Some(&plan.status) {
            // Nothing to record and nothing to write: nothing is made of it.
            return Ok(Vec::new());
        }
        object.record(plan.status);
    }
    Err(anyhow!(
        "failed to plan: no writes after {PASSES_MAX} passes"
    ))
}

fn created(write: Write) -> Option<Object> {
    match write {
        Write::Create(object) | Write::Update { object, .. } => Some(object),
        Write::Delete { .. } => None,
    }
}

/// Prints nothing but the objects, so that the output can be piped on.
pub(crate) fn print<T: Serialize>(objects: &[T], format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Yaml => objects
            .iter()
            .map(|object| Ok(format!("---\n{}", serde_saphyr::to_string(object)?)))
            .collect::<anyhow::Result<String>>()?,
        Format::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
            serde_json::to_string_pretty(&list)? + "\n"
        }
    };
    let mut out = std::io::stdout().lock();
    let printed = out.write_all(text.as_bytes());
    printed.context("failed to write to standard output")
}

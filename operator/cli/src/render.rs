//! `orlop render`: the objects that the operator would make, without a cluster.

use std::io::Write as _;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use orlop_crds::{AppPlatform, AppService};
use orlop_plan::{Images, Object, Observed, Reconcile, Settings, Write};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    Failure,
    args::{Connection, Format, Render},
    manifest::{self, Declared, Manifest},
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
    let mut objects = Vec::new();
    match &manifest.declared {
        Declared::AppPlatform(platform) => {
            let made = first_writes(&in_cluster(platform.as_ref(), namespace), settings)?;
            for object in made {
                objects.push(object.to_value()?);
                if let Object::AppService(service) = object {
                    objects.extend(render_service(&service, namespace, settings)?);
                }
            }
        }
        Declared::AppService(service) => {
            objects.extend(render_service(service, namespace, settings)?);
        }
    }
    Ok(objects)
}

fn render_service(
    service: &AppService,
    namespace: &str,
    settings: &Settings,
) -> anyhow::Result<Vec<Value>> {
    let made = first_writes(&in_cluster(service, namespace), settings)?;
    made.iter().map(|object| Ok(object.to_value()?)).collect()
}

/// A declared object whose plan can be asked for again with the status that it recorded.
trait Planned: Reconcile + Clone {
    fn record(&mut self, status: Self::Status);
    fn metadata_mut(&mut self) -> &mut kube::api::ObjectMeta;
}

impl Planned for AppPlatform {
    fn record(&mut self, status: Self::Status) {
        self.status = Some(status);
    }

    fn metadata_mut(&mut self) -> &mut kube::api::ObjectMeta {
        &mut self.metadata
    }
}

impl Planned for AppService {
    fn record(&mut self, status: Self::Status) {
        self.status = Some(status);
    }

    fn metadata_mut(&mut self) -> &mut kube::api::ObjectMeta {
        &mut self.metadata
    }
}

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
fn first_writes<K: Planned>(declared: &K, settings: &Settings) -> anyhow::Result<Vec<Object>> {
    let observed = Observed {
        existing: declared.references().into_iter().collect(),
        ..Observed::default()
    };
    let mut object = declared.clone();
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

//! The objects of a pool, as values.
//!
//! One Deployment a revision: all workers of the old one are stopped at once when the new ones are
//! ready, and each finishes what it has taken. The configuration travels in an annotation of the pod
//! template and is mounted from there: so it is frozen with its revision.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Container, ContainerPort, DownwardAPIVolumeFile, DownwardAPIVolumeSource, EnvVar,
            EnvVarSource, HTTPGetAction, ObjectFieldSelector, PodSpec, PodTemplateSpec, Probe,
            SecretKeySelector, Volume, VolumeMount,
        },
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use orlop_contract::{
    HEALTH_PORT,
    queue::{self, ATTEMPTS_MAX},
    worker::{
        AMQP_URL_VARIABLE, CONFIG_PATH, Handler, HttpHandler, Millis, Retry, Rung, WorkerConfig,
    },
};
use orlop_crds::{BindingReference, broker_tier::Queue};
use serde_json::json;

use super::validate::ValidatedPool;
use crate::{Object, frozen::Template, labels, pods, revision::Revision, service};

/// Key of a broker's binding with the URL for clients.
const URI: &str = "uri";
const CONFIG_VOLUME: &str = "config";
const HEALTH_PORT_NAME: &str = "health";
/// Time to tell the broker and to end, once the jobs are done or given back.
const STOP_SECS: u64 = 10;

/// The revision that is declared. How often a job is tried again is said of the queue, and rules
/// the workers all the same.
pub(super) fn revision(pool: &ValidatedPool, queue: &Queue) -> Revision {
    Revision::of_words(&json!({"pool": pool.words, "retry": queue.retry}))
}

/// In the order in which they are applied: what is referred to comes first. `sizes`: workers of each
/// revision that runs.
pub(super) fn objects(
    pool: &ValidatedPool,
    templates: &BTreeMap<Revision, Template>,
    sizes: &BTreeMap<Revision, i32>,
) -> Vec<Object> {
    let kept = templates.iter().map(|(revision, template)| {
        let metadata = revision_metadata(pool, revision);
        Object::from(template.controller_revision(metadata))
    });
    let running = templates.iter().map(|(revision, template)| {
        let replicas = sizes.get(revision).copied().unwrap_or(0);
        Object::from(deployment(pool, revision, template, replicas))
    });
    kept.chain(running).collect()
}

/// Labels that select the workers of one revision.
pub(super) fn selector(pool: &ValidatedPool, revision: &Revision) -> BTreeMap<String, String> {
    let mut selector = pool.identity.selector();
    selector.insert(labels::REVISION.to_owned(), revision.to_string());
    selector
}

fn revision_metadata(pool: &ValidatedPool, revision: &Revision) -> ObjectMeta {
    let mut metadata = pool.identity.metadata(revision_name(pool, revision));
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(labels::REVISION.to_owned(), revision.to_string());
    metadata
}

/// How long a worker may take to end: its jobs, and to tell the broker.
pub(super) fn stop_secs(pool: &ValidatedPool) -> u64 {
    pool.drain.as_millis().div_ceil(1000) + STOP_SECS
}

pub(super) fn revision_name(pool: &ValidatedPool, revision: &Revision) -> String {
    pool.identity.object_name(revision.as_str())
}

/// Name of the Secret with the URL of the pool's broker.
pub(super) fn binding(pool: &ValidatedPool) -> String {
    BindingReference::of(&pool.broker).name
}

/// # Errors
/// None in practice: the configuration is made of maps with string keys.
pub(super) fn pod_template(
    pool: &ValidatedPool,
    revision: &Revision,
    queue: &Queue,
) -> Result<PodTemplateSpec, serde_json::Error> {
    let mut labels = pool.identity.labels();
    labels.insert(labels::REVISION.to_owned(), revision.to_string());
    let config = serde_json::to_string(&config(pool, queue))?;
    let grace = stop_secs(pool);
    Ok(PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some([(labels::WORKER_CONFIG.to_owned(), config)].into()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container(pool)],
            volumes: Some(vec![config_volume()]),
            enable_service_links: Some(false),
            automount_service_account_token: Some(false),
            security_context: Some(pods::restricted_pod()),
            termination_grace_period_seconds: Some(i64::try_from(grace).unwrap_or(i64::MAX)),
            topology_spread_constraints: Some(pods::spread(&pool.identity.selector())),
            ..pods::options(&pool.pods)
        }),
    })
}

fn deployment(
    pool: &ValidatedPool,
    revision: &Revision,
    template: &Template,
    replicas: i32,
) -> Deployment {
    Deployment {
        metadata: revision_metadata(pool, revision),
        spec: Some(DeploymentSpec {
            replicas: Some(replicas),
            // A revision's template never changes; a release is a new Deployment.
            revision_history_limit: Some(0),
            selector: LabelSelector {
                match_labels: Some(selector(pool, revision)),
                ..LabelSelector::default()
            },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::String("25%".to_owned())),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: template.pod.clone(),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

/// No pause before the stop: nothing is sent to a worker, it takes for itself.
fn container(pool: &ValidatedPool) -> Container {
    let mut security = pods::restricted_container();
    security.read_only_root_filesystem = Some(true);
    let (directory, _) = config_path();
    Container {
        name: pool.identity.component.clone(),
        image: Some(pool.image.clone()),
        env: Some(vec![EnvVar {
            name: AMQP_URL_VARIABLE.to_owned(),
            value_from: Some(EnvVarSource {
                secret_key_ref: Some(SecretKeySelector {
                    name: binding(pool),
                    key: URI.to_owned(),
                    optional: None,
                }),
                ..EnvVarSource::default()
            }),
            ..EnvVar::default()
        }]),
        ports: Some(vec![ContainerPort {
            name: Some(HEALTH_PORT_NAME.to_owned()),
            container_port: HEALTH_PORT.into(),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: pods::resources(&pool.resources),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        liveness_probe: Some(probe("/healthz", 10, 6)),
        security_context: Some(security),
        volume_mounts: Some(vec![VolumeMount {
            name: CONFIG_VOLUME.to_owned(),
            mount_path: directory.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        ..pods::container()
    }
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(HEALTH_PORT_NAME.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(2),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}

fn config_volume() -> Volume {
    let (_, file) = config_path();
    Volume {
        name: CONFIG_VOLUME.to_owned(),
        downward_api: Some(DownwardAPIVolumeSource {
            items: Some(vec![DownwardAPIVolumeFile {
                path: file.to_owned(),
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".to_owned()),
                    field_path: format!("metadata.annotations['{}']", labels::WORKER_CONFIG),
                }),
                ..DownwardAPIVolumeFile::default()
            }]),
            ..DownwardAPIVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// Directory and name of the configuration's file.
fn config_path() -> (&'static str, &'static str) {
    CONFIG_PATH.rsplit_once('/').unwrap_or(("", CONFIG_PATH))
}

fn config(pool: &ValidatedPool, queue: &Queue) -> WorkerConfig {
    let millis = |duration: orlop_crds::Duration| Millis(duration.as_millis());
    let host = service::host(
        &pool.handler.service,
        &pool.identity.namespace,
        &pool.cluster_domain,
    );
    WorkerConfig {
        queue: pool.queue.clone(),
        dead_queue: queue::dead(&pool.queue),
        concurrency: pool.concurrency,
        prefetch: pool.prefetch,
        handler: Handler::Http(HttpHandler {
            url: format!(
                "http://{host}:{}{}",
                service::SERVICE_PORT,
                pool.handler.path
            ),
            timeout_millis: millis(pool.handler.timeout),
        }),
        retry: retry(queue),
        drain_millis: millis(pool.drain),
    }
}

fn retry(queue: &Queue) -> Retry {
    let said = queue.retry();
    let attempts = u32::try_from(said.attempts())
        .unwrap_or(1)
        .clamp(1, ATTEMPTS_MAX);
    let duration =
        |duration: orlop_crds::Duration| std::time::Duration::from_millis(duration.as_millis());
    let ladder = queue::ladder(
        attempts,
        duration(said.backoff()),
        duration(said.max_backoff()),
    );
    let rungs = ladder.into_iter().zip(1..).map(|(delay, place)| Rung {
        queue: queue::retry(&queue.name, place),
        delay_millis: Millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
    });
    Retry {
        attempts,
        rungs: rungs.collect(),
    }
}

//! The edge: nginx that routes by path, with its configuration, address and disruption budget.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource,
            HTTPGetAction, PodSpec, PodTemplateSpec, Probe, Service, ServicePort, ServiceSpec,
            Volume, VolumeMount,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use orlop_crds::{
    app_platform::Edge,
    pod::{Amounts, Resources},
};
use serde_json::Value;

use super::{EDGE, children, nginx, validate::ValidatedPlatform};
use crate::{Object, difference, labels, meta, pods};

/// Where the image expects its configuration.
const CONFIG_DIR: &str = "/etc/orlop/edge";
/// Idle connections are kept so long after the stop signal, and open requests so much longer.
const STOP_SECS: i64 = 15 + 30;

/// All objects of the edge, in the order in which they are applied; none without routes.
pub(super) fn objects(platform: &ValidatedPlatform) -> Vec<Object> {
    let Some(edge) = &platform.edge else {
        return Vec::new();
    };
    let config = nginx::config(platform);
    let fingerprint = difference::fingerprint(&Value::String(config.clone()));
    let mut objects: Vec<Object> = vec![
        config_map(platform, config).into(),
        deployment(platform, edge, fingerprint).into(),
        service(platform, edge).into(),
    ];
    if edge.replicas() > 1 {
        objects.push(disruption_budget(platform).into());
    }
    objects
}

pub(super) fn name(platform: &ValidatedPlatform) -> String {
    platform.object_name(EDGE)
}

fn config_map(platform: &ValidatedPlatform, config: String) -> ConfigMap {
    ConfigMap {
        metadata: metadata(platform),
        data: Some(BTreeMap::from([("nginx.conf".to_owned(), config)])),
        ..ConfigMap::default()
    }
}

fn deployment(platform: &ValidatedPlatform, edge: &Edge, fingerprint: String) -> Deployment {
    let mut labels = common_labels(platform);
    labels.extend(selector(platform));
    let annotations = BTreeMap::from([(labels::CONFIG.to_owned(), fingerprint)]);
    Deployment {
        metadata: metadata(platform),
        spec: Some(DeploymentSpec {
            replicas: Some(edge.replicas()),
            revision_history_limit: Some(2),
            selector: label_selector(platform),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                // A new configuration never takes capacity away.
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: Some(annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(platform, edge)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn pod(platform: &ValidatedPlatform, edge: &Edge) -> PodSpec {
    PodSpec {
        containers: vec![container(platform, edge)],
        enable_service_links: Some(false),
        automount_service_account_token: Some(false),
        security_context: Some(pods::restricted_pod()),
        termination_grace_period_seconds: Some(pods::DRAIN_PAUSE_SECS + STOP_SECS),
        topology_spread_constraints: Some(pods::spread(&selector(platform))),
        volumes: Some(vec![
            Volume {
                name: "config".to_owned(),
                config_map: Some(ConfigMapVolumeSource {
                    name: name(platform),
                    ..ConfigMapVolumeSource::default()
                }),
                ..Volume::default()
            },
            Volume {
                name: "tmp".to_owned(),
                empty_dir: Some(EmptyDirVolumeSource {
                    medium: Some("Memory".to_owned()),
                    size_limit: Some(Quantity("16Mi".to_owned())),
                }),
                ..Volume::default()
            },
        ]),
        ..PodSpec::default()
    }
}

fn container(platform: &ValidatedPlatform, edge: &Edge) -> Container {
    let port = |name: &str, port| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    let mount = |name: &str, path: &str| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    };
    let mut security = pods::restricted_container();
    security.read_only_root_filesystem = Some(true);
    Container {
        name: "nginx".to_owned(),
        image: Some(platform.edge_image.clone()),
        ports: Some(vec![
            port("http", nginx::PORT),
            port("health", nginx::HEALTH_PORT),
        ]),
        resources: pods::resources(&edge.resources.clone().unwrap_or_else(default_resources)),
        readiness_probe: Some(probe(2, 2)),
        liveness_probe: Some(probe(10, 6)),
        lifecycle: Some(pods::drain_pause()),
        security_context: Some(security),
        volume_mounts: Some(vec![mount("config", CONFIG_DIR), mount("tmp", "/tmp")]),
        ..pods::container()
    }
}

/// Two workers with 4096 connections each stay below this.
fn default_resources() -> Resources {
    let amounts = |cpu: Option<&str>, memory: &str| Amounts {
        cpu: cpu.map(orlop_crds::Quantity::new),
        memory: Some(orlop_crds::Quantity::new(memory)),
    };
    Resources {
        requests: Some(amounts(Some("20m"), "32Mi")),
        limits: Some(amounts(None, "256Mi")),
    }
}

fn probe(period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/healthz".to_owned()),
            port: IntOrString::String("health".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(2),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}

fn service(platform: &ValidatedPlatform, edge: &Edge) -> Service {
    Service {
        metadata: metadata(platform),
        spec: Some(ServiceSpec {
            type_: Some(edge.service_type().as_str().to_owned()),
            selector: Some(selector(platform)),
            ports: Some(vec![ServicePort {
                name: Some("http".to_owned()),
                port: 80,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::String("http".to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn disruption_budget(platform: &ValidatedPlatform) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata(platform),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(label_selector(platform)),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

fn selector(platform: &ValidatedPlatform) -> BTreeMap<String, String> {
    BTreeMap::from([
        (labels::OWNER_KIND.to_owned(), "AppPlatform".to_owned()),
        (labels::OWNER_NAME.to_owned(), platform.name.clone()),
        (labels::NAME.to_owned(), EDGE.to_owned()),
    ])
}

fn label_selector(platform: &ValidatedPlatform) -> LabelSelector {
    LabelSelector {
        match_labels: Some(selector(platform)),
        ..LabelSelector::default()
    }
}

fn common_labels(platform: &ValidatedPlatform) -> BTreeMap<String, String> {
    meta::labels(&children::owner(platform), EDGE, Some(&platform.name))
}

fn metadata(platform: &ValidatedPlatform) -> ObjectMeta {
    let owner = children::owner(platform);
    meta::child(
        &owner,
        name(platform),
        &platform.namespace,
        common_labels(platform),
    )
}

//! The API that Orlop ships, as a workload: `orlop-api` with the declared types.
//!
//! Its configuration travels in an annotation of the pod template and is mounted from there: so it is
//! frozen with its revision, like the image, and comes back with it when a release is undone. A
//! ConfigMap beside each revision would have to be kept and deleted in step with it.

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerPort, DownwardAPIVolumeFile, DownwardAPIVolumeSource, HTTPGetAction,
        ObjectFieldSelector, Probe, Volume, VolumeMount,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use orlop_contract::{HEALTH_PORT, api as contract};
use orlop_crds::{
    Api, AppServiceSpec,
    cache_tier::CacheClass,
    pod::{Amounts, Resources},
};

use super::{build, validate::Invalid};
use crate::{Settings, labels, pods};

/// The API with all that its pods need.
#[derive(Clone, Debug)]
pub(crate) struct ShippedApi {
    pub(crate) said: Api,
    pub(crate) image: String,
    /// JSON of its configuration.
    pub(crate) config: String,
}

/// All annotations of an object may have 256 KiB; Orlop adds little to this.
const CONFIG_BYTES_MAX: usize = 240 << 10;
const CONFIG_VOLUME: &str = "config";
const HEALTH_PORT_NAME: &str = "health";

impl ShippedApi {
    /// # Errors
    /// When the types mean nothing that can be served, with the first reason.
    pub(super) fn new(
        api: &Api,
        spec: &AppServiceSpec,
        component: &str,
        settings: &Settings,
    ) -> Result<Self, Invalid> {
        if settings.images.api.is_empty() {
            return Err(invalid(
                "spec.api",
                "must not be set: this operator was installed without an image for it".to_owned(),
            ));
        }
        if api.has_events() && api.brokers().len() != 1 {
            return Err(invalid(
                "spec.api.types[].events[].publish.broker",
                format!(
                    "must name one broker, but names {}",
                    match api.brokers().as_slice() {
                        [] => "none".to_owned(),
                        several => several.join(" and "),
                    }
                ),
            ));
        }
        let config = contract::ApiConfig {
            name: component.to_owned(),
            base_path: api.base_path.clone().unwrap_or_default(),
            schema: component.replace('-', "_"),
            types: api.types.clone(),
            cache_classes: spec.classes.iter().map(cache_class).collect(),
            limits: contract::ApiLimits::default(),
        };
        if let Err(problems) = config.validate()
            && let Some(first) = problems.first()
        {
            let field = format!("spec.api.{}", first.path);
            return Err(invalid(&field, first.message.clone()));
        }
        let config = serde_json::to_string(&config)
            .map_err(|error| invalid("spec.api", error.to_string()))?;
        if config.len() > CONFIG_BYTES_MAX {
            return Err(invalid(
                "spec.api.types",
                format!(
                    "must have at most {CONFIG_BYTES_MAX} bytes as JSON, but has {}",
                    config.len()
                ),
            ));
        }
        Ok(Self {
            said: api.clone(),
            image: settings.images.api.clone(),
            config,
        })
    }

    pub(super) fn annotation(&self) -> (String, String) {
        (labels::API_CONFIG.to_owned(), self.config.clone())
    }

    pub(super) fn volume() -> Volume {
        let (_, file) = config_path();
        Volume {
            name: CONFIG_VOLUME.to_owned(),
            downward_api: Some(DownwardAPIVolumeSource {
                items: Some(vec![DownwardAPIVolumeFile {
                    path: file.to_owned(),
                    field_ref: Some(ObjectFieldSelector {
                        api_version: Some("v1".to_owned()),
                        field_path: format!("metadata.annotations['{}']", labels::API_CONFIG),
                    }),
                    ..DownwardAPIVolumeFile::default()
                }]),
                ..DownwardAPIVolumeSource::default()
            }),
            ..Volume::default()
        }
    }

    /// The container as far as the image rules it.
    pub(super) fn container(&self) -> Container {
        let port = |name: String, port: u16| ContainerPort {
            name: Some(name),
            container_port: port.into(),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        };
        let (directory, _) = config_path();
        let mut security = pods::restricted_container();
        security.read_only_root_filesystem = Some(true);
        Container {
            image: Some(self.image.clone()),
            ports: Some(vec![
                port(build::port_name(), contract::PORT),
                port(HEALTH_PORT_NAME.to_owned(), HEALTH_PORT),
            ]),
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

    /// What a replica was measured to need, and some room.
    pub(super) fn default_resources() -> Resources {
        let amounts = |cpu: Option<&str>, memory: &str| Amounts {
            cpu: cpu.map(orlop_crds::Quantity::new),
            memory: Some(orlop_crds::Quantity::new(memory)),
        };
        Resources {
            requests: Some(amounts(Some("20m"), "48Mi")),
            limits: Some(amounts(None, "256Mi")),
        }
    }
}

/// Directory and file.
fn config_path() -> (&'static str, &'static str) {
    contract::CONFIG_PATH
        .rsplit_once('/')
        .unwrap_or(("/", contract::CONFIG_PATH))
}

fn cache_class(said: &CacheClass) -> contract::CacheClass {
    let CacheClass { name, prefix, ttl } = said;
    let seconds = ttl.as_millis().div_ceil(1000);
    contract::CacheClass {
        name: name.clone(),
        prefix: prefix.clone(),
        ttl_seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
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

fn invalid(field: &str, message: String) -> Invalid {
    Invalid {
        field: field.to_owned(),
        message,
    }
}

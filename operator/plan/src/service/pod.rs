//! The pod template of a service's revision.
//!
//! What Orlop adds: the `restricted` Pod Security profile, spreading over zones and nodes, and a
//! pause before a pod stops, so that it leaves every node's load balancing first.

use k8s_openapi::{
    api::core::v1::{
        ConfigMapEnvSource, ConfigMapKeySelector, Container, ContainerPort, EnvFromSource, EnvVar,
        EnvVarSource, ExecAction, HTTPGetAction, PodSpec, PodTemplateSpec, Probe, SecretEnvSource,
        SecretKeySelector, TCPSocketAction,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use orlop_crds::pod as said;

use super::{
    api::ShippedApi,
    bindings, build,
    validate::{ValidatedService, Workload},
};
use crate::{
    labels,
    pods::{self, DRAIN_PAUSE_SECS},
};

/// Time for open requests to end once a pod is asked to stop, after the pause.
const STOP_SECS: i64 = 30;

pub(super) fn template(service: &ValidatedService) -> PodTemplateSpec {
    let said::ServiceTemplate {
        env: _,
        env_from: _,
        resources: _,
        replicas: _,
        release: _,
        pods,
        service_account_name,
    } = &service.spec.template;
    let mut labels = build::common_labels(service);
    labels.insert(labels::REVISION.to_owned(), service.revision.to_string());
    let (annotation, config) = match &service.workload {
        Workload::Container { .. } => (None, None),
        Workload::Api(api) => (Some(api.annotation()), Some(ShippedApi::volume())),
    };
    let volumes = bindings::volumes(service).into_iter().chain(config);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: annotation.map(|annotation| [annotation].into()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container(service)],
            volumes: non_empty(volumes.collect()),
            enable_service_links: Some(false),
            automount_service_account_token: Some(service_account_name.is_some()),
            service_account_name: service_account_name.clone(),
            security_context: Some(pods::restricted_pod()),
            termination_grace_period_seconds: Some(DRAIN_PAUSE_SECS + STOP_SECS),
            topology_spread_constraints: Some(pods::spread(&build::selector(
                &service.name,
                &service.revision,
            ))),
            ..pods::options(pods)
        }),
    }
}

fn container(service: &ValidatedService) -> Container {
    let said = &service.spec.template;
    let (workload, resources) = match &service.workload {
        Workload::Container { image, port } => (
            own_container(&service.spec.container, image, *port),
            said.resources.clone(),
        ),
        Workload::Api(api) => {
            let resources = said.resources.clone();
            let resources = resources.unwrap_or_else(ShippedApi::default_resources);
            (api.container(), Some(resources))
        }
    };
    let mounts = workload.volume_mounts.into_iter().flatten();
    Container {
        name: service.component.clone(),
        env: non_empty(env(service)),
        env_from: non_empty(said.env_from.iter().map(env_from).collect()),
        resources: resources.as_ref().and_then(pods::resources),
        lifecycle: Some(pods::drain_pause()),
        volume_mounts: non_empty(mounts.chain(bindings::mounts(service)).collect()),
        ..workload
    }
}

/// The container as far as its image rules it.
fn own_container(said: &said::ContainerOptions, image: &str, port: i32) -> Container {
    let said::ContainerOptions {
        command,
        args,
        probes,
    } = said;
    let probes = probes.clone().unwrap_or_default();
    let readiness = probes.readiness.as_ref().map_or_else(port_answers, probe);
    Container {
        image: Some(image.to_owned()),
        command: non_empty(command.clone()),
        args: non_empty(args.clone()),
        ports: Some(vec![ContainerPort {
            name: Some(build::port_name()),
            container_port: port,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        readiness_probe: Some(readiness),
        liveness_probe: probes.liveness.as_ref().map(probe),
        startup_probe: probes.startup.as_ref().map(probe),
        security_context: Some(pods::restricted_container()),
        ..pods::container()
    }
}

/// What is used, then what the user says: the user's word wins.
fn env(service: &ValidatedService) -> Vec<EnvVar> {
    let said = &service.spec.template.env;
    let used = bindings::env(service)
        .into_iter()
        .filter(|used| said.iter().all(|variable| variable.name != used.name));
    used.chain(said.iter().map(env_var)).collect()
}

fn env_var(said: &said::EnvVar) -> EnvVar {
    let said::EnvVar {
        name,
        value,
        secret_key_ref,
        config_map_key_ref,
    } = said;
    let value_from = match (secret_key_ref, config_map_key_ref) {
        (Some(of), _) => Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: of.name.clone(),
                key: of.key.clone(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
        (None, Some(of)) => Some(EnvVarSource {
            config_map_key_ref: Some(ConfigMapKeySelector {
                name: of.name.clone(),
                key: of.key.clone(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
        (None, None) => None,
    };
    // The kubelet would expand `$(NAME)`; a literal value stays literal.
    let value = value.as_ref().map(|value| value.replace("$(", "$$("));
    EnvVar {
        name: name.clone(),
        value,
        value_from,
    }
}

fn env_from(said: &said::EnvFrom) -> EnvFromSource {
    let said::EnvFrom {
        prefix,
        secret_ref,
        config_map_ref,
    } = said;
    EnvFromSource {
        prefix: prefix.clone(),
        secret_ref: secret_ref.as_ref().map(|of| SecretEnvSource {
            name: of.name.clone(),
            optional: None,
        }),
        config_map_ref: config_map_ref.as_ref().map(|of| ConfigMapEnvSource {
            name: of.name.clone(),
            optional: None,
        }),
    }
}

/// What is asked where the user asks nothing.
fn port_answers() -> Probe {
    let tcp_socket = said::TcpSocket::default();
    probe(&said::Probe {
        http_get: None,
        tcp_socket: Some(tcp_socket),
        exec: None,
        initial_delay_seconds: None,
        period_seconds: None,
        timeout_seconds: None,
        failure_threshold: None,
    })
}

fn probe(said: &said::Probe) -> Probe {
    let said::Probe {
        http_get,
        tcp_socket,
        exec,
        initial_delay_seconds,
        period_seconds,
        timeout_seconds,
        failure_threshold,
    } = said;
    let port = |port: Option<i32>| {
        port.map_or_else(|| IntOrString::String(build::port_name()), IntOrString::Int)
    };
    Probe {
        http_get: http_get.as_ref().map(|of| HTTPGetAction {
            path: Some(of.path.clone()),
            port: port(of.port),
            ..HTTPGetAction::default()
        }),
        tcp_socket: tcp_socket.as_ref().map(|of| TCPSocketAction {
            port: port(of.port),
            ..TCPSocketAction::default()
        }),
        exec: exec.as_ref().map(|of| ExecAction {
            command: Some(of.command.clone()),
        }),
        // The API leaves out a zero.
        initial_delay_seconds: initial_delay_seconds.filter(|seconds| *seconds > 0),
        period_seconds: Some(period_seconds.unwrap_or(2)),
        timeout_seconds: Some(timeout_seconds.unwrap_or(2)),
        failure_threshold: Some(failure_threshold.unwrap_or(3)),
        ..Probe::default()
    }
}

fn non_empty<T>(items: Vec<T>) -> Option<Vec<T>> {
    (!items.is_empty()).then_some(items)
}

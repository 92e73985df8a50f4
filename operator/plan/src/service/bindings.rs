//! What a service is told of the components that it uses.
//!
//! The address of a service is known by convention, and so is the name of a tier's binding: nothing
//! is read to render a pod. A binding that does not exist yet is waited for by the kubelet.

use k8s_openapi::api::core::v1::{
    EnvVar, EnvVarSource, SecretKeySelector, SecretVolumeSource, Volume, VolumeMount,
};
use orlop_contract::api as contract;
use orlop_crds::{
    Api, BindingReference,
    app_service::{Use, UseTarget},
};

use super::{
    build,
    validate::{ValidatedService, Workload},
};
use crate::{Kind, ObjectName};

/// Where bindings are mounted, each in a directory of its own: `$SERVICE_BINDING_ROOT` of the
/// Service Binding specification.
const ROOT: &str = "/bindings";
/// Key of a binding with a URL that an ordinary client can use.
const URI: &str = "uri";
/// Key of a cache's binding with the addresses of its nodes.
const NODES: &str = "nodes";

/// Variables for all that is used, each name once.
pub(super) fn env(service: &ValidatedService) -> Vec<EnvVar> {
    match &service.workload {
        Workload::Api(api) => of_api(&api.said),
        Workload::Container { .. } => of_uses(service),
    }
}

/// One volume for each binding.
pub(super) fn volumes(service: &ValidatedService) -> Vec<Volume> {
    bound(service)
        .map(|bound| Volume {
            name: bound.volume(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(bound.secret()),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        })
        .collect()
}

pub(super) fn mounts(service: &ValidatedService) -> Vec<VolumeMount> {
    bound(service)
        .map(|bound| VolumeMount {
            name: bound.volume(),
            mount_path: format!("{ROOT}/{}", bound.name),
            read_only: Some(true),
            ..VolumeMount::default()
        })
        .collect()
}

/// The object that is used.
pub(super) fn object_name(target: UseTarget<'_>) -> ObjectName {
    match target {
        UseTarget::Service(name) => ObjectName::new(Kind::AppService, name),
        UseTarget::Database(name) => ObjectName::new(Kind::DatabaseTier, name),
        UseTarget::Cache(name) => ObjectName::new(Kind::CacheTier, name),
        UseTarget::Broker(name) => ObjectName::new(Kind::BrokerTier, name),
    }
}

/// What the shipped API works with.
pub(super) fn targets_of_api(api: &Api) -> impl Iterator<Item = UseTarget<'_>> {
    let brokers = api.brokers().into_iter().map(UseTarget::Broker);
    [UseTarget::Database(&api.database)]
        .into_iter()
        .chain(api.cache.as_deref().map(UseTarget::Cache))
        .chain(brokers)
}

fn of_api(api: &Api) -> Vec<EnvVar> {
    let mut env = Vec::new();
    for target in targets_of_api(api) {
        match target {
            UseTarget::Service(_) => {}
            UseTarget::Database(name) => env.push(secret(contract::DATABASE_URL, name, URI)),
            UseTarget::Cache(name) => {
                env.push(secret(contract::REDIS_URL, name, URI));
                env.push(secret(contract::REDIS_NODES, name, NODES));
            }
            UseTarget::Broker(name) => env.push(secret(contract::AMQP_URL, name, URI)),
        }
    }
    env
}

fn of_uses(service: &ValidatedService) -> Vec<EnvVar> {
    let mut env: Vec<EnvVar> = service
        .spec
        .uses
        .iter()
        .filter_map(|used| Some(named(service, used, used.target()?)))
        .flatten()
        .collect();
    let bound: Vec<_> = bound(service).collect();
    for sort in [Sort::Database, Sort::Cache, Sort::Broker] {
        let mut of_sort = bound.iter().filter(|bound| bound.sort == sort);
        // With several of a sort, which one is meant is not for Orlop to guess.
        if let (Some(only), None) = (of_sort.next(), of_sort.next())
            && env.iter().all(|variable| variable.name != sort.variable())
        {
            env.push(secret(sort.variable(), only.tier, URI));
        }
    }
    if !bound.is_empty() {
        env.push(value("SERVICE_BINDING_ROOT", ROOT.to_owned()));
    }
    env
}

fn named(service: &ValidatedService, used: &Use, target: UseTarget<'_>) -> Vec<EnvVar> {
    let prefix = used.name.to_uppercase().replace('-', "_");
    let name = |suffix: &str| format!("{prefix}_{suffix}");
    match target {
        UseTarget::Service(target) => {
            let host = build::host(target, &service.namespace, &service.cluster_domain);
            vec![
                value(&name("URL"), format!("http://{host}")),
                value(&name("HOST"), host),
                value(&name("PORT"), build::SERVICE_PORT.to_string()),
            ]
        }
        UseTarget::Database(tier) | UseTarget::Cache(tier) | UseTarget::Broker(tier) => {
            vec![secret(&name("URL"), tier, URI)]
        }
    }
}

/// A tier that is used, under the name by which the service knows it.
struct Bound<'a> {
    name: &'a str,
    sort: Sort,
    tier: &'a str,
}

impl Bound<'_> {
    fn secret(&self) -> String {
        BindingReference::of(self.tier).name
    }

    fn volume(&self) -> String {
        format!("binding-{}", self.name)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Database,
    Cache,
    Broker,
}

impl Sort {
    /// What clients of its sort look for.
    const fn variable(self) -> &'static str {
        match self {
            Self::Database => "DATABASE_URL",
            Self::Cache => "REDIS_URL",
            Self::Broker => "AMQP_URL",
        }
    }
}

fn bound(service: &ValidatedService) -> impl Iterator<Item = Bound<'_>> {
    service.spec.uses.iter().filter_map(|used| {
        let (sort, tier) = match used.target()? {
            UseTarget::Service(_) => return None,
            UseTarget::Database(tier) => (Sort::Database, tier),
            UseTarget::Cache(tier) => (Sort::Cache, tier),
            UseTarget::Broker(tier) => (Sort::Broker, tier),
        };
        Some(Bound {
            name: &used.name,
            sort,
            tier,
        })
    })
}

fn value(name: &str, value: String) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value),
        ..EnvVar::default()
    }
}

/// A key of a tier's binding.
fn secret(name: &str, tier: &str, key: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: BindingReference::of(tier).name,
                key: key.to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

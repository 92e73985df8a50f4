//! AppService: one service, of which exactly one revision is served.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    PruneRecord,
    api::Api,
    cache_tier::CacheClass,
    pod::{ContainerOptions, ServiceTemplate},
    release::ReleaseRecord,
    rules,
};

/// What is declared of a service.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "orlop.dev",
    version = "v1alpha1",
    kind = "AppService",
    plural = "appservices",
    namespaced,
    status = "AppServiceStatus",
    category = "orlop",
    derive = "PartialEq",
    doc = "One service behind a stable address, released revision by revision: a container image, or the API that Orlop ships.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    validation = kube::core::Rule::new(
        "self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')"
    ).message("`metadata.name` must be at most 52 lowercase letters, digits and dashes, start with a letter and not end with a dash"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.activeRevision"),
    printcolumn(name = "Replicas", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.image) ? !has(self.api) : has(self.api)",
        "message": "exactly one of `image`, `api` must be set"
    },
    {
        "rule": "has(self.image) == has(self.port)",
        "message": "`port` must be set with `image`, and only with it"
    },
    {
        "rule": "!has(self.api) || !(has(self.command) || has(self.args) || has(self.probes) || has(self.uses))",
        "message": "`command`, `args`, `probes` and `uses` must not be set with `api`"
    },
    {
        "rule": "has(self.api) || !has(self.classes)",
        "message": "`classes` must not be set without `api`"
    }
]))]
pub struct AppServiceSpec {
    /// Container image to run. Exactly one of `image`, `api` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = rules::IMAGE))]
    pub image: Option<String>,

    /// Port on which the container answers HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,

    #[serde(flatten)]
    pub container: ContainerOptions,

    /// The API that Orlop ships, with declared types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<Api>,

    /// Sorts of keys in the API's cache. Those of the cache itself, within an application.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub classes: Vec<CacheClass>,

    #[serde(flatten)]
    pub template: ServiceTemplate,

    /// What of the same namespace the service works with. A service's address is put into the
    /// environment as `<NAME>_URL`, `<NAME>_HOST` and `<NAME>_PORT`. The binding of a database, a
    /// cache or a broker is mounted as files in `$SERVICE_BINDING_ROOT/<name>`, and its address put
    /// into the environment as `<NAME>_URL`, and as `DATABASE_URL`, `REDIS_URL` or `AMQP_URL` where
    /// one of its sort is used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub uses: Vec<Use>,
}

/// Something that is worked with: exactly one of `service`, `database`, `cache`, `broker`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.service), has(self.database), has(self.cache), has(self.broker)].filter(x, x).size() == 1",
    "message": "exactly one of `service`, `database`, `cache`, `broker` must be set"
}]))]
pub struct Use {
    /// Name from which the variables' names are made: `api` gives `API_URL`.
    #[schemars(length(min = 1, max = 20), regex(pattern = rules::LABEL))]
    pub name: String,
    /// An AppService.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ObjectReference>,
    /// A DatabaseTier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<ObjectReference>,
    /// A CacheTier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<ObjectReference>,
    /// A BrokerTier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<ObjectReference>,
}

impl Use {
    /// What is used. `None` where nothing is named, which the schema refuses.
    #[must_use]
    pub fn target(&self) -> Option<UseTarget<'_>> {
        let Self {
            name: _,
            service,
            database,
            cache,
            broker,
        } = self;
        let service = service.as_ref().map(|of| UseTarget::Service(&of.name));
        let database = database.as_ref().map(|of| UseTarget::Database(&of.name));
        let cache = cache.as_ref().map(|of| UseTarget::Cache(&of.name));
        let broker = broker.as_ref().map(|of| UseTarget::Broker(&of.name));
        service.or(database).or(cache).or(broker)
    }
}

/// The object that is used, by its kind and name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseTarget<'a> {
    Service(&'a str),
    Database(&'a str),
    Cache(&'a str),
    Broker(&'a str),
}

/// An object of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// Its name.
    #[schemars(length(min = 1, max = 52), regex(pattern = rules::LABEL))]
    pub name: String,
}

/// What was seen and decided last. Nothing in it changes by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppServiceStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled`, `Released`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    #[serde(flatten)]
    pub record: ReleaseRecord,
    /// Objects that are no longer wanted and are being deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub pruning: Vec<PruneRecord>,
    /// Replicas of the active revision that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Replicas of the active revision that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Label selector of the active revision's pods, for autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Ready of wanted replicas, for people: `3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Address inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// What applies where the spec says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<EffectiveService>,
}

/// What applies where the spec says nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveService {
    pub replicas: i32,
    pub drain: crate::Duration,
}

//! AppPlatform: a whole application. It only composes: one child per component, and the edge.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Api, BrokerTierSpec, CacheTierSpec, DatabaseTierSpec, PruneRecord, Reason, WorkerPoolSpec,
    pod::{ContainerOptions, Resources, ServiceTemplate},
    release::Pace,
    rules,
};

/// What an application is made of.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "orlop.dev",
    version = "v1alpha1",
    kind = "AppPlatform",
    plural = "appplatforms",
    namespaced,
    status = "AppPlatformStatus",
    category = "orlop",
    derive = "PartialEq",
    doc = "A whole application, declared in one object.",
    validation = kube::core::Rule::new(
        "self.metadata.name.size() <= 30 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')"
    ).message("`metadata.name` must be at most 30 lowercase letters, digits and dashes, start with a letter and not end with a dash"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Components", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::application()))]
pub struct AppPlatformSpec {
    /// Databases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub databases: Vec<DatabaseComponent>,

    /// Caches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub caches: Vec<CacheComponent>,

    /// Message brokers with their queues.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub brokers: Vec<BrokerComponent>,

    /// APIs on declared types, which need no image of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub apis: Vec<ApiComponent>,

    /// Services, each with an image of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 24),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub services: Vec<ServiceComponent>,

    /// Workers on queues.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 24),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub workers: Vec<WorkerComponent>,

    /// How new revisions take over, where a component does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Pace>,

    /// The proxy through which requests from outside reach what has `routes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<Edge>,
}

impl AppPlatformSpec {
    /// Whether anything is to be reached from outside.
    #[must_use]
    pub fn has_routes(&self) -> bool {
        let of_services = self.services.iter().flat_map(|service| &service.routes);
        let of_apis = self.apis.iter().flat_map(|api| &api.routes);
        of_services.chain(of_apis).next().is_some()
    }
}

/// One database of the application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseComponent {
    /// Unique in the application. The DatabaseTier is called `<application>-<name>`.
    #[schemars(
        length(min = 1, max = 20),
        regex(pattern = rules::LABEL),
        extend("x-kubernetes-validations" = rules::not_the_edge())
    )]
    pub name: String,

    #[serde(flatten)]
    pub spec: DatabaseTierSpec,
}

/// One cache of the application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CacheComponent {
    /// Unique in the application. The CacheTier is called `<application>-<name>`, which may have 47
    /// characters.
    #[schemars(
        length(min = 1, max = 20),
        regex(pattern = rules::LABEL),
        extend("x-kubernetes-validations" = rules::not_the_edge())
    )]
    pub name: String,

    #[serde(flatten)]
    pub spec: CacheTierSpec,
}

/// One broker of the application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrokerComponent {
    /// Unique in the application. The BrokerTier is called `<application>-<name>`.
    #[schemars(
        length(min = 1, max = 20),
        regex(pattern = rules::LABEL),
        extend("x-kubernetes-validations" = rules::not_the_edge())
    )]
    pub name: String,

    #[serde(flatten)]
    pub spec: BrokerTierSpec,
}

/// One pool of workers of the application. Its broker and its handler's service are components.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerComponent {
    /// Unique in the application. The WorkerPool is called `<application>-<name>`.
    #[schemars(
        length(min = 1, max = 20),
        regex(pattern = rules::LABEL),
        extend("x-kubernetes-validations" = rules::not_the_edge())
    )]
    pub name: String,

    #[serde(flatten)]
    pub spec: WorkerPoolSpec,
}

/// One API of the application. Its database, its cache and the brokers of its events are
/// components.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiComponent {
    /// Unique in the application. The AppService is called `<application>-<name>`.
    #[schemars(
        length(min = 1, max = 20),
        regex(pattern = rules::LABEL),
        extend("x-kubernetes-validations" = rules::not_the_edge())
    )]
    pub name: String,

    #[serde(flatten)]
    pub api: Api,

    #[serde(flatten)]
    pub template: ServiceTemplate,

    /// Paths of the edge that lead to this API. The longest matching path wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["name"],
            "x-kubernetes-validations" = rules::unique_paths()
        )
    )]
    pub routes: Vec<Route>,
}

/// One service of the application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceComponent {
    /// Unique in the application. The AppService is called `<application>-<name>`.
    #[schemars(
        length(min = 1, max = 20),
        regex(pattern = rules::LABEL),
        extend("x-kubernetes-validations" = rules::not_the_edge())
    )]
    pub name: String,

    /// Container image to run.
    #[schemars(length(min = 1, max = 512), regex(pattern = rules::IMAGE))]
    pub image: String,

    /// Port on which the container answers HTTP.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,

    #[serde(flatten)]
    pub container: ContainerOptions,

    #[serde(flatten)]
    pub template: ServiceTemplate,

    /// Other components that the service works with. The address of a service or an API is put
    /// into the environment as `<NAME>_URL`, `<NAME>_HOST` and `<NAME>_PORT`. The binding of a
    /// database, a cache or a broker is mounted as files in `$SERVICE_BINDING_ROOT/<name>`, and its
    /// address put into the environment as `<NAME>_URL`, and as `DATABASE_URL`, `REDIS_URL` or
    /// `AMQP_URL` where one of its sort is used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 24),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub uses: Vec<ComponentUse>,

    /// Paths of the edge that lead to this service. The longest matching path wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["name"],
            "x-kubernetes-validations" = rules::unique_paths()
        )
    )]
    pub routes: Vec<Route>,
}

/// A component that is worked with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentUse {
    /// Name of the component.
    #[schemars(length(min = 1, max = 20), regex(pattern = rules::LABEL))]
    pub name: String,
}

/// A path of the edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Unique in the service.
    #[schemars(length(min = 1, max = 20), regex(pattern = rules::LABEL))]
    pub name: String,
    /// Absolute path. It matches itself and everything below it: `/api` matches `/api` and
    /// `/api/x`, not `/apis`.
    #[schemars(length(min = 1, max = 128), regex(pattern = rules::URL_PATH))]
    pub path: String,
}

/// The proxy in front of the application.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// How many replicas run. Default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: Option<i32>,
    /// From where the edge can be reached. Default `ClusterIP`: inside the cluster, and from an
    /// Ingress or Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_type: Option<EdgeServiceType>,
    /// What each replica asks for and may use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl Edge {
    pub const DEFAULT_REPLICAS: i32 = 2;

    #[must_use]
    pub fn replicas(&self) -> i32 {
        self.replicas.unwrap_or(Self::DEFAULT_REPLICAS)
    }

    #[must_use]
    pub fn service_type(&self) -> EdgeServiceType {
        self.service_type.unwrap_or(EdgeServiceType::ClusterIP)
    }
}

/// From where the edge can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum EdgeServiceType {
    ClusterIP,
    NodePort,
    LoadBalancer,
}

impl EdgeServiceType {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// What was seen and decided last. Nothing in it changes by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppPlatformStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Each component and the edge.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub components: Vec<ComponentStatus>,
    /// Objects that are no longer wanted and are being deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub pruning: Vec<PruneRecord>,
    /// Ready of declared components, for people: `2/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Address of the edge inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// One component as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    /// Name of the component, or `edge`.
    pub name: String,
    /// Kind of the object that runs it.
    pub kind: String,
    /// Whether it runs and answers.
    pub ready: bool,
    /// Why it is so.
    pub reason: Reason,
    /// The cause in words, when it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Revision that is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Ready of wanted replicas: `3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<String>,
    /// Address inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

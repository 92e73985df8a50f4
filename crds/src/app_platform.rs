//! AppPlatform: a whole application. It only composes: one child per component, and the edge.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    PruneRecord, Reason,
    pod::{Resources, ServiceTemplate},
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
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.services) || self.services.all(s, !has(s.uses) || s.uses.all(u, u.name != s.name && self.services.exists(t, t.name == u.name)))",
        "fieldPath": ".services",
        "message": "`uses[].name` must be the name of another service of this application"
    },
    // One level of nesting less than comparing each route with each: the API server bounds the cost.
    {
        "rule": "!has(self.services) || self.services.all(s, !has(s.routes) || s.routes.all(r, self.services.exists_one(t, has(t.routes) && t.routes.exists(q, q.path == r.path))))",
        "fieldPath": ".services",
        "message": "`routes[].path` must be unique within the application"
    }
]))]
pub struct AppPlatformSpec {
    /// Services, each with an image of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 24),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub services: Vec<ServiceComponent>,

    /// The proxy through which requests from outside reach the services that have `routes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<Edge>,
}

impl AppPlatformSpec {
    /// Whether anything is to be reached from outside.
    #[must_use]
    pub fn has_routes(&self) -> bool {
        self.services
            .iter()
            .any(|service| !service.routes.is_empty())
    }
}

/// One service of the application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceComponent {
    /// Unique in the application. The AppService is called `<application>-<name>`.
    #[schemars(
        length(min = 1, max = 20),
        regex(pattern = rules::LABEL),
        extend("x-kubernetes-validations" = [{
            "rule": "self != 'edge'",
            "message": "must not be 'edge': the edge of the application has this name"
        }])
    )]
    pub name: String,

    #[serde(flatten)]
    pub template: ServiceTemplate,

    /// Other services of this application whose address is put into the environment, as
    /// `<NAME>_URL`, `<NAME>_HOST` and `<NAME>_PORT`.
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
            "x-kubernetes-validations" = [{
                "rule": "self.all(r, self.exists_one(q, q.path == r.path))",
                "message": "`path` must be unique within the service"
            }]
        )
    )]
    pub routes: Vec<Route>,
}

/// A component whose address is wanted.
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

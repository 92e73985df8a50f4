//! DatabaseTier: a database that Orlop runs, or one that exists elsewhere.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    PruneRecord, Quantity,
    pod::{PodOptions, Resources},
    rules,
    tier::{BindingReference, DeletionPolicy},
};

/// What is declared of a database: exactly one of `postgres`, `external`.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "orlop.dev",
    version = "v1alpha1",
    kind = "DatabaseTier",
    plural = "databasetiers",
    namespaced,
    status = "DatabaseTierStatus",
    category = "orlop",
    derive = "PartialEq",
    doc = "A database: PostgreSQL on a durable volume, or one that exists elsewhere.",
    validation = kube::core::Rule::new(
        "self.metadata.name.size() <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')"
    ).message("`metadata.name` must be at most 52 lowercase letters, digits and dashes, start with a letter and not end with a dash"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "[has(self.postgres), has(self.external)].filter(x, x).size() == 1",
        "message": "exactly one of `postgres`, `external` must be set"
    },
    {
        "rule": "!(has(self.external) && has(self.deletion))",
        "message": "`deletion` must not be set with `external`: what Orlop did not make it does not delete"
    },
    {
        "rule": "has(self.postgres) == has(oldSelf.postgres)",
        "message": "`postgres` and `external` cannot be exchanged: the data would stay behind; make another database"
    }
]))]
pub struct DatabaseTierSpec {
    /// PostgreSQL, run by Orlop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<Postgres>,

    /// A database that exists elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalDatabase>,

    /// What becomes of the data and the credentials when the object is deleted. Default `Keep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<DeletionPolicy>,

    #[serde(flatten)]
    pub pods: PodOptions,
}

impl DatabaseTierSpec {
    #[must_use]
    pub fn deletion(&self) -> DeletionPolicy {
        self.deletion.unwrap_or_default()
    }
}

/// PostgreSQL with one primary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::immutable("version", "'17'", "upgrades between major versions are not built yet"),
    rules::immutable_quantity("storage", Postgres::DEFAULT_STORAGE, "volumes are not resized yet")
]))]
pub struct Postgres {
    /// Another image than the one that Orlop ships: one that runs like the upstream's official one,
    /// of the same major version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = rules::IMAGE))]
    pub image: Option<String>,

    /// Major version. Default 17.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<PostgresVersion>,

    /// Size of the volume. Default 1Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::quantity_between("256Mi", "64Ti")))]
    pub storage: Option<Quantity>,

    /// What the database asks for and may use at most; its buffers follow the memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl Postgres {
    pub const DEFAULT_STORAGE: &str = "1Gi";

    #[must_use]
    pub fn version(&self) -> PostgresVersion {
        self.version.unwrap_or_default()
    }

    #[must_use]
    pub fn storage(&self) -> Quantity {
        self.storage
            .clone()
            .unwrap_or_else(|| Quantity::new(Self::DEFAULT_STORAGE))
    }
}

/// Major version of PostgreSQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum PostgresVersion {
    #[default]
    #[serde(rename = "17")]
    V17,
}

impl PostgresVersion {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V17 => "17",
        }
    }
}

/// A database that exists elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalDatabase {
    /// Secret of the same namespace with the keys of a binding: `type`, `host`, `port`, `database`,
    /// `username`, `password`, `uri`.
    #[schemars(length(min = 1, max = 253), regex(pattern = rules::SUBDOMAIN))]
    pub secret_name: String,
}

/// What was seen and decided last. Nothing in it changes by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseTierStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Objects that are no longer wanted and are being deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub pruning: Vec<PruneRecord>,
    /// Ready of wanted nodes, for people: `1/1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Address inside the cluster, without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// With what the database is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<BindingReference>,
    /// What applies where the spec says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<EffectiveDatabase>,
}

/// What applies where the spec says nothing, and what was fixed when the database was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveDatabase {
    pub image: String,
    pub version: PostgresVersion,
    pub storage: Quantity,
    pub deletion: DeletionPolicy,
}

//! CacheTier: a cluster of shards, each with its replicas, that forgets what does not fit.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Duration, PruneRecord, Quantity,
    pod::{PodOptions, Resources},
    rules,
    tier::{BindingReference, DeletionPolicy},
};

/// What is declared of a cache.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "orlop.dev",
    version = "v1alpha1",
    kind = "CacheTier",
    plural = "cachetiers",
    namespaced,
    status = "CacheTierStatus",
    category = "orlop",
    derive = "PartialEq",
    doc = "A cache that speaks the Redis protocol: a cluster of shards and their replicas.",
    validation = kube::core::Rule::new(
        "self.metadata.name.size() <= 47 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')"
    ).message("`metadata.name` must be at most 47 lowercase letters, digits and dashes, start with a letter and not end with a dash"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoint"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct CacheTierSpec {
    /// Valkey, as a cluster.
    pub valkey: Valkey,

    /// Whether one zone may hold half or more of the primaries, as it must with 1, 2 or 4 shards on
    /// three zones. Where it does and is lost, the others are no majority: no replica takes over,
    /// and the cache stands still until the zone is back. Default `Refuse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_majority: Option<ZoneMajority>,

    /// Sorts of keys, for those who ask how long an entry lives. The longest prefix wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub classes: Vec<CacheClass>,

    /// What becomes of the entries and the credentials when the object is deleted. Default `Keep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<DeletionPolicy>,

    #[serde(flatten)]
    pub pods: PodOptions,
}

impl CacheTierSpec {
    #[must_use]
    pub fn zone_majority(&self) -> ZoneMajority {
        self.zone_majority.unwrap_or_default()
    }

    #[must_use]
    pub fn deletion(&self) -> DeletionPolicy {
        self.deletion.unwrap_or_default()
    }
}

/// Whether one zone may hold half or more of the primaries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ZoneMajority {
    #[default]
    Refuse,
    Allow,
}

/// A Valkey cluster of `shards` primaries, each with `replicasPerShard` replicas.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::immutable("shards", &Valkey::DEFAULT_SHARDS.to_string(), "moving keys between shards is not built yet; make another cache"),
    rules::immutable("replicasPerShard", &Valkey::DEFAULT_REPLICAS_PER_SHARD.to_string(), "adding and removing replicas is not built yet; make another cache"),
    rules::immutable_quantity("storage", Valkey::DEFAULT_STORAGE, "volumes are not resized yet")
]))]
pub struct Valkey {
    /// Another image than the one that Orlop ships: one that runs like the upstream's official one,
    /// version 8 or newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = rules::IMAGE))]
    pub image: Option<String>,

    /// Into how many parts the keys are divided. Default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub shards: Option<i32>,

    /// How many replicas each shard has besides its primary. Without one, a shard whose node is
    /// lost is gone until the node is back. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3))]
    pub replicas_per_shard: Option<i32>,

    /// How much each node holds at most, keys and values together. Default 256Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::quantity_between("16Mi", "256Gi")))]
    pub memory: Option<Quantity>,

    /// Size of each node's volume. Default 1Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::quantity_between("64Mi", "16Ti")))]
    pub storage: Option<Quantity>,

    /// What goes when `memory` is full. Default `NoEviction`: nothing, and writes are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eviction_policy: Option<EvictionPolicy>,

    /// What each node asks for and may use at most. Without it, the memory limit leaves room beside
    /// `memory` for connections and for saving.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

impl Valkey {
    pub const DEFAULT_SHARDS: i32 = 3;
    pub const DEFAULT_REPLICAS_PER_SHARD: i32 = 1;
    pub const DEFAULT_MEMORY: &str = "256Mi";
    pub const DEFAULT_STORAGE: &str = "1Gi";

    #[must_use]
    pub fn shards(&self) -> i32 {
        self.shards.unwrap_or(Self::DEFAULT_SHARDS)
    }

    #[must_use]
    pub fn replicas_per_shard(&self) -> i32 {
        self.replicas_per_shard
            .unwrap_or(Self::DEFAULT_REPLICAS_PER_SHARD)
    }

    #[must_use]
    pub fn memory(&self) -> Quantity {
        self.memory
            .clone()
            .unwrap_or_else(|| Quantity::new(Self::DEFAULT_MEMORY))
    }

    #[must_use]
    pub fn storage(&self) -> Quantity {
        self.storage
            .clone()
            .unwrap_or_else(|| Quantity::new(Self::DEFAULT_STORAGE))
    }

    #[must_use]
    pub fn eviction_policy(&self) -> EvictionPolicy {
        self.eviction_policy.unwrap_or_default()
    }
}

/// What goes when the memory is full. Names and meanings are those of Valkey's `maxmemory-policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum EvictionPolicy {
    #[default]
    NoEviction,
    AllKeysLru,
    AllKeysLfu,
    AllKeysRandom,
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
}

impl EvictionPolicy {
    /// As Valkey's configuration writes it.
    #[must_use]
    pub const fn as_directive(self) -> &'static str {
        match self {
            Self::NoEviction => "noeviction",
            Self::AllKeysLru => "allkeys-lru",
            Self::AllKeysLfu => "allkeys-lfu",
            Self::AllKeysRandom => "allkeys-random",
            Self::VolatileLru => "volatile-lru",
            Self::VolatileLfu => "volatile-lfu",
            Self::VolatileRandom => "volatile-random",
            Self::VolatileTtl => "volatile-ttl",
        }
    }
}

/// A sort of keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CacheClass {
    /// Unique in the cache.
    #[schemars(length(min = 1, max = 20), regex(pattern = rules::LABEL))]
    pub name: String,
    /// How its keys begin: `product:`.
    #[schemars(length(min = 1, max = 64), regex(pattern = rules::KEY_PREFIX))]
    pub prefix: String,
    /// How long an entry lives.
    #[schemars(extend("x-kubernetes-validations" = rules::duration_between("1s", "8760h")))]
    pub ttl: Duration,
}

/// What was seen and decided last. Nothing in it changes by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CacheTierStatus {
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
    /// Each node of the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub nodes: Vec<CacheNode>,
    /// How the cluster is formed, decided before any of them holds a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formation: Option<CacheFormation>,
    /// Ready of wanted nodes, for people: `6/6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Address inside the cluster, without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// With what the cache is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<BindingReference>,
    /// What applies where the spec says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<EffectiveCache>,
}

/// How the cluster is formed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CacheFormation {
    pub phase: FormationPhase,
    /// Which node of each shard is its first primary, from 0, in the order of the shards.
    #[schemars(length(max = 16))]
    pub primaries: Vec<i32>,
}

/// Whether the cluster may hold data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum FormationPhase {
    /// It has never stood complete: what has no owner may be given one.
    Forming,
    /// It has stood complete: what has no owner is lost, and is not given away.
    Formed,
}

/// One node of the cluster as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CacheNode {
    /// Name of its StatefulSet.
    pub name: String,
    /// Which shard it was made for, from 0.
    pub shard: i32,
    /// What it does in the cluster, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<CacheRole>,
    /// Zone in which it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Whether it answers as a member of the cluster.
    pub ready: bool,
}

/// What a node does in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum CacheRole {
    Primary,
    Replica,
}

/// What applies where the spec says nothing, and what was fixed when the cache was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveCache {
    pub image: String,
    pub shards: i32,
    pub replicas_per_shard: i32,
    pub memory: Quantity,
    pub storage: Quantity,
    pub eviction_policy: EvictionPolicy,
    pub zone_majority: ZoneMajority,
    pub deletion: DeletionPolicy,
}

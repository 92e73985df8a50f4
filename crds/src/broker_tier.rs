//! BrokerTier: a message broker and the queues that are declared on it.

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

/// What is declared of a broker.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "orlop.dev",
    version = "v1alpha1",
    kind = "BrokerTier",
    plural = "brokertiers",
    namespaced,
    status = "BrokerTierStatus",
    category = "orlop",
    derive = "PartialEq",
    doc = "A message broker on durable volumes, with its queues.",
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
pub struct BrokerTierSpec {
    /// RabbitMQ.
    pub rabbitmq: RabbitMq,

    /// What becomes of the messages and the credentials when the object is deleted. Default `Keep`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<DeletionPolicy>,

    #[serde(flatten)]
    pub pods: PodOptions,
}

impl BrokerTierSpec {
    #[must_use]
    pub fn deletion(&self) -> DeletionPolicy {
        self.deletion.unwrap_or_default()
    }
}

/// RabbitMQ with quorum queues.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rules::immutable_quantity("storage", RabbitMq::DEFAULT_STORAGE, "volumes are not resized yet")
]))]
pub struct RabbitMq {
    /// Another image than the one that Orlop ships: one that runs like the upstream's official one,
    /// version 4.1 or newer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = rules::IMAGE))]
    pub image: Option<String>,

    /// How many nodes the broker has. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1))]
    pub nodes: Option<i32>,

    /// Size of each node's volume. Default 1Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::quantity_between("256Mi", "16Ti")))]
    pub storage: Option<Quantity>,

    /// What each node asks for and may use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// Queues that exist. One that is no longer named stays, with its messages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub queues: Vec<Queue>,
}

impl RabbitMq {
    pub const DEFAULT_NODES: i32 = 1;
    pub const DEFAULT_STORAGE: &str = "1Gi";

    #[must_use]
    pub fn nodes(&self) -> i32 {
        self.nodes.unwrap_or(Self::DEFAULT_NODES)
    }

    #[must_use]
    pub fn storage(&self) -> Quantity {
        self.storage
            .clone()
            .unwrap_or_else(|| Quantity::new(Self::DEFAULT_STORAGE))
    }
}

/// A durable, replicated queue. Jobs that fail are tried again later, and kept apart in the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Name of the queue. Without dots: the queues that belong to it are called `<name>.dead` and
    /// `<name>.retry.<n>`.
    #[schemars(length(min = 1, max = 40), regex(pattern = rules::LABEL))]
    pub name: String,

    /// When a job that failed is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,

    /// What happens with a job that failed for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetter>,
}

impl Queue {
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.retry.clone().unwrap_or_default()
    }

    /// How long a dead letter is kept.
    #[must_use]
    pub fn keep_dead_letters(&self) -> Duration {
        self.dead_letter
            .as_ref()
            .and_then(|dead_letter| dead_letter.keep)
            .unwrap_or(DeadLetter::DEFAULT_KEEP)
    }
}

/// When a job that failed is tried again: after `backoff`, then twice as long each time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "duration(has(self.backoff) ? self.backoff : '2s') <= duration(has(self.maxBackoff) ? self.maxBackoff : '5m')",
    "message": "`backoff` (default 2s) must be less than or equal to `maxBackoff` (default 5m)"
}]))]
pub struct Retry {
    /// How often a job is tried in all. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub attempts: Option<i32>,
    /// Wait before the second attempt. Default 2s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::duration_between("100ms", "24h")))]
    pub backoff: Option<Duration>,
    /// Longest wait between two attempts. Default 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::duration_between("100ms", "24h")))]
    pub max_backoff: Option<Duration>,
}

impl Retry {
    pub const DEFAULT_ATTEMPTS: i32 = 5;
    pub const DEFAULT_BACKOFF: Duration = Duration::from_secs(2);
    pub const DEFAULT_MAX_BACKOFF: Duration = Duration::from_secs(5 * 60);

    #[must_use]
    pub fn attempts(&self) -> i32 {
        self.attempts.unwrap_or(Self::DEFAULT_ATTEMPTS)
    }

    #[must_use]
    pub fn backoff(&self) -> Duration {
        self.backoff.unwrap_or(Self::DEFAULT_BACKOFF)
    }

    #[must_use]
    pub fn max_backoff(&self) -> Duration {
        self.max_backoff.unwrap_or(Self::DEFAULT_MAX_BACKOFF)
    }
}

/// What happens with a job that failed for good.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// How long it is kept for people to look at. Default 336h, two weeks. At most 1176h: RabbitMQ
    /// counts in milliseconds of 32 bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::duration_between("1m", "1176h")))]
    pub keep: Option<Duration>,
}

impl DeadLetter {
    pub const DEFAULT_KEEP: Duration = Duration::from_secs(336 * 3600);
}

/// What was seen and decided last. Nothing in it changes by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrokerTierStatus {
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
    /// Queues that are declared on the broker as the spec says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub queues: Vec<String>,
    /// Ready of wanted nodes, for people: `1/1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Address inside the cluster, without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// With what the broker is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<BindingReference>,
    /// What applies where the spec says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<EffectiveBroker>,
}

/// What applies where the spec says nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveBroker {
    pub image: String,
    pub nodes: i32,
    pub storage: Quantity,
    pub deletion: DeletionPolicy,
}

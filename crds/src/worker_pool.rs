//! WorkerPool: workers on one queue, as many as the queue asks for.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Duration, PruneRecord,
    pod::{PodOptions, Resources},
    release::{ReleaseRecord, WorkerRelease},
    rules,
};

/// What is declared of a pool of workers.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "orlop.dev",
    version = "v1alpha1",
    kind = "WorkerPool",
    plural = "workerpools",
    namespaced,
    status = "WorkerPoolStatus",
    category = "orlop",
    derive = "PartialEq",
    doc = "Workers on one queue, scaled by its depth.",
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
    printcolumn(name = "Queue", type_ = "string", json_path = ".spec.source.rabbitmq.queue"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!(has(self.replicas) && has(self.scale))",
        "message": "only one of `replicas`, `scale` may be set"
    },
    {
        "rule": "!has(self.prefetch) || self.prefetch >= (has(self.concurrency) ? self.concurrency : 4)",
        "message": "`prefetch` must be at least `concurrency` (default 4)"
    }
]))]
pub struct WorkerPoolSpec {
    /// Where the jobs come from.
    pub source: Source,

    /// Who does a job.
    pub handler: Handler,

    /// How many jobs each worker does at once. Default 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub concurrency: Option<i32>,

    /// How many jobs each worker takes from the queue before they are done, at least `concurrency`.
    /// More hides the way to the broker, and takes jobs away from other workers. Default: as
    /// `concurrency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub prefetch: Option<i32>,

    /// How many workers run, always as many. Default 1, unless `scale` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,

    /// How many workers run, by what waits in the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,

    /// How long a worker that is stopped may go on with the jobs that it has; the others go back
    /// into the queue. Default: the handler's `timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::duration_between("1s", "10m")))]
    pub drain: Option<Duration>,

    /// How a new revision takes over the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<WorkerRelease>,

    /// Another image than the `orlop-worker` that Orlop ships.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = rules::IMAGE))]
    pub image: Option<String>,

    /// What each worker asks for and may use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    #[serde(flatten)]
    pub pods: PodOptions,
}

impl WorkerPoolSpec {
    pub const DEFAULT_CONCURRENCY: i32 = 4;
    pub const DEFAULT_REPLICAS: i32 = 1;

    #[must_use]
    pub fn concurrency(&self) -> i32 {
        self.concurrency.unwrap_or(Self::DEFAULT_CONCURRENCY)
    }

    #[must_use]
    pub fn prefetch(&self) -> i32 {
        self.prefetch.unwrap_or_else(|| self.concurrency())
    }

    /// How many workers run where their number is fixed; `None` where the queue rules it.
    #[must_use]
    pub fn fixed_replicas(&self) -> Option<i32> {
        match self.scale {
            Some(_) => None,
            None => Some(self.replicas.unwrap_or(Self::DEFAULT_REPLICAS)),
        }
    }

    #[must_use]
    pub fn drain(&self) -> Duration {
        self.drain.unwrap_or_else(|| self.handler.http.timeout())
    }
}

/// Where the jobs come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// A queue of RabbitMQ.
    pub rabbitmq: RabbitMqSource,
}

/// A queue of RabbitMQ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RabbitMqSource {
    /// Name of the BrokerTier; within an application, of the component.
    #[schemars(length(min = 1, max = 52), regex(pattern = rules::LABEL))]
    pub broker: String,
    /// Name of one of its queues.
    #[schemars(length(min = 1, max = 40), regex(pattern = rules::LABEL))]
    pub queue: String,
}

/// Who does a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Handler {
    /// A service to which each job is posted.
    pub http: HttpHandler,
}

/// A service to which each job is posted. A status from 200 to 299 means that it is done; 408, 425,
/// 429 and from 500 on that it is to be tried again; any other that it never can be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpHandler {
    /// Name of the AppService; within an application, of the component.
    #[schemars(length(min = 1, max = 52), regex(pattern = rules::LABEL))]
    pub service: String,
    /// Absolute path.
    #[schemars(length(min = 1, max = 256), regex(pattern = rules::URL_PATH))]
    pub path: String,
    /// Time for an answer. Default 30s. At most 10m: RabbitMQ takes a job back that is not done in 30,
    /// and it may have waited for a place before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::duration_between("100ms", "10m")))]
    pub timeout: Option<Duration>,
}

impl HttpHandler {
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Self::DEFAULT_TIMEOUT)
    }
}

/// How many workers run, by what waits in the queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.min) || self.min <= self.max",
    "message": "`min` must be less than or equal to `max`"
}]))]
pub struct Scale {
    /// Fewest workers. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub min: Option<i32>,
    /// Most workers.
    #[schemars(range(min = 1, max = 1000))]
    pub max: i32,
    /// Time in which what waits is to be done. Default 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::duration_between("1s", "24h")))]
    pub drain_within: Option<Duration>,
    /// How long one job takes, until it has been measured. Default 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::duration_between("1ms", "10m")))]
    pub expected_service_time: Option<Duration>,
}

impl Scale {
    pub const DEFAULT_MIN: i32 = 0;
    pub const DEFAULT_DRAIN_WITHIN: Duration = Duration::from_secs(60);
    pub const DEFAULT_EXPECTED_SERVICE_TIME: Duration = Duration::from_secs(1);

    #[must_use]
    pub fn min(&self) -> i32 {
        self.min.unwrap_or(Self::DEFAULT_MIN)
    }

    #[must_use]
    pub fn drain_within(&self) -> Duration {
        self.drain_within.unwrap_or(Self::DEFAULT_DRAIN_WITHIN)
    }

    #[must_use]
    pub fn expected_service_time(&self) -> Duration {
        self.expected_service_time
            .unwrap_or(Self::DEFAULT_EXPECTED_SERVICE_TIME)
    }
}

/// What was seen and decided last. Nothing in it changes by itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerPoolStatus {
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
    /// The last decision on how many workers run, with all that it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ScalingDecision>,
    /// Workers of the active revision that exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Workers of the active revision that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Label selector of the active revision's pods, for autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Ready of wanted workers, for people: `3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// What applies where the spec says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<EffectivePool>,
}

/// A decision on how many workers run, with every number that explains it:
/// `desired = (arrivals x service time / utilisation + backlog x service time / drainWithin) /
/// concurrency`, between `min` and `max`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingDecision {
    /// How many workers are to run.
    pub desired: i32,
    /// What ruled the number.
    pub reason: ScalingReason,
    /// Jobs that waited in the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<i64>,
    /// Jobs that workers had taken and not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unacknowledged: Option<i64>,
    /// Jobs among them that no worker was doing yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backlog: Option<i64>,
    /// Jobs that arrived each second, as a decimal number: `12.5`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals_per_second: Option<String>,
    /// Part of the workers' time that the arrivals were to fill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilisation_percent: Option<i32>,
    /// Time in which the backlog was to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_within: Option<Duration>,
    /// How long a job took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_time: Option<Duration>,
    /// Where `serviceTime` came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_time_from: Option<ServiceTimeSource>,
    /// Jobs that each worker did at once.
    pub concurrency: i32,
    /// When it was decided.
    pub decided_at: Time,
}

/// What ruled the number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ScalingReason {
    /// `replicas` says it.
    Fixed,
    /// As many as keep up with the arrivals and finish the backlog in time.
    Load,
    /// The load asks for fewer than `min`.
    Minimum,
    /// The load asks for more than `max`.
    Maximum,
    /// Fewer would do, but not for long enough yet.
    Settling,
    /// Fewer would do, but jobs are being worked on.
    InFlight,
    /// The broker's statistics are missing or old: the number stays.
    StatisticsMissing,
}

/// Where the time of a job came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ServiceTimeSource {
    /// `scale.expectedServiceTime`, until jobs have been done.
    Expected,
    /// What the workers measured.
    Measured,
}

/// What applies where the spec says nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectivePool {
    pub image: String,
    pub concurrency: i32,
    pub prefetch: i32,
    pub min: i32,
    pub max: i32,
    pub timeout: Duration,
    pub drain: Duration,
}

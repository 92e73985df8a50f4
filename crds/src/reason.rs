//! Why a condition is as it is: one closed list, from which the documentation is generated.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Machine-readable cause. The order is by severity, the worst first: where several parts fail,
/// the summary names the worst.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[schemars(inline)]
pub enum Reason {
    NameTaken,
    InvalidSpec,
    ApplyFailed,
    QuotaExceeded,
    PodsForbidden,
    ImagePullFailed,
    ConfigMissing,
    DataConflict,
    TooFewZones,
    VolumePending,
    Unschedulable,
    DiskFull,
    MemoryFull,
    CredentialsRefused,
    OutOfMemory,
    ShardLost,
    Unreachable,
    CrashLooping,
    ProbeFailing,
    QueueMissing,
    DependencyMissing,
    BindingMissing,
    HandlerFailing,
    ReleaseHeld,
    StatisticsMissing,
    DependencyNotReady,
    Degraded,
    Forming,
    AwaitingPromotion,
    Draining,
    Starting,
    Progressing,
    Available,
}

impl Reason {
    pub const ALL: [Self; 33] = [
        Self::NameTaken,
        Self::InvalidSpec,
        Self::ApplyFailed,
        Self::QuotaExceeded,
        Self::PodsForbidden,
        Self::ImagePullFailed,
        Self::ConfigMissing,
        Self::DataConflict,
        Self::TooFewZones,
        Self::VolumePending,
        Self::Unschedulable,
        Self::DiskFull,
        Self::MemoryFull,
        Self::CredentialsRefused,
        Self::OutOfMemory,
        Self::ShardLost,
        Self::Unreachable,
        Self::CrashLooping,
        Self::ProbeFailing,
        Self::QueueMissing,
        Self::DependencyMissing,
        Self::BindingMissing,
        Self::HandlerFailing,
        Self::ReleaseHeld,
        Self::StatisticsMissing,
        Self::DependencyNotReady,
        Self::Degraded,
        Self::Forming,
        Self::AwaitingPromotion,
        Self::Draining,
        Self::Starting,
        Self::Progressing,
        Self::Available,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NameTaken => "NameTaken",
            Self::InvalidSpec => "InvalidSpec",
            Self::ApplyFailed => "ApplyFailed",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::PodsForbidden => "PodsForbidden",
            Self::ImagePullFailed => "ImagePullFailed",
            Self::ConfigMissing => "ConfigMissing",
            Self::DataConflict => "DataConflict",
            Self::TooFewZones => "TooFewZones",
            Self::VolumePending => "VolumePending",
            Self::Unschedulable => "Unschedulable",
            Self::DiskFull => "DiskFull",
            Self::MemoryFull => "MemoryFull",
            Self::CredentialsRefused => "CredentialsRefused",
            Self::OutOfMemory => "OutOfMemory",
            Self::ShardLost => "ShardLost",
            Self::Unreachable => "Unreachable",
            Self::CrashLooping => "CrashLooping",
            Self::ProbeFailing => "ProbeFailing",
            Self::QueueMissing => "QueueMissing",
            Self::DependencyMissing => "DependencyMissing",
            Self::BindingMissing => "BindingMissing",
            Self::HandlerFailing => "HandlerFailing",
            Self::ReleaseHeld => "ReleaseHeld",
            Self::StatisticsMissing => "StatisticsMissing",
            Self::DependencyNotReady => "DependencyNotReady",
            Self::Degraded => "Degraded",
            Self::Forming => "Forming",
            Self::AwaitingPromotion => "AwaitingPromotion",
            Self::Draining => "Draining",
            Self::Starting => "Starting",
            Self::Progressing => "Progressing",
            Self::Available => "Available",
        }
    }

    /// What happened, in a sentence for the documentation.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::NameTaken => {
                "an object of a name that Orlop needs exists and belongs to somebody else"
            }
            Self::InvalidSpec => "the spec was stored but does not mean anything Orlop can run",
            Self::ApplyFailed => "the API server refused or did not answer a write",
            Self::QuotaExceeded => "a ResourceQuota of the namespace leaves no room for the pods",
            Self::PodsForbidden => "an admission rule of the namespace refuses the pods",
            Self::ImagePullFailed => "the image cannot be fetched",
            Self::ConfigMissing => "a Secret, a ConfigMap or a key of one does not exist",
            Self::DataConflict => "volumes hold data that does not belong together",
            Self::TooFewZones => "one zone would hold half or more of the cache's primaries",
            Self::VolumePending => "a volume cannot be made, bound or attached",
            Self::Unschedulable => "no node has room for a pod or satisfies its constraints",
            Self::DiskFull => {
                "the volume of a data service is full, or nearly, and writes are refused"
            }
            Self::MemoryFull => "a data service has reached its memory limit and refuses writes",
            Self::CredentialsRefused => "a data service refuses the credentials that it is offered",
            Self::OutOfMemory => "the container was killed for using more memory than its limit",
            Self::ShardLost => "no node is left that holds a part of the cache's keys",
            Self::Unreachable => "a data service runs but does not answer",
            Self::CrashLooping => "the container ends again and again",
            Self::ProbeFailing => "the container runs but its probe does not pass",
            Self::QueueMissing => "the queue that is worked on does not exist",
            Self::DependencyMissing => "a component that is used does not exist",
            Self::BindingMissing => {
                "the Secret with the binding of a component that is used does not exist yet"
            }
            Self::HandlerFailing => "the service that does the jobs fails at them",
            Self::ReleaseHeld => "the declared revision is held back, and another one is served",
            Self::StatisticsMissing => {
                "nothing recent is known of the queue, so that the number of workers stays"
            }
            Self::DependencyNotReady => "a component that is needed is not ready",
            Self::Degraded => "requests are answered, but a copy of the data is missing",
            Self::Forming => "the nodes of a cluster are being joined",
            Self::AwaitingPromotion => "a new revision is ready and waits to be promoted",
            Self::Draining => "the previous revision finishes its open requests",
            Self::Starting => "pods are being created and started",
            Self::Progressing => "a write was made and its effect is awaited",
            Self::Available => "everything declared runs and answers",
        }
    }

    /// What a person does about it.
    #[must_use]
    pub const fn fix(self) -> &'static str {
        match self {
            Self::NameTaken => "rename the component, or delete or rename the other object",
            Self::InvalidSpec => "correct the named field",
            Self::ApplyFailed => "read the quoted answer; Orlop tries again by itself",
            Self::QuotaExceeded => "raise the quota, or lower `replicas` or `resources.requests`",
            Self::PodsForbidden => "change the named setting, or the namespace's policy",
            Self::ImagePullFailed => {
                "correct `image`, or `imagePullSecrets` for a private registry"
            }
            Self::ConfigMissing => {
                "create what is named, or correct the reference in `env` or `envFrom`"
            }
            Self::DataConflict => "delete the volume that does not belong to the others",
            Self::TooFewZones => {
                "declare 3 or at least 5 shards, add zones, or set `zoneMajority: Allow`"
            }
            Self::VolumePending => {
                "check the storage class and its capacity, and that the volume's zone has nodes"
            }
            Self::Unschedulable => {
                "lower `resources.requests`, relax `nodeSelector` or `tolerations`, or add nodes"
            }
            Self::DiskFull => "delete or consume what is stored, or free space on the volume",
            Self::MemoryFull => "raise the memory, set another `evictionPolicy`, or store less",
            Self::CredentialsRefused => "correct the password in the named Secret",
            Self::OutOfMemory => "raise `resources.limits.memory`, or use less",
            Self::ShardLost => "bring back the node or the volume of the named shard",
            Self::Unreachable => "read the container's log, and check network policies",
            Self::CrashLooping => "read the container's log for the cause",
            Self::ProbeFailing => "make the probed address answer, or correct `probes` or `port`",
            Self::QueueMissing => "declare the queue in the broker's `queues`, or correct `source`",
            Self::DependencyMissing => "declare the component that is named in `uses`",
            Self::BindingMissing => "declare the component that is named in `uses`, or wait for it",
            Self::HandlerFailing => "read the log of the handler's service for the cause",
            Self::ReleaseHeld => {
                "declare another revision, or let this one through with `orlop release promote`"
            }
            Self::AwaitingPromotion => "promote it with `orlop release promote`, or abort it",
            Self::StatisticsMissing => "make the broker answer; the number follows by itself",
            Self::DependencyNotReady => "look at the named component",
            Self::Degraded => "wait; if it lasts, look at the named node",
            Self::Forming | Self::Draining | Self::Starting | Self::Progressing => "wait",
            Self::Available => "nothing to do",
        }
    }

    /// Whether waiting alone can help. The others make `Stalled` true.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::BindingMissing
                | Self::DependencyNotReady
                | Self::Degraded
                | Self::Forming
                | Self::AwaitingPromotion
                | Self::Draining
                | Self::Starting
                | Self::Progressing
                | Self::Available
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_once_and_serializes_as_its_name() {
        let mut sorted = Reason::ALL.to_vec();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted, Reason::ALL);
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}

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
    Unschedulable,
    OutOfMemory,
    CrashLooping,
    ProbeFailing,
    DependencyMissing,
    Draining,
    Starting,
    Progressing,
    Available,
}

impl Reason {
    pub const ALL: [Self; 16] = [
        Self::NameTaken,
        Self::InvalidSpec,
        Self::ApplyFailed,
        Self::QuotaExceeded,
        Self::PodsForbidden,
        Self::ImagePullFailed,
        Self::ConfigMissing,
        Self::Unschedulable,
        Self::OutOfMemory,
        Self::CrashLooping,
        Self::ProbeFailing,
        Self::DependencyMissing,
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
            Self::Unschedulable => "Unschedulable",
            Self::OutOfMemory => "OutOfMemory",
            Self::CrashLooping => "CrashLooping",
            Self::ProbeFailing => "ProbeFailing",
            Self::DependencyMissing => "DependencyMissing",
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
            Self::Unschedulable => "no node has room for a pod or satisfies its constraints",
            Self::OutOfMemory => "the container was killed for using more memory than its limit",
            Self::CrashLooping => "the container ends again and again",
            Self::ProbeFailing => "the container runs but its probe does not pass",
            Self::DependencyMissing => "a component that is used does not exist",
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
            Self::Unschedulable => {
                "lower `resources.requests`, relax `nodeSelector` or `tolerations`, or add nodes"
            }
            Self::OutOfMemory => "raise `resources.limits.memory`, or use less",
            Self::CrashLooping => "read the container's log for the cause",
            Self::ProbeFailing => "make the probed address answer, or correct `probes` or `port`",
            Self::DependencyMissing => "declare the component that is named in `uses`",
            Self::Draining | Self::Starting | Self::Progressing => "wait",
            Self::Available => "nothing to do",
        }
    }

    /// Whether waiting alone can help. The others make `Stalled` true.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Draining | Self::Starting | Self::Progressing | Self::Available
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

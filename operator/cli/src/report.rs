//! What the operator says of an object, alike for all kinds.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use orlop_crds::{
    AppPlatform, AppService, BrokerTier, CacheTier, ConditionType, DatabaseTier, Reason,
    WorkerPool,
    app_platform::ComponentStatus,
    release::{Hold, Promote, PromoteMode, ReleaseRecord, ReleaseStatus},
};
use orlop_plan::labels;

/// One object as the operator reported it last.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) created: Option<Timestamp>,
    /// The application that made it, if one did.
    pub(crate) application: Option<String>,
    pub(crate) ready: bool,
    /// Only a change from outside can lead further.
    pub(crate) stalled: bool,
    pub(crate) reason: String,
    /// Root cause, in the grammar of the condition: `<component>/<Kind>/<name>: <cause>; <fix>`.
    pub(crate) message: String,
    /// Since when it is (or is not) ready.
    pub(crate) since: Option<Timestamp>,
    /// Ready of wanted: components of an application, replicas of a service, nodes of a tier.
    pub(crate) summary: String,
    pub(crate) endpoint: String,
    /// Of an application.
    pub(crate) components: Vec<ComponentStatus>,
    /// Of a service or a pool of workers.
    pub(crate) serving: Serving,
}

/// Who answers requests to a service, or takes the jobs of a pool of workers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Serving {
    pub(crate) revision: Option<String>,
    pub(crate) ready_replicas: i32,
    pub(crate) release: Option<ReleaseStatus>,
    /// Why the declared revision is not released, if it is held back.
    pub(crate) hold: Option<Hold>,
    /// Whether a new revision waits for somebody to promote it.
    pub(crate) asks: bool,
}

impl Serving {
    fn new(record: ReleaseRecord, ready_replicas: Option<i32>, promote: Option<&Promote>) -> Self {
        Self {
            revision: record.active_revision,
            ready_replicas: ready_replicas.unwrap_or_default(),
            release: record.release,
            hold: record.hold,
            asks: promote.and_then(|promote| promote.mode) == Some(PromoteMode::Manual),
        }
    }

    /// The revision that is on its way and not served yet.
    pub(crate) fn coming(&self) -> Option<&str> {
        let release = self.release.as_ref()?;
        release
            .phase
            .is_before_switch()
            .then_some(release.to.as_str())
    }

    /// Whether somebody has stopped the release.
    pub(crate) fn is_paused(&self) -> bool {
        let release = self.release.as_ref();
        release.is_some_and(|release| release.paused_since.is_some())
    }
}

impl From<&AppPlatform> for Report {
    fn from(object: &AppPlatform) -> Self {
        let status = object.status.clone().unwrap_or_default();
        Self {
            summary: status.summary.unwrap_or_default(),
            endpoint: status.endpoint.unwrap_or_default(),
            components: status.components,
            ..Self::new("AppPlatform", &object.metadata, &status.conditions)
        }
    }
}

impl From<&AppService> for Report {
    fn from(object: &AppService) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let release = object.spec.template.release.as_ref();
        let promote = release.and_then(|release| release.pace.promote.as_ref());
        Self {
            summary: status.summary.unwrap_or_default(),
            endpoint: status.endpoint.unwrap_or_default(),
            serving: Serving::new(status.record, status.ready_replicas, promote),
            ..Self::new("AppService", &object.metadata, &status.conditions)
        }
    }
}

impl From<&WorkerPool> for Report {
    fn from(object: &WorkerPool) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let release = object.spec.release.as_ref();
        let promote = release.and_then(|release| release.promote.as_ref());
        Self {
            summary: status.summary.unwrap_or_default(),
            serving: Serving::new(status.record, status.ready_replicas, promote),
            ..Self::new("WorkerPool", &object.metadata, &status.conditions)
        }
    }
}

/// Of a kind that keeps data.
macro_rules! from_tier {
    ($($kind:ident),*) => {$(
        impl From<&$kind> for Report {
            fn from(object: &$kind) -> Self {
                let status = object.status.clone().unwrap_or_default();
                Self {
                    summary: status.summary.unwrap_or_default(),
                    endpoint: status.endpoint.unwrap_or_default(),
                    ..Self::new(stringify!($kind), &object.metadata, &status.conditions)
                }
            }
        }
    )*};
}
from_tier!(BrokerTier, CacheTier, DatabaseTier);

impl Report {
    fn new(kind: &'static str, metadata: &ObjectMeta, conditions: &[Condition]) -> Self {
        // A condition that speaks of an older spec says nothing of this one.
        let current = |wanted: ConditionType| {
            conditions
                .iter()
                .find(|condition| condition.type_ == wanted.as_str())
                .filter(|condition| condition.observed_generation >= metadata.generation)
        };
        let ready = current(ConditionType::Ready);
        Self {
            kind,
            name: metadata.name.clone().unwrap_or_default(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            application: metadata
                .labels
                .as_ref()
                .filter(|labels| {
                    labels
                        .get(labels::OWNER_KIND)
                        .is_some_and(|kind| kind == "AppPlatform")
                })
                .and_then(|labels| labels.get(labels::OWNER_NAME).cloned()),
            ready: ready.is_some_and(|condition| condition.status == "True"),
            stalled: current(ConditionType::Stalled)
                .is_some_and(|condition| condition.status == "True"),
            reason: ready.map_or_else(
                || Reason::Progressing.to_string(),
                |ready| ready.reason.clone(),
            ),
            message: ready.map_or_else(
                || "the operator has not looked at this spec yet".to_owned(),
                |ready| ready.message.clone(),
            ),
            since: ready.map(|ready| ready.last_transition_time.0),
            summary: String::new(),
            endpoint: String::new(),
            components: Vec::new(),
            serving: Serving::default(),
        }
    }

    pub(crate) fn title(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// The command by which a person decides of its release.
    pub(crate) fn release_verb(&self, verb: &str) -> String {
        format!("`orlop release {verb} {} -n {}`", self.name, self.namespace)
    }

    /// The reason as this program knows it; an operator of another version may know more.
    pub(crate) fn known_reason(&self) -> Option<Reason> {
        Reason::ALL
            .into_iter()
            .find(|reason| reason.as_str() == self.reason)
    }
}

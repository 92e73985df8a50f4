//! What is told of a component that has an object of its own.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use orlop_crds::{ConditionType, Reason, app_platform::ComponentStatus};

use crate::{Kind, Object, condition};

/// As `child`, the component's object, says of itself; `is_pending` while it is about to be written.
pub(super) fn status(
    component: &str,
    kind: Kind,
    object_name: &str,
    child: Option<&Object>,
    is_pending: bool,
) -> ComponentStatus {
    let said = child.and_then(Said::of);
    let (reason, message) = match told(child, said.as_ref(), is_pending) {
        Told::Itself(reason, message) => (reason, message),
        Told::Underway(words) => (
            Reason::Progressing,
            format!("{component}/{kind}/{object_name}: {words}"),
        ),
    };
    ComponentStatus {
        name: component.to_owned(),
        kind: kind.as_str().to_owned(),
        ready: reason == Reason::Available,
        reason,
        message: (reason != Reason::Available).then_some(message),
        revision: said.as_ref().and_then(|said| said.revision.cloned()),
        replicas: said.as_ref().and_then(|said| said.summary.cloned()),
        endpoint: said.as_ref().and_then(|said| said.endpoint.cloned()),
    }
}

enum Told {
    /// The object's own words, which speak of its present spec.
    Itself(Reason, String),
    /// What is awaited.
    Underway(&'static str),
}

fn told(child: Option<&Object>, said: Option<&Said<'_>>, is_pending: bool) -> Told {
    let Some(child) = child else {
        return Told::Underway("is being created");
    };
    if is_pending {
        return Told::Underway("its new spec is being applied");
    }
    let Some(said) = said else {
        return Told::Underway("is being started");
    };
    if said.observed_generation != child.metadata().generation {
        return Told::Underway("its new spec is being looked at");
    }
    let ready = condition::find(said.conditions, ConditionType::Ready);
    let reason = ready.and_then(|ready| {
        Reason::ALL
            .into_iter()
            .find(|reason| reason.as_str() == ready.reason)
    });
    match (ready, reason) {
        (Some(ready), Some(reason)) => Told::Itself(reason, ready.message.clone()),
        _ => Told::Underway("has not said yet how it is"),
    }
}

/// What the statuses of all kinds have in common.
struct Said<'a> {
    observed_generation: Option<i64>,
    conditions: &'a [Condition],
    revision: Option<&'a String>,
    summary: Option<&'a String>,
    endpoint: Option<&'a String>,
}

impl<'a> Said<'a> {
    /// `None` while the object has no status, and of a kind that is no component.
    fn of(object: &'a Object) -> Option<Self> {
        match object {
            Object::AppService(object) => object.status.as_ref().map(|status| Self {
                observed_generation: status.observed_generation,
                conditions: &status.conditions,
                revision: status.record.active_revision.as_ref(),
                summary: status.summary.as_ref(),
                endpoint: status.endpoint.as_ref(),
            }),
            Object::BrokerTier(object) => object.status.as_ref().map(|status| Self {
                observed_generation: status.observed_generation,
                conditions: &status.conditions,
                revision: None,
                summary: status.summary.as_ref(),
                endpoint: status.endpoint.as_ref(),
            }),
            Object::CacheTier(object) => object.status.as_ref().map(|status| Self {
                observed_generation: status.observed_generation,
                conditions: &status.conditions,
                revision: None,
                summary: status.summary.as_ref(),
                endpoint: status.endpoint.as_ref(),
            }),
            Object::DatabaseTier(object) => object.status.as_ref().map(|status| Self {
                observed_generation: status.observed_generation,
                conditions: &status.conditions,
                revision: None,
                summary: status.summary.as_ref(),
                endpoint: status.endpoint.as_ref(),
            }),
            Object::WorkerPool(object) => object.status.as_ref().map(|status| Self {
                observed_generation: status.observed_generation,
                conditions: &status.conditions,
                revision: status.record.active_revision.as_ref(),
                summary: status.summary.as_ref(),
                endpoint: None,
            }),
            _ => None,
        }
    }
}

//! What is told of an application: each component, and the worst cause first.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use orlop_crds::{
    AppPlatform, AppPlatformStatus, PruneRecord, Reason, app_platform::ComponentStatus,
};

use super::{EDGE, component, edge, validate::ValidatedPlatform};
use crate::{
    Failure, Kind, ObjectName, Observed, Plan, Write,
    cause::{self, Cause},
    condition::{self, conditions, summary},
    difference::Writes,
    service::{Invalid, host},
};

/// While the edge starts without a known cause, failed probes are asked for so often.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(3);

pub(super) fn report(
    platform: &ValidatedPlatform,
    recorded: Option<&AppPlatformStatus>,
    observed: &Observed,
    written: Writes,
    pruning: Vec<PruneRecord>,
    now: Timestamp,
) -> Plan<AppPlatformStatus> {
    let pending: BTreeSet<ObjectName> = written.writes.iter().map(Write::target).collect();
    let mut components: Vec<_> = platform
        .components()
        .into_iter()
        .map(|(component, kind)| {
            let name = ObjectName::new(kind, &platform.object_name(component));
            let child = observed.get(kind, &name.name);
            component::status(component, kind, &name.name, child, pending.contains(&name))
        })
        .collect();
    components.extend(
        platform
            .edge
            .as_ref()
            .map(|edge| of_edge(platform, edge, observed, &pending, now)),
    );
    let (reason, message) = match &written.error {
        Some(error) => (Reason::InvalidSpec, error.to_string()),
        None => worst(&components),
    };
    let before = recorded
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let edge_starts = components.iter().any(|component| {
        component.name == EDGE
            && matches!(component.reason, Reason::Starting | Reason::ProbeFailing)
    });
    let ready = components
        .iter()
        .filter(|component| component.ready)
        .count();
    let status = AppPlatformStatus {
        observed_generation: platform.generation,
        conditions: conditions(before, summary(reason, &message), platform.generation, now),
        summary: Some(format!("{ready}/{}", components.len())),
        endpoint: platform.edge.as_ref().map(|_| edge_endpoint(platform)),
        components,
        pruning,
    };
    let notices = condition::ready_changed(before, &status.conditions)
        .into_iter()
        .collect();
    let wake_at = edge_starts.then(|| now.checked_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX));
    Plan {
        writes: written.writes,
        actions: Vec::new(),
        status,
        wake_at,
        notices,
    }
}

/// Reason and message of the application: the worst component's, and how many more there are.
fn worst(components: &[ComponentStatus]) -> (Reason, String) {
    let mut failing: Vec<_> = components
        .iter()
        .filter(|component| !component.ready)
        .collect();
    failing.sort_by_key(|component| component.reason);
    let Some(first) = failing.first() else {
        let count = components.len();
        return (
            Reason::Available,
            format!("{count} of {count} components are ready"),
        );
    };
    let message = first.message.clone().unwrap_or_default();
    let more = match failing.len() - 1 {
        0 => String::new(),
        more => format!(" (+{more} more)"),
    };
    (first.reason, format!("{message}{more}"))
}

fn of_edge(
    platform: &ValidatedPlatform,
    edge: &orlop_crds::app_platform::Edge,
    observed: &Observed,
    pending: &BTreeSet<ObjectName>,
    now: Timestamp,
) -> ComponentStatus {
    let name = edge::name(platform);
    // What is about to be written is not what the Deployment's status speaks of.
    let is_pending = [Kind::ConfigMap, Kind::Deployment, Kind::Service]
        .iter()
        .any(|kind| pending.contains(&ObjectName::new(*kind, &name)));
    let deployment = observed.deployment(&name);
    let status = deployment.and_then(|deployment| deployment.status.as_ref());
    let current = status.and_then(|status| status.observed_generation)
        >= deployment.and_then(|deployment| deployment.metadata.generation);
    let count = |count: Option<i32>| count.filter(|_| current).unwrap_or(0);
    let ready = count(status.and_then(|status| status.ready_replicas));
    let updated = count(status.and_then(|status| status.updated_replicas));
    let wanted = edge.replicas();
    let complete = deployment.is_some() && ready >= wanted && updated >= wanted;
    let Cause { reason, message } = if complete && is_pending {
        Cause {
            reason: Reason::Progressing,
            message: "its new configuration is being applied".to_owned(),
        }
    } else if complete {
        Cause {
            reason: Reason::Available,
            message: String::new(),
        }
    } else {
        let pods: Vec<&Pod> = observed.pods.iter().collect();
        cause::diagnose(deployment, &pods, observed, now).unwrap_or_else(|| Cause {
            reason: Reason::Starting,
            message: format!("{ready} of {wanted} replicas are ready"),
        })
    };
    let fix = if reason.is_transient() {
        String::new()
    } else {
        format!("; {}", reason.fix())
    };
    ComponentStatus {
        name: EDGE.to_owned(),
        kind: Kind::Deployment.as_str().to_owned(),
        ready: reason == Reason::Available,
        reason,
        message: (reason != Reason::Available)
            .then(|| format!("{EDGE}/Deployment/{name}: {message}{fix}")),
        revision: None,
        replicas: Some(format!("{ready}/{wanted}")),
        endpoint: Some(edge_endpoint(platform)),
    }
}

fn edge_endpoint(platform: &ValidatedPlatform) -> String {
    format!(
        "http://{}",
        host(
            &edge::name(platform),
            &platform.namespace,
            &platform.cluster_domain
        )
    )
}

pub(super) fn invalid(
    object: &AppPlatform,
    invalid: &Invalid,
    now: Timestamp,
) -> Plan<AppPlatformStatus> {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let message = format!(
        "{name}/AppPlatform/{name}: {invalid}; {}",
        Reason::InvalidSpec.fix()
    );
    let recorded = object.status.clone().unwrap_or_default();
    let status = with_summary(object, recorded, Reason::InvalidSpec, &message, now);
    let before = object
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice());
    let notices = condition::ready_changed(before.unwrap_or_default(), &status.conditions);
    Plan {
        writes: Vec::new(),
        actions: Vec::new(),
        status,
        wake_at: None,
        notices: notices.into_iter().collect(),
    }
}

pub(super) fn failed(
    object: &AppPlatform,
    planned: AppPlatformStatus,
    failure: &Failure,
    now: Timestamp,
) -> AppPlatformStatus {
    let (reason, message) = failure.told(object.metadata.name.as_deref().unwrap_or_default());
    with_summary(object, planned, reason, &message, now)
}

fn with_summary(
    object: &AppPlatform,
    status: AppPlatformStatus,
    reason: Reason,
    message: &str,
    now: Timestamp,
) -> AppPlatformStatus {
    let before = object
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice());
    let generation = object.metadata.generation;
    let verdicts = summary(reason, message);
    AppPlatformStatus {
        observed_generation: generation,
        conditions: conditions(before.unwrap_or_default(), verdicts, generation, now),
        ..status
    }
}

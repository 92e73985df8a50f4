//! Observe: reads, without judgement. The one step before the plan.

use std::{collections::BTreeSet, time::Duration};

use futures::future::{join, join_all, try_join_all};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        core::v1::{ContainerState, Event, Pod, Secret},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, api::ListParams};
use orlop_crds::BrokerTier;
use orlop_plan::{Entropy, Kind, Object, ObjectName, Observed, ProbeFailure, Snapshots, labels};

use crate::{
    cache::{Caches, owner_uids},
    causes::Causes,
    client::{CallError, call, within},
    engine::Shared,
    key::ObjectKey,
    primary::{Primary, PrimaryKind},
    refusals::refusals,
};

/// Pods whose events are read in one pass: one of a revision's pods speaks for all of them.
const MOST_PODS: usize = 3;
/// Reading events only makes a message better, so a pass does not wait long for it.
pub(crate) const EVENTS_DEADLINE: Duration = Duration::from_secs(2);
/// Events of one pod and reason are few: the kubelet counts repetitions up in one object.
const MOST_EVENTS: u32 = 20;

/// Failures that are told at the same time.
const RECENT: SignedDuration = SignedDuration::from_mins(5);

/// What is known of an object's world: from the caches, except for events of failing probes and
/// of pods that could not be created, and for the Secrets that it names, which are read by name. What data services say comes from the pollers.
///
/// # Errors
/// When a Secret cannot be read: without it nothing may be decided about credentials.
pub(crate) async fn observe<P: Primary>(
    object: &P,
    shared: &Shared,
) -> Result<Observed, CallError> {
    let caches = &shared.caches;
    let client = &shared.actor.client;
    let key = ObjectKey::of(object.meta());
    let uid = object.meta().uid.as_deref().unwrap_or_default();
    let mut children: Vec<Object> = P::CHILDREN
        .iter()
        .flat_map(|kind| caches.children(*kind, uid))
        .collect();
    let secrets = secrets(client, &key.namespace, object.secrets()).await?;
    let ours = secrets
        .iter()
        .filter(|secret| is_made_for(&secret.metadata, P::KIND, &key.name, uid));
    children.extend(ours.cloned().map(Object::from));
    let pods: Vec<Pod> = caches
        .pods
        .owned_by(uid)
        .iter()
        .map(|pod| Pod::clone(pod))
        .collect();
    let endpoint_slices = caches
        .endpoint_slices
        .owned_by(uid)
        .iter()
        .map(|slice| EndpointSlice::clone(slice))
        .collect();
    let (probe_failures, refusals) = join(
        probe_failures(client, &key.namespace, &pods),
        refusals(client, &key.namespace, &children, &pods),
    )
    .await;
    let mut observed = Observed {
        children,
        pods,
        endpoint_slices,
        probe_failures,
        refusals,
        brokers: brokers(object, &key, caches),
        existing: existing(object, &key, caches),
        secrets,
        snapshots: Snapshots::default(),
        entropy: Entropy::new(rand::random()),
    };
    let sources = object.sources(&observed, &shared.settings);
    observed.snapshots = shared.pollers.snapshots(&(P::KIND, key), sources);
    Ok(observed)
}

fn existing<P: Primary>(object: &P, key: &ObjectKey, caches: &Caches) -> BTreeSet<ObjectName> {
    let exists = |target: &ObjectName| {
        let key = ObjectKey {
            namespace: key.namespace.clone(),
            name: target.name.clone(),
        };
        caches.contains(target.kind, &key)
    };
    object.references().into_iter().filter(exists).collect()
}

fn brokers<P: Primary>(object: &P, key: &ObjectKey, caches: &Caches) -> Vec<BrokerTier> {
    let references = object.references();
    let names = references.iter().filter(|it| it.kind == Kind::BrokerTier);
    let broker = |target: &ObjectName| {
        let key = ObjectKey {
            namespace: key.namespace.clone(),
            name: target.name.clone(),
        };
        Some(BrokerTier::clone(&*caches.broker_tiers.get(&key)?))
    };
    names.filter_map(broker).collect()
}

async fn secrets(
    client: &Client,
    namespace: &str,
    names: Vec<String>,
) -> Result<Vec<Secret>, CallError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let readings = names.iter().map(|name| call(api.get_opt(name)));
    let found: Vec<_> = try_join_all(readings).await?;
    Ok(found.into_iter().flatten().collect())
}

/// Whether it belongs to the object, or was left behind by one of the same kind and name.
fn is_made_for(metadata: &ObjectMeta, kind: PrimaryKind, name: &str, uid: &str) -> bool {
    let label = |name: &str| metadata.labels.as_ref()?.get(name).map(String::as_str);
    let is_left_behind = metadata.owner_references.iter().flatten().next().is_none()
        && label(labels::OWNER_KIND) == Some(kind.as_str())
        && label(labels::OWNER_NAME) == Some(name);
    is_left_behind || owner_uids(metadata).any(|owner| owner == uid)
}

async fn probe_failures(client: &Client, namespace: &str, pods: &[Pod]) -> Vec<ProbeFailure> {
    let unready = pods.iter().filter(|pod| has_started_unready(pod));
    let names = unready
        .filter_map(|pod| pod.metadata.name.as_deref())
        .take(MOST_PODS);
    let readings = names.map(|pod| async move {
        match recent_failure(client, namespace, pod).await {
            Ok(message) => Some(ProbeFailure {
                pod: pod.to_owned(),
                message: message?,
            }),
            Err(error) => {
                tracing::warn!(pod, error = %Causes(&error), "failed to read a pod's events");
                None
            }
        }
    });
    join_all(readings).await.into_iter().flatten().collect()
}

/// Whether a container has been started and is not ready: whether its probe fails, or has not been
/// tried yet, only events tell.
fn has_started_unready(pod: &Pod) -> bool {
    let mut containers = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    let was_started = |state: Option<&ContainerState>| {
        state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    };
    pod.metadata.deletion_timestamp.is_none()
        && containers.any(|container| {
            let (now, before) = (container.state.as_ref(), container.last_state.as_ref());
            !container.ready && (was_started(now) || was_started(before))
        })
}

async fn recent_failure(
    client: &Client,
    namespace: &str,
    pod: &str,
) -> Result<Option<String>, CallError> {
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    let selector = format!("involvedObject.name={pod},reason=Unhealthy");
    let parameters = ListParams::default().fields(&selector).limit(MOST_EVENTS);
    Ok(first_of_recent(
        within(EVENTS_DEADLINE, events.list(&parameters))
            .await?
            .items,
    ))
}

/// Of the events of the last minutes (before the newest) the first by its text: where two probes of
/// a container fail in turn, the newest would be another one at every look.
fn first_of_recent(events: Vec<Event>) -> Option<String> {
    let newest = events.iter().filter_map(last_seen).max()?;
    let is_recent =
        |event: &Event| last_seen(event).is_some_and(|seen| newest.duration_since(seen) <= RECENT);
    events
        .into_iter()
        .filter(is_recent)
        .filter_map(|event| event.message)
        .min()
}

pub(crate) fn last_seen(event: &Event) -> Option<Timestamp> {
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    last.or_else(|| event.event_time.as_ref().map(|time| time.0))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(seen: &str, message: &str) -> Event {
        serde_json::from_value(json!({
            "metadata": {}, "involvedObject": {}, "lastTimestamp": seen, "message": message
        }))
        .unwrap()
    }

    #[test]
    fn probes_that_fail_in_turn_are_told_as_one() {
        let readiness = event("2026-01-01T00:01:00Z", "Readiness probe failed");
        let liveness = event("2026-01-01T00:01:05Z", "Liveness probe failed");
        let later = event("2026-01-01T00:01:10Z", "Readiness probe failed");
        let both = [readiness, liveness.clone()];
        assert_eq!(
            first_of_recent(both.into()).as_deref(),
            Some("Liveness probe failed")
        );
        let both = [liveness, later];
        assert_eq!(
            first_of_recent(both.into()).as_deref(),
            Some("Liveness probe failed")
        );
    }

    #[test]
    fn a_failure_of_long_ago_is_not_told() {
        let old = event("2026-01-01T00:00:00Z", "Liveness probe failed");
        let new = event("2026-01-01T00:30:00Z", "Readiness probe failed");
        assert_eq!(
            first_of_recent(vec![old, new]).as_deref(),
            Some("Readiness probe failed")
        );
        assert_eq!(first_of_recent(Vec::new()), None);
    }

    #[test]
    fn events_are_asked_for_once_a_container_has_started_and_while_it_is_not_ready() {
        let pod = |ready: bool, state: Value, last: Value| -> Pod {
            let container = json!({
                "name": "c", "image": "i", "imageID": "", "restartCount": 0,
                "ready": ready, "state": state, "lastState": last
            });
            serde_json::from_value(json!({"status": {"containerStatuses": [container]}})).unwrap()
        };
        let running = json!({"running": {}});
        let waiting = json!({"waiting": {"reason": "ContainerCreating"}});
        let ended = json!({"terminated": {"exitCode": 137}});
        assert!(has_started_unready(&pod(false, running.clone(), json!({}))));
        assert!(has_started_unready(&pod(false, waiting.clone(), ended)));
        assert!(!has_started_unready(&pod(false, waiting, json!({}))));
        assert!(!has_started_unready(&pod(true, running, json!({}))));
    }
}

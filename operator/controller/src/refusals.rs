//! Why StatefulSets miss pods: they have no condition that would tell, only events do.

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Event, Pod},
};
use kube::{Api, Client, api::ListParams};
use orlop_plan::{Object, Refusal};

use crate::{
    causes::Causes,
    client::{CallError, within},
    observe::{EVENTS_DEADLINE, last_seen},
};

/// StatefulSets whose events are read in one pass: one of a tier's speaks for all of them.
const MOST_SETS: usize = 3;
/// A recorder lets an object have 25 events at once and one more every five minutes, and the API
/// server forgets them after an hour.
const MOST_EVENTS: u32 = 50;
/// The controller tries again after 1000 s at the latest: a refusal that is older and the last one
/// says nothing of now.
const TRIES_EVERY: SignedDuration = SignedDuration::from_mins(20);

/// Reads only while pods are missing.
pub(crate) async fn refusals(
    client: &Client,
    namespace: &str,
    children: &[Object],
    pods: &[Pod],
) -> Vec<Refusal> {
    let sets = children.iter().filter_map(|object| match object {
        Object::StatefulSet(set) => Some(set.as_ref()),
        _ => None,
    });
    let missing = sets.filter(|set| misses_pods(set, pods));
    let identities = missing.filter_map(|set| {
        let metadata = &set.metadata;
        Some((metadata.name.as_deref()?, metadata.uid.as_deref()?))
    });
    let readings = identities.take(MOST_SETS).map(|(name, uid)| async move {
        match events(client, namespace, uid).await {
            Ok(events) => Some(Refusal {
                stateful_set: name.to_owned(),
                message: last_refusal(events, Timestamp::now())?,
            }),
            Err(error) => {
                tracing::warn!(
                    stateful_set = name,
                    error = %Causes(&error),
                    "failed to read a StatefulSet's events"
                );
                None
            }
        }
    });
    join_all(readings).await.into_iter().flatten().collect()
}

fn misses_pods(set: &StatefulSet, pods: &[Pod]) -> bool {
    let Some(name) = set.metadata.name.as_deref() else {
        return false;
    };
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas);
    let wanted = usize::try_from(wanted.unwrap_or(1)).unwrap_or(0);
    let there = pods.iter().filter(|pod| is_of(pod, name)).count();
    set.metadata.deletion_timestamp.is_none() && there < wanted
}

/// Pods are called `<StatefulSet>-<ordinal>`.
fn is_of(pod: &Pod, set: &str) -> bool {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let ordinal = name.strip_prefix(set).and_then(|it| it.strip_prefix('-'));
    ordinal.is_some_and(|ordinal| {
        !ordinal.is_empty() && ordinal.bytes().all(|digit| digit.is_ascii_digit())
    })
}

async fn events(client: &Client, namespace: &str, uid: &str) -> Result<Vec<Event>, CallError> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let selector = format!("involvedObject.uid={uid}");
    let parameters = ListParams::default().fields(&selector).limit(MOST_EVENTS);
    Ok(within(EVENTS_DEADLINE, api.list(&parameters)).await?.items)
}

/// What the last attempt to create a pod was answered, if that was a refusal. Events tell whole
/// seconds: of one second a refusal counts, since the pods are missing.
fn last_refusal(events: Vec<Event>, now: Timestamp) -> Option<String> {
    let newest = |reason: &str| {
        let of_reason = events
            .iter()
            .filter(|event| event.reason.as_deref() == Some(reason));
        of_reason.filter_map(last_seen).max()
    };
    let refused = newest("FailedCreate")?;
    let is_over = newest("SuccessfulCreate").is_some_and(|created| created > refused)
        || now.duration_since(refused) > TRIES_EVERY;
    if is_over {
        return None;
    }
    events
        .into_iter()
        .filter(|event| event.reason.as_deref() == Some("FailedCreate"))
        .filter(|event| last_seen(event) == Some(refused))
        .filter_map(|event| event.message)
        .min()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(reason: &str, seen: &str, message: &str) -> Event {
        serde_json::from_value(json!({
            "metadata": {}, "involvedObject": {},
            "reason": reason, "lastTimestamp": seen, "message": message,
        }))
        .unwrap()
    }

    fn told(events: &[Event]) -> Option<String> {
        last_refusal(events.to_vec(), "2026-01-01T01:00:00Z".parse().unwrap())
    }

    #[test]
    fn the_last_attempt_is_told_if_it_was_refused() {
        let early = event("FailedCreate", "2026-01-01T00:50:00Z", "no room");
        let created = event("SuccessfulCreate", "2026-01-01T00:55:00Z", "made");
        let late = event("FailedCreate", "2026-01-01T00:59:00Z", "no right");
        assert_eq!(told(&[]), None);
        assert_eq!(told(std::slice::from_ref(&created)), None);
        assert_eq!(
            told(std::slice::from_ref(&early)).as_deref(),
            Some("no room")
        );
        assert_eq!(told(&[early.clone(), created.clone()]), None);
        assert_eq!(told(&[early, created, late]).as_deref(), Some("no right"));
    }

    #[test]
    fn of_one_second_the_refusal_counts() {
        let created = event("SuccessfulCreate", "2026-01-01T00:59:00Z", "made");
        let refused = event("FailedCreate", "2026-01-01T00:59:00Z", "no room");
        assert_eq!(told(&[refused, created]).as_deref(), Some("no room"));
    }

    #[test]
    fn a_refusal_that_was_not_repeated_is_forgotten() {
        let old = event("FailedCreate", "2026-01-01T00:30:00Z", "no room");
        assert_eq!(told(&[old]), None);
    }

    #[test]
    fn only_pods_of_its_own_count() {
        let set: StatefulSet = serde_json::from_value(json!({
            "metadata": {"name": "rope"},
            "spec": {"replicas": 2, "selector": {}, "template": {}},
        }))
        .unwrap();
        let pod = |name: &str| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
        };
        assert!(misses_pods(
            &set,
            &[pod("rope-0"), pod("rope-1-0"), pod("rope-")]
        ));
        assert!(!misses_pods(&set, &[pod("rope-0"), pod("rope-1")]));
    }
}

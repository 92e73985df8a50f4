//! Observe: reads, without judgement. The one step before the plan.

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{Api, Client, api::ListParams};
use orlop_plan::{Observed, ProbeFailure};

use crate::{
    cache::Caches,
    causes::Causes,
    client::{CallError, within},
    key::ObjectKey,
    primary::Primary,
};

/// Pods whose events are read in one pass: one of a revision's pods speaks for all of them.
const MOST_PODS: usize = 3;
/// Reading events only makes a message better, so a pass does not wait long for it.
const EVENTS_DEADLINE: Duration = Duration::from_secs(2);
/// Events of one pod and reason are few: the kubelet counts repetitions up in one object.
const MOST_EVENTS: u32 = 20;

/// What is known of an object's world: from the caches, except for events of failing probes.
pub(crate) async fn observe<P: Primary>(object: &P, caches: &Caches, client: &Client) -> Observed {
    let key = ObjectKey::of(object.meta());
    let uid = object.meta().uid.as_deref().unwrap_or_default();
    let children = P::CHILDREN
        .iter()
        .flat_map(|kind| caches.children(*kind, uid))
        .collect();
    let pods: Vec<Pod> = caches
        .pods
        .owned_by(uid)
        .iter()
        .map(|pod| Pod::clone(pod))
        .collect();
    let probe_failures = probe_failures(client, &key.namespace, &pods).await;
    Observed {
        children,
        pods,
        probe_failures,
        app_services: existing(object, &key, caches),
    }
}

fn existing<P: Primary>(object: &P, key: &ObjectKey, caches: &Caches) -> BTreeSet<String> {
    let exists = |name: &String| {
        let service = ObjectKey {
            namespace: key.namespace.clone(),
            name: name.clone(),
        };
        caches.app_services.get(&service).is_some()
    };
    object
        .referenced_services()
        .into_iter()
        .filter(exists)
        .collect()
}

async fn probe_failures(client: &Client, namespace: &str, pods: &[Pod]) -> Vec<ProbeFailure> {
    let unready = pods.iter().filter(|pod| has_started_unready(pod));
    let names = unready
        .filter_map(|pod| pod.metadata.name.as_deref())
        .take(MOST_PODS);
    let readings = names.map(|pod| async move {
        match newest_failure(client, namespace, pod).await {
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

/// Whether a container runs that is not ready: whether its probe fails or has not been tried yet,
/// only events tell.
fn has_started_unready(pod: &Pod) -> bool {
    let containers = pod
        .status
        .iter()
        .filter_map(|status| status.container_statuses.as_ref());
    let mut containers = containers.flatten();
    pod.metadata.deletion_timestamp.is_none()
        && containers.any(|container| {
            let state = container.state.as_ref();
            !container.ready && state.is_some_and(|state| state.running.is_some())
        })
}

async fn newest_failure(
    client: &Client,
    namespace: &str,
    pod: &str,
) -> Result<Option<String>, CallError> {
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    let selector = format!("involvedObject.name={pod},reason=Unhealthy");
    let parameters = ListParams::default().fields(&selector).limit(MOST_EVENTS);
    let events = within(EVENTS_DEADLINE, events.list(&parameters)).await?;
    let newest = events.items.into_iter().max_by_key(|event| {
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        last.or_else(|| event.event_time.as_ref().map(|time| time.0))
    });
    Ok(newest.and_then(|event| event.message))
}

//! What is seen of a service's revisions, and of the way from its Service to them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::Pod,
        discovery::v1::{Endpoint, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use orlop_crds::PruneRecord;

use super::{build, checks, validate::ValidatedService};
use crate::{
    Observed, cause, labels,
    release::{Run, Seen},
    revision::Revision,
};

/// What runs, and what could run again because its template is kept. A Deployment whose deletion is
/// recorded runs no more, whatever its pods say: nothing may be switched to it.
pub(super) fn seen(
    service: &ValidatedService,
    observed: &Observed,
    pruning: &[PruneRecord],
) -> Seen {
    let is_going = |object: &Deployment| {
        let uid = object.metadata.uid.as_deref();
        object.metadata.deletion_timestamp.is_some()
            || pruning
                .iter()
                .any(|record| Some(record.uid.as_str()) == uid)
    };
    let kept = observed
        .controller_revisions()
        .filter_map(|object| revision_of(&service.name, &object.metadata))
        .map(|revision| (revision, Run::default()));
    let running = observed
        .deployments()
        .filter(|object| !is_going(object))
        .filter_map(|object| {
            let revision = revision_of(&service.name, &object.metadata)?;
            let run = run(object, pods_of(observed, &revision).count());
            Some((revision, run))
        });
    let runs: BTreeMap<_, _> = kept.chain(running).collect();
    let selected = build::selected(service, observed);
    let verified = selected
        .as_ref()
        .is_some_and(|revision| addresses_only(service, observed, revision))
        && checks::is_reached(service, observed);
    Seen {
        selected,
        runs,
        verified,
        before: checks::before_switch(service, observed),
        after: checks::after_switch(service, observed),
    }
}

/// From the name, which nobody can take away as a label.
pub(crate) fn revision_of(owner: &str, object: &ObjectMeta) -> Option<Revision> {
    let suffix = object.name.as_deref()?.strip_prefix(owner)?;
    Revision::parse(suffix.strip_prefix('-')?)
}

pub(crate) fn run(deployment: &Deployment, pods: usize) -> Run {
    let status = deployment.status.as_ref();
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let ready = status.and_then(|status| status.ready_replicas).unwrap_or(0);
    let completed = cause::deployment_condition(deployment, "Progressing")
        .is_some_and(|condition| condition.reason.as_deref() == Some("NewReplicaSetAvailable"));
    Run {
        replicas,
        // After a change of size the status still counts pods that are about to go.
        ready: replicas.map_or(ready, |replicas| ready.min(replicas)),
        pods,
        settled: status.and_then(|status| status.observed_generation)
            >= deployment.metadata.generation,
        stillborn: !completed,
    }
}

pub(crate) fn pods_of<'a>(
    observed: &'a Observed,
    revision: &'a Revision,
) -> impl Iterator<Item = &'a Pod> {
    let is_of = |pod: &&Pod| {
        let labels = pod.metadata.labels.as_ref();
        let label = labels.and_then(|labels| labels.get(labels::REVISION));
        label.map(String::as_str) == Some(revision.as_str())
    };
    observed.pods.iter().filter(is_of)
}

/// Whether the Service's endpoints are ready pods of the revision and nothing else. That is what
/// kube-proxy works from: a Service without one addresses nobody.
fn addresses_only(service: &ValidatedService, observed: &Observed, revision: &Revision) -> bool {
    let pods: BTreeSet<&str> = pods_of(observed, revision)
        .filter_map(|pod| pod.metadata.name.as_deref())
        .collect();
    let mut slices = observed
        .endpoint_slices
        .iter()
        .filter(|slice| is_of_service(slice, &service.name))
        .flat_map(|slice| slice.endpoints.iter().flatten())
        .filter(|endpoint| is_addressed(endpoint))
        .peekable();
    slices.peek().is_some()
        && slices.all(|endpoint| {
            let target = endpoint.target_ref.as_ref();
            let name = target.and_then(|target| target.name.as_deref());
            name.is_some_and(|name| pods.contains(name))
        })
}

fn is_of_service(slice: &EndpointSlice, service: &str) -> bool {
    let labels = slice.metadata.labels.as_ref();
    let name = labels.and_then(|labels| labels.get(labels::SERVICE_NAME));
    name.map(String::as_str) == Some(service)
}

/// Unset means ready: see the API's documentation.
fn is_addressed(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions.and_then(|conditions| conditions.ready) != Some(false)
}

//! What is seen of revisions, whatever they are of.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use orlop_crds::PruneRecord;

use super::Run;
use crate::{Observed, cause, labels, revision::Revision};

/// What runs, and what could run again because its template is kept. A Deployment whose deletion is
/// recorded runs no more, whatever its pods say: nothing may be switched to it.
pub(crate) fn runs(
    owner: &str,
    observed: &Observed,
    pruning: &[PruneRecord],
) -> BTreeMap<Revision, Run> {
    let is_going = |object: &Deployment| {
        let uid = object.metadata.uid.as_deref();
        object.metadata.deletion_timestamp.is_some()
            || pruning
                .iter()
                .any(|record| Some(record.uid.as_str()) == uid)
    };
    let kept = observed
        .controller_revisions()
        .filter_map(|object| revision_of(owner, &object.metadata))
        .map(|revision| (revision, Run::default()));
    let running = observed
        .deployments()
        .filter(|object| !is_going(object))
        .filter_map(|object| {
            let revision = revision_of(owner, &object.metadata)?;
            let run = run(object, pods_of(observed, &revision).count());
            Some((revision, run))
        });
    kept.chain(running).collect()
}

/// From the name, which nobody can take away as a label.
fn revision_of(owner: &str, object: &ObjectMeta) -> Option<Revision> {
    let suffix = object.name.as_deref()?.strip_prefix(owner)?;
    Revision::parse(suffix.strip_prefix('-')?)
}

fn run(deployment: &Deployment, pods: usize) -> Run {
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

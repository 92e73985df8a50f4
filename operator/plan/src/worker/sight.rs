//! What is seen of a pool's revisions.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use orlop_crds::PruneRecord;

use super::validate::ValidatedPool;
use crate::{
    Observed,
    release::{Run, Seen, Verdict},
    revision::Revision,
    service::{pods_of, revision_of, run},
};

/// What runs, and what could run again because its template is kept. The revision that alone has
/// workers, or is to have them while nobody has any, is the one that takes the jobs.
pub(super) fn seen(
    pool: &ValidatedPool,
    observed: &Observed,
    active: Option<&Revision>,
    pruning: &[PruneRecord],
) -> Seen {
    let name = &pool.identity.name;
    let is_going = |object: &Deployment| {
        let uid = object.metadata.uid.as_deref();
        object.metadata.deletion_timestamp.is_some()
            || pruning
                .iter()
                .any(|record| Some(record.uid.as_str()) == uid)
    };
    let kept = observed
        .controller_revisions()
        .filter_map(|object| revision_of(name, &object.metadata))
        .map(|revision| (revision, Run::default()));
    let running = observed
        .deployments()
        .filter(|object| !is_going(object))
        .filter_map(|object| {
            let revision = revision_of(name, &object.metadata)?;
            let run = run(object, pods_of(observed, &revision).count());
            Some((revision, run))
        });
    let runs: BTreeMap<_, _> = kept.chain(running).collect();
    let mut working = runs
        .iter()
        .filter(|(_, run)| run.replicas.is_some_and(|replicas| replicas > 0))
        .map(|(revision, _)| revision.clone());
    let selected = match (working.next(), working.next()) {
        (None, _) => active.cloned(),
        (one, None) => one,
        (Some(_), Some(_)) => None,
    };
    Seen {
        selected,
        runs,
        // Nobody directs jobs: whoever takes them has them.
        verified: true,
        before: Verdict::Passed,
        after: Verdict::Passed,
    }
}

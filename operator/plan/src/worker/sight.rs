//! What is seen of a pool's revisions.

use orlop_crds::PruneRecord;

use super::validate::ValidatedPool;
use crate::{
    Observed,
    release::{self, Seen, Verdict},
    revision::Revision,
};

/// The revision that alone has workers, or is to have them while nobody has any, is the one that takes the jobs.
pub(super) fn seen(
    pool: &ValidatedPool,
    observed: &Observed,
    active: Option<&Revision>,
    pruning: &[PruneRecord],
) -> Seen {
    let runs = release::runs(&pool.identity.name, observed, pruning);
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

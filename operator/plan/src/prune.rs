//! Deleting what is no longer wanted, in two passes.
//!
//! A stale leader may see an old spec beside fresh children and find a new child superfluous. So a
//! deletion is first recorded in the owner's status, incarnation by incarnation, guarded by the
//! owner's resource version: a stale leader fails there. Only what is recorded is deleted, and what
//! is recorded is always deleted before its name is used again.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orlop_crds::PruneRecord;

use crate::{Object, ObjectName, Observed, Write};

/// What is to go.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Pruning {
    /// To be recorded in the status.
    pub(crate) record: Vec<PruneRecord>,
    /// Deletions of what is recorded already.
    pub(crate) deletions: Vec<Write>,
    /// Names under which a recorded deletion is still under way: nothing is applied to them.
    pub(crate) busy: BTreeSet<ObjectName>,
}

/// At most so many are recorded at a time: an object holds few children, a status must stay small.
const RECORDED_MAX: usize = 64;

/// Ours, not kept, not already going: to be recorded; recorded and still there: to be deleted.
pub(crate) fn prune(
    recorded: &[PruneRecord],
    keep: &BTreeSet<ObjectName>,
    observed: &Observed,
) -> Pruning {
    let mut pruning = Pruning::default();
    for object in &observed.children {
        let name = object.name();
        let Some(uid) = object.metadata().uid.clone() else {
            continue;
        };
        let is_recorded = recorded.iter().any(|record| record.uid == uid);
        if is_recorded {
            pruning.busy.insert(name.clone());
            if object.metadata().deletion_timestamp.is_none() {
                pruning.deletions.push(deletion(object));
            }
        }
        let superfluous = !keep.contains(&name) && object.metadata().deletion_timestamp.is_none();
        if (is_recorded || superfluous) && pruning.record.len() < RECORDED_MAX {
            pruning.record.push(PruneRecord {
                kind: name.kind.as_str().to_owned(),
                name: name.name,
                uid,
            });
        }
    }
    pruning
        .record
        .sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
    pruning
}

fn deletion(object: &Object) -> Write {
    let ObjectMeta {
        uid,
        resource_version,
        ..
    } = object.metadata().clone();
    Write::Delete {
        name: object.name(),
        uid: uid.unwrap_or_default(),
        resource_version: resource_version.unwrap_or_default(),
    }
}

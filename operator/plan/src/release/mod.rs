//! Releases, of whatever has revisions: one state machine without memory of its own.
//!
//! [`step`] is a function of what is wanted, what is seen and the time; what it must remember
//! stands in the status, recorded before anything is done for it. See [`machine`] for the phases.

mod command;
mod machine;
mod memory;
mod sight;
pub(crate) mod told;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use orlop_crds::{
    Duration,
    release::{HandoverMode, Pace, PromoteMode, Promotion, ReleaseRecord, WorkerRelease},
};

pub(crate) use memory::{forget_words, previous, under_way};
pub(crate) use sight::{pods_of, runs};

use self::{machine::Step, memory::Memory};
use crate::revision::Revision;

/// What the spec asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) revision: Revision,
    pub(crate) replicas: i32,
    pub(crate) policy: Policy,
    /// The annotation that commands the release.
    pub(crate) command: Option<String>,
}

/// How a release goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Policy {
    pub(crate) traffic: Traffic,
    pub(crate) gate: Gate,
    /// Size of the new revision until it is past its checks and its gate.
    pub(crate) preview: Option<i32>,
    pub(crate) checks_before: bool,
    pub(crate) checks_after: bool,
    /// Percent of the wanted replicas.
    pub(crate) ready_at_least: i32,
    pub(crate) deadline: SignedDuration,
    pub(crate) drain: SignedDuration,
    pub(crate) keep_old: SignedDuration,
}

/// What is moved from one revision to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// Requests: a Service selects one revision, whatever else runs.
    Requests,
    /// Jobs: whatever runs takes them.
    Jobs(HandoverMode),
}

/// What lets a revision that is ready go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    After(SignedDuration),
    Manual,
}

impl Policy {
    pub(crate) fn of_service(pace: &Pace, checks_before: bool, checks_after: bool) -> Self {
        Self {
            traffic: Traffic::Requests,
            gate: Gate::of(pace.promote.as_ref()),
            preview: pace.preview.as_ref().and_then(|preview| preview.replicas),
            checks_before,
            checks_after,
            ready_at_least: pace.ready_at_least(),
            deadline: signed(pace.deadline()),
            drain: signed(pace.drain()),
            keep_old: signed(pace.keep_old()),
        }
    }

    /// `stop`: how long a worker may take to end.
    pub(crate) fn of_workers(release: &WorkerRelease, stop: SignedDuration) -> Self {
        Self {
            traffic: Traffic::Jobs(release.mode.unwrap_or(HandoverMode::Handover)),
            gate: Gate::of(release.promote.as_ref()),
            preview: None,
            checks_before: false,
            checks_after: false,
            ready_at_least: Pace::DEFAULT_READY_AT_LEAST,
            deadline: signed(release.deadline.unwrap_or(Pace::DEFAULT_DEADLINE)),
            drain: stop,
            keep_old: SignedDuration::ZERO,
        }
    }
}

impl Gate {
    fn of(promote: Option<&orlop_crds::release::Promote>) -> Self {
        let Some(promote) = promote else {
            return Self::Open;
        };
        match (promote.mode, promote.after) {
            (Some(PromoteMode::Manual), _) => Self::Manual,
            (_, Some(after)) if after.as_millis() > 0 => Self::After(signed(after)),
            _ => Self::Open,
        }
    }
}

pub(crate) fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// What is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// Revision to which requests go, or which alone takes jobs, if that is exactly one.
    pub(crate) selected: Option<Revision>,
    /// Revisions that run, or can be made to run because their template is kept.
    pub(crate) runs: BTreeMap<Revision, Run>,
    /// Only ready pods of the selected revision are addressed, and they answer.
    pub(crate) verified: bool,
    pub(crate) before: Verdict,
    pub(crate) after: Verdict,
}

/// How one revision runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    /// Wanted by the Deployment; none if there is no Deployment.
    pub(crate) replicas: Option<i32>,
    pub(crate) ready: i32,
    /// Pods that are there, those that are stopping among them.
    pub(crate) pods: usize,
    /// Its status speaks of the size that is wanted now.
    pub(crate) settled: bool,
    /// It never had all its pods available: nothing is lost by stopping it.
    pub(crate) stillborn: bool,
}

/// What the checks say so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Verdict {
    #[default]
    Pending,
    Passed,
    Failed(String),
}

/// What is to be the case.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decision {
    /// To be recorded. Where it differs from what stands, nothing else is done in this pass.
    pub(crate) record: ReleaseRecord,
    /// To which revision requests go.
    pub(crate) select: Revision,
    /// The revision that is to be looked at before requests reach it.
    pub(crate) preview: Option<Revision>,
    /// Sizes of the revisions that run.
    pub(crate) run: BTreeMap<Revision, i32>,
    /// The revision whose pods must have been made after this time.
    pub(crate) fresh: Option<(Revision, Timestamp)>,
    pub(crate) wake_at: Option<Timestamp>,
}

pub(crate) fn step(
    wanted: &Wanted,
    seen: &Seen,
    recorded: &ReleaseRecord,
    now: Timestamp,
) -> Decision {
    let mut memory = Memory::read(recorded);
    memory
        .hold
        .take_if(|hold| hold.revision != wanted.revision || is_lost(&hold.instead, seen));
    let promoted: Option<Promotion> = command::obey(&mut memory, wanted, seen, now);
    Step::new(wanted, seen, now, promoted, &memory).decide(memory)
}

/// Nothing is left of it from which it could be made to run, and nothing else serves.
fn is_lost(revision: &Revision, seen: &Seen) -> bool {
    !seen.runs.contains_key(revision) && seen.runs.values().all(|run| run.ready == 0)
}

#[cfg(test)]
mod tests;

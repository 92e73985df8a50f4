//! What a release waits for and what comes next, in words for people.

use jiff::{SignedDuration, Timestamp};
use orlop_crds::release::{ReleasePhase, ReleaseRecord, ReleaseStatus};

use super::{Gate, Policy, Traffic};

/// The record with its words.
pub(crate) fn tell(record: ReleaseRecord, policy: &Policy) -> ReleaseRecord {
    let release = record.release.map(|release| {
        let (waits_for, next) = words(&release, policy);
        ReleaseStatus {
            waits_for: Some(waits_for),
            next: Some(next),
            ..release
        }
    });
    ReleaseRecord { release, ..record }
}

/// One line for an event.
pub(crate) fn transition(release: &ReleaseStatus, traffic: Traffic) -> String {
    let (from, to) = (&release.from, &release.to);
    let jobs = matches!(traffic, Traffic::Jobs(_));
    match release.phase {
        ReleasePhase::Starting => format!("starting revision {to} beside {from}"),
        ReleasePhase::Checking => format!("checking revision {to}"),
        ReleasePhase::Gated => format!("revision {to} waits to be promoted"),
        ReleasePhase::Scaling => format!("starting all replicas of revision {to}"),
        ReleasePhase::Switching if jobs => {
            format!("revision {to} takes the jobs, {from} takes no more")
        }
        ReleasePhase::Switching => format!("switching requests from revision {from} to {to}"),
        ReleasePhase::Verifying => format!("making sure that revision {to} answers"),
        ReleasePhase::Draining if jobs => format!("revision {from} finishes its jobs"),
        ReleasePhase::Draining => format!("revision {to} is served, {from} drains"),
        ReleasePhase::Keeping => format!("revision {from} is kept warm"),
    }
}

fn words(release: &ReleaseStatus, policy: &Policy) -> (String, String) {
    let (from, to) = (&release.from, &release.to);
    let at = |after: SignedDuration| moment(release.since.0, after);
    let deadline = format!("; {to} is held back at {}", at(policy.deadline));
    let jobs = matches!(policy.traffic, Traffic::Jobs(_));
    let (waits_for, next) = match release.phase {
        ReleasePhase::Starting => (
            format!("the replicas of revision {to} to be ready"),
            format!("its next step as soon as they are{deadline}"),
        ),
        ReleasePhase::Checking => (
            "the checks before the switch to pass".to_owned(),
            format!("its next step as soon as they have{deadline}"),
        ),
        ReleasePhase::Gated => match policy.gate {
            Gate::After(after) => (
                format!("{}, or somebody to promote revision {to}", at(after)),
                format!("the switch to revision {to}"),
            ),
            Gate::Open | Gate::Manual => (
                format!("somebody to promote revision {to}"),
                format!("the switch to revision {to} once it is promoted"),
            ),
        },
        ReleasePhase::Scaling => (
            format!("all replicas of revision {to} to be ready"),
            format!("the switch to revision {to} as soon as they are{deadline}"),
        ),
        ReleasePhase::Switching => (
            format!("revision {to} to be selected"),
            if jobs {
                format!("revision {from} finishes its jobs")
            } else {
                format!("making sure that revision {to} answers")
            },
        ),
        ReleasePhase::Verifying => (
            format!("only revision {to} to be addressed, and to answer"),
            format!("revision {from} drains{deadline}"),
        ),
        ReleasePhase::Draining if jobs => (
            format!("the last job of revision {from}"),
            format!(
                "the end of the release, at {} at the latest",
                at(policy.drain)
            ),
        ),
        ReleasePhase::Draining => (
            format!("{}, while revision {from} drains", at(policy.drain)),
            format!("revision {from} is kept warm"),
        ),
        ReleasePhase::Keeping => (
            format!(
                "{}, while revision {from} is kept warm",
                at(policy.keep_old)
            ),
            format!("revision {from} is stopped, and the release ends"),
        ),
    };
    match &release.paused_since {
        Some(since) => (
            format!("somebody to resume it, since {}", since.0),
            format!("it waits for {waits_for}"),
        ),
        None => (waits_for, next),
    }
}

fn moment(since: Timestamp, after: SignedDuration) -> Timestamp {
    since.checked_add(after).unwrap_or(Timestamp::MAX)
}

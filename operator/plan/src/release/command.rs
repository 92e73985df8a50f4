//! What people command of a release. A command names its revision and is answered once: one that
//! comes late, or again, does nothing.

use jiff::Timestamp;
use orlop_crds::release::{Command, CommandOutcome, HoldReason, Promotion, Verb};

use super::{
    Seen, Wanted,
    memory::{HeldBack, Memory, Release},
};
use crate::revision::Revision;

/// Most kept revisions that an answer lists.
const LISTED_MAX: usize = 10;

/// Does what the memory can do for a command that is not answered yet; what a release that begins
/// because of it is promoted to.
pub(super) fn obey(
    memory: &mut Memory,
    wanted: &Wanted,
    seen: &Seen,
    now: Timestamp,
) -> Option<Promotion> {
    let text = wanted.command.as_deref()?;
    if memory.command.as_ref().is_some_and(|it| it.command == text) {
        return None;
    }
    let mut promoted = None;
    let answer = match text.parse::<Command>() {
        Err(invalid) => Answer::Refused(invalid.to_string()),
        Ok(command) => match Revision::parse(&command.revision) {
            None => Answer::Refused(format!("'{}' is no revision", command.revision)),
            Some(revision) => match command.verb {
                Verb::Promote => promote(memory, wanted, &revision, Promotion::Gate, &mut promoted),
                Verb::PromoteFull => {
                    promote(memory, wanted, &revision, Promotion::Full, &mut promoted)
                }
                Verb::Abort => abort(memory, wanted, &revision, now),
                Verb::Undo => undo(memory, wanted, seen, &revision, now),
                Verb::Pause => pause(memory, &revision, now),
                Verb::Resume => resume(memory, &revision, now),
            },
        },
    };
    let (outcome, message) = match answer {
        Answer::Done(message) => (CommandOutcome::Done, message),
        Answer::Refused(message) => (CommandOutcome::Refused, message),
        Answer::Later => return None,
    };
    memory.answer(text, outcome, message, now);
    promoted
}

enum Answer {
    Done(String),
    Refused(String),
    /// What it speaks of is declared and about to begin.
    Later,
}

fn promote(
    memory: &mut Memory,
    wanted: &Wanted,
    revision: &Revision,
    to: Promotion,
    promoted: &mut Option<Promotion>,
) -> Answer {
    if memory.hold.is_some() && *revision == wanted.revision {
        memory.hold = None;
        *promoted = Some(to);
        return Answer::Done(format!("revision {revision} is held back no longer"));
    }
    if let Some(release) = &mut memory.release
        && release.to == *revision
    {
        if !release.phase.is_before_switch() {
            return Answer::Refused(format!("revision {revision} has been promoted already"));
        }
        if release.promoted != Some(Promotion::Full) {
            release.promoted = Some(to);
        }
        release.paused_since = None;
        return Answer::Done(format!("revision {revision} is promoted"));
    }
    if *revision == wanted.revision && memory.active.as_ref() != Some(revision) {
        return Answer::Later;
    }
    not_under_way(memory, revision)
}

fn abort(memory: &mut Memory, wanted: &Wanted, revision: &Revision, now: Timestamp) -> Answer {
    let release = memory.release.as_ref();
    let Some(release) = release.filter(|release| release.to == *revision) else {
        return not_under_way(memory, revision);
    };
    if *revision != wanted.revision {
        return Answer::Refused(format!(
            "revision {revision} is not declared any more; declared is {}",
            wanted.revision
        ));
    }
    let instead = release.from.clone();
    let message = format!("revision {revision} is held back, {instead} goes on");
    memory.hold = Some(HeldBack {
        revision: revision.clone(),
        instead,
        reason: HoldReason::Aborted,
        message: "its release was aborted".to_owned(),
        since: now,
    });
    Answer::Done(message)
}

fn undo(
    memory: &mut Memory,
    wanted: &Wanted,
    seen: &Seen,
    revision: &Revision,
    now: Timestamp,
) -> Answer {
    if *revision == wanted.revision {
        return if memory.hold.take().is_some() {
            Answer::Done(format!("revision {revision} is held back no longer"))
        } else {
            Answer::Refused(format!("revision {revision} is the declared one"))
        };
    }
    if !seen.runs.contains_key(revision) {
        let kept = seen.runs.keys().take(LISTED_MAX).map(Revision::as_str);
        let kept: Vec<_> = kept.collect();
        return Answer::Refused(format!(
            "revision {revision} is not kept; kept are {}",
            kept.join(", ")
        ));
    }
    memory.hold = Some(HeldBack {
        revision: wanted.revision.clone(),
        instead: revision.clone(),
        reason: HoldReason::Undone,
        message: format!("somebody went back to revision {revision}"),
        since: now,
    });
    Answer::Done(format!(
        "going back to revision {revision}; {} is held back",
        wanted.revision
    ))
}

fn pause(memory: &mut Memory, revision: &Revision, now: Timestamp) -> Answer {
    let Some(release) = before_switch(memory, revision) else {
        return not_under_way(memory, revision);
    };
    release.paused_since = Some(now);
    Answer::Done(format!("the release of revision {revision} is paused"))
}

fn resume(memory: &mut Memory, revision: &Revision, now: Timestamp) -> Answer {
    let Some(release) = before_switch(memory, revision) else {
        return not_under_way(memory, revision);
    };
    if release.paused_since.take().is_some() {
        // Time in which nothing was to happen counts against no deadline.
        release.since = now;
    }
    Answer::Done(format!("the release of revision {revision} goes on"))
}

/// The revision's release, if requests do not reach it yet.
fn before_switch<'a>(memory: &'a mut Memory, revision: &Revision) -> Option<&'a mut Release> {
    let release = memory.release.as_mut()?;
    (release.to == *revision && release.phase.is_before_switch()).then_some(release)
}

fn not_under_way(memory: &Memory, revision: &Revision) -> Answer {
    Answer::Refused(match &memory.release {
        Some(release) => format!(
            "revision {revision} is not being released; {} is, in phase {}",
            release.to,
            release.phase.as_str()
        ),
        None => format!("revision {revision} is not being released, nor is any other"),
    })
}

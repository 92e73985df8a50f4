//! The release of a revision, as a state machine without memory of its own.
//!
//! [`step`] is a function of what is wanted, what is seen and the time; what it must remember
//! stands in the status, recorded before anything is done for it. The phases:
//!
//! ```text
//! phase      becomes    when
//! (none)     Starting   another revision is declared
//! Starting   Switching  the new one is ready, or some of it is and nothing else
//! Switching  Draining   the Service selects the new one
//! Draining   (none)     `drain` is over
//!
//! Starting   (none)     the old one is declared again
//! Switching  Starting   the new one died, or another one is declared
//! Draining   Starting   the new one died, or the old one is declared again
//! Draining   Switching  the Service does not select the new one any more
//! ```
//!
//! The Service selects the old revision in `Starting`, the new one in `Draining`, and is moved in
//! `Switching`. So a selector that was edited by hand is repaired and opens no gate.

use std::collections::BTreeMap;

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use orlop_crds::{
    Duration,
    app_service::{ReleasePhase, ReleaseStatus},
};

use crate::revision::Revision;

/// What the spec asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) revision: Revision,
    pub(crate) replicas: i32,
    pub(crate) drain: Duration,
}

/// What is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// Revision that the Service selects, if it selects exactly one.
    pub(crate) selected: Option<Revision>,
    /// Revisions that run, or can be made to run because their template is kept.
    pub(crate) runs: BTreeMap<Revision, Run>,
}

/// How one revision runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    /// Wanted by the Deployment; none if there is no Deployment.
    pub(crate) replicas: Option<i32>,
    pub(crate) ready: i32,
    /// Its status speaks of the size that is wanted now.
    pub(crate) settled: bool,
    /// It never had all its pods available: nothing is lost by stopping it.
    pub(crate) stillborn: bool,
}

/// What stands in the status.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    pub(crate) active: Option<Revision>,
    pub(crate) release: Option<ReleaseStatus>,
}

/// What is to be the case.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decision {
    /// To be recorded. Where it differs from what stands, nothing else is done in this pass.
    pub(crate) memory: Memory,
    /// What the Service selects.
    pub(crate) select: Revision,
    /// Sizes of the revisions that run.
    pub(crate) run: BTreeMap<Revision, i32>,
    pub(crate) wake_at: Option<Timestamp>,
}

pub(crate) fn step(wanted: &Wanted, seen: &Seen, memory: &Memory, now: Timestamp) -> Decision {
    match known_release(memory) {
        Some(release) => release.step(wanted, seen, now),
        None => match active(wanted, seen, memory) {
            Active::Served(active) => at_rest(wanted, seen, active, now),
            Active::StatusLost { from, to } => Release {
                phase: ReleasePhase::Draining,
                from_replicas: seen.size(&from, wanted),
                from,
                to,
                since: now,
            }
            .decide(wanted, seen, now),
        },
    }
}

/// No release is under way: either all is as declared, or one begins.
fn at_rest(wanted: &Wanted, seen: &Seen, active: Revision, now: Timestamp) -> Decision {
    if let Some(ready) = seen.ready_instead_of(&active, wanted) {
        return Release::begin(ready, wanted, seen, now).decide(wanted, seen, now);
    }
    if active == wanted.revision {
        return Decision {
            memory: Memory {
                active: Some(active.clone()),
                release: None,
            },
            run: BTreeMap::from([(active.clone(), wanted.replicas)]),
            select: active,
            wake_at: None,
        };
    }
    Release::begin(active, wanted, seen, now).decide(wanted, seen, now)
}

/// A release whose recorded revisions are readable.
#[derive(Clone, Debug, PartialEq)]
struct Release {
    phase: ReleasePhase,
    from: Revision,
    to: Revision,
    from_replicas: i32,
    since: Timestamp,
}

impl Release {
    fn begin(from: Revision, wanted: &Wanted, seen: &Seen, now: Timestamp) -> Self {
        Self {
            phase: ReleasePhase::Starting,
            from_replicas: seen.size(&from, wanted),
            from,
            to: wanted.revision.clone(),
            since: now,
        }
    }

    fn step(self, wanted: &Wanted, seen: &Seen, now: Timestamp) -> Decision {
        match self.phase {
            ReleasePhase::Starting => self.starting(wanted, seen, now),
            ReleasePhase::Switching => self.switching(wanted, seen, now),
            ReleasePhase::Draining => self.draining(wanted, seen, now),
        }
    }

    fn starting(mut self, wanted: &Wanted, seen: &Seen, now: Timestamp) -> Decision {
        if self.from_replicas == 0 && seen.run(&self.from).ready > 0 {
            // It was only slow to start, and is all that is served.
            self.from_replicas = seen.size(&self.from, wanted);
        }
        if let Some(ready) = seen.ready_instead_of(&self.from, wanted) {
            return Self::begin(ready, wanted, seen, now).decide(wanted, seen, now);
        }
        // Superseded right after the switch, which was not seen then: it serves, so it is drained.
        if wanted.revision != self.to
            && seen.selected.as_ref() == Some(&self.to)
            && seen.is_complete(&self.to)
        {
            return self
                .into_phase(ReleasePhase::Draining, now)
                .decide(wanted, seen, now);
        }
        if wanted.revision == self.from {
            return at_rest(wanted, seen, self.from, now);
        }
        if wanted.revision != self.to {
            let to = wanted.revision.clone();
            return Self {
                to,
                since: now,
                ..self
            }
            .decide(wanted, seen, now);
        }
        if seen.may_serve(&self.to, wanted.replicas, &self.from) {
            return self
                .into_phase(ReleasePhase::Switching, now)
                .decide(wanted, seen, now);
        }
        self.decide(wanted, seen, now)
    }

    fn switching(self, wanted: &Wanted, seen: &Seen, now: Timestamp) -> Decision {
        if seen.selected.as_ref() == Some(&self.to) {
            return self
                .into_phase(ReleasePhase::Draining, now)
                .decide(wanted, seen, now);
        }
        if wanted.revision != self.to || seen.is_worse(&self.to, &self.from, wanted) {
            return self
                .into_phase(ReleasePhase::Starting, now)
                .decide(wanted, seen, now);
        }
        self.decide(wanted, seen, now)
    }

    fn draining(self, wanted: &Wanted, seen: &Seen, now: Timestamp) -> Decision {
        // The new revision died while the old one still runs: requests go back at once.
        if seen.is_worse(&self.to, &self.from, wanted) {
            return self
                .into_phase(ReleasePhase::Starting, now)
                .decide(wanted, seen, now);
        }
        // Edited by hand, or never moved and only seen so: requests reached the old one since the
        // drain began, and it begins anew.
        if wanted.revision == self.to && seen.selected.as_ref() != Some(&self.to) {
            return self
                .into_phase(ReleasePhase::Switching, now)
                .decide(wanted, seen, now);
        }
        // Going back to the revision that still runs needs no start.
        if wanted.revision == self.from {
            let from_replicas = wanted.replicas;
            let back = Self {
                from: self.to,
                to: self.from,
                from_replicas,
                ..self
            };
            return back
                .into_phase(ReleasePhase::Starting, now)
                .decide(wanted, seen, now);
        }
        if now >= self.drained_at(wanted) {
            return at_rest(wanted, seen, self.to, now);
        }
        self.decide(wanted, seen, now)
    }

    fn into_phase(self, phase: ReleasePhase, now: Timestamp) -> Self {
        Self {
            phase,
            since: now,
            ..self
        }
    }

    fn drained_at(&self, wanted: &Wanted) -> Timestamp {
        let drain = SignedDuration::from_millis(
            i64::try_from(wanted.drain.as_millis()).unwrap_or(i64::MAX),
        );
        self.since.checked_add(drain).unwrap_or(Timestamp::MAX)
    }

    /// What this phase asks for.
    fn decide(mut self, wanted: &Wanted, seen: &Seen, now: Timestamp) -> Decision {
        self.since = whole_second_from(self.since);
        let select = match self.phase {
            ReleasePhase::Starting => &self.from,
            ReleasePhase::Switching | ReleasePhase::Draining => &self.to,
        };
        let to_replicas = if self.phase == ReleasePhase::Draining && self.to != wanted.revision {
            // Superseded before its drain was over: it serves until its successor is ready.
            self.from_replicas.max(wanted.replicas)
        } else {
            wanted.replicas
        };
        // The recorded size may be one that a cache still showed: what runs is not made smaller.
        let from_replicas = match self.from_replicas {
            0 => 0,
            recorded => recorded.max(seen.run(&self.from).replicas.unwrap_or(0)),
        };
        let wake_at =
            (self.phase == ReleasePhase::Draining).then(|| self.drained_at(wanted).max(now));
        Decision {
            select: select.clone(),
            run: BTreeMap::from([
                (self.from.clone(), from_replicas),
                (self.to.clone(), to_replicas),
            ]),
            wake_at,
            memory: Memory {
                active: Some(select.clone()),
                release: Some(self.into_status()),
            },
        }
    }

    fn into_status(self) -> ReleaseStatus {
        let Self {
            phase,
            from,
            to,
            from_replicas,
            since,
        } = self;
        ReleaseStatus {
            phase,
            from: from.to_string(),
            to: to.to_string(),
            from_replicas,
            since: Time(since),
        }
    }
}

/// API times carry whole seconds. Rounding down would end a drain before its time.
fn whole_second_from(time: Timestamp) -> Timestamp {
    time.round(
        TimestampRound::new()
            .smallest(Unit::Second)
            .mode(RoundMode::Ceil),
    )
    .unwrap_or(time)
}

fn known_release(memory: &Memory) -> Option<Release> {
    let ReleaseStatus {
        phase,
        from,
        to,
        from_replicas,
        since,
    } = memory.release.clone()?;
    let (from, to) = (Revision::parse(&from)?, Revision::parse(&to)?);
    (from != to).then_some(Release {
        phase,
        from,
        to,
        from_replicas,
        since: since.0,
    })
}

enum Active {
    Served(Revision),
    /// Nothing is recorded but two revisions run: a drain may have been under way.
    StatusLost {
        from: Revision,
        to: Revision,
    },
}

/// The revision that is served, from the status or, where that was lost, from the world.
fn active(wanted: &Wanted, seen: &Seen, memory: &Memory) -> Active {
    if let Some(active) = &memory.active {
        return Active::Served(active.clone());
    }
    let ready = |revision: &Revision| seen.runs.get(revision).map_or(0, |run| run.ready);
    let selected = seen
        .selected
        .clone()
        .filter(|revision| seen.runs.contains_key(revision));
    let Some(selected) = selected else {
        let healthy = seen.runs.keys().filter(|revision| ready(revision) > 0);
        let best = healthy.max_by_key(|revision| (**revision == wanted.revision, ready(revision)));
        return Active::Served(best.unwrap_or(&wanted.revision).clone());
    };
    let other = seen
        .runs
        .keys()
        .find(|revision| **revision != selected && ready(revision) > 0);
    match other {
        Some(from) => Active::StatusLost {
            from: from.clone(),
            to: selected,
        },
        None => Active::Served(selected),
    }
}

impl Seen {
    fn run(&self, revision: &Revision) -> Run {
        self.runs.get(revision).copied().unwrap_or_default()
    }

    /// The size that a revision keeps while another one takes over.
    fn size(&self, revision: &Revision, wanted: &Wanted) -> i32 {
        let run = self.run(revision);
        if run.stillborn && run.ready == 0 {
            0
        } else {
            run.replicas.unwrap_or(wanted.replicas)
        }
    }

    /// All replicas are ready, or some are and the one that is served has none.
    fn may_serve(&self, to: &Revision, replicas: i32, from: &Revision) -> bool {
        let run = self.run(to);
        let complete = run.settled && run.replicas == Some(replicas) && run.ready >= replicas;
        complete || (run.ready > 0 && self.run(from).ready == 0)
    }

    /// Whether all of its own replicas are ready.
    fn is_complete(&self, revision: &Revision) -> bool {
        let run = self.run(revision);
        run.settled && run.ready > 0 && Some(run.ready) >= run.replicas
    }

    /// A superseded revision that is all that is ready: it serves until what is wanted is.
    fn ready_instead_of(&self, served: &Revision, wanted: &Wanted) -> Option<Revision> {
        let none_is_ready = self.run(served).ready == 0 && self.run(&wanted.revision).ready == 0;
        let mut ready = self.runs.iter().filter(|(_, run)| run.ready > 0);
        let (revision, _) = ready
            .next()
            .filter(|_| none_is_ready && wanted.replicas > 0)?;
        Some(revision.clone())
    }

    /// A revision that is to run without a replica is never worse.
    fn is_worse(&self, to: &Revision, from: &Revision, wanted: &Wanted) -> bool {
        wanted.replicas > 0 && self.run(to).ready == 0 && self.run(from).ready > 0
    }
}

#[cfg(test)]
mod tests;

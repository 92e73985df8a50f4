//! The phases of a release.
//!
//! ```text
//! phase      requests go to  becomes    when
//! (none)     the only one    Starting   another revision is to be served
//! Starting   old             Checking   the new one is ready, in the size of its preview
//! Checking   old             Gated      the checks before the switch have passed
//! Gated      old             Scaling    somebody, or the time, has promoted it
//! Scaling    old             Switching  all of the new one is ready
//! Switching  old, then new   Verifying  the Service selects the new one
//! Verifying  new             Draining   nothing but the new one is addressed, and it answers
//! Draining   new             Keeping    `drain` is over and the checks after the switch have passed
//! Keeping    new             (none)     `keepOld` is over
//!
//! any        as before       Starting   the new one died, or another one is to be served
//! any        old             (none)     the old one is to be served again and needs no way back
//! ```
//!
//! Phases for which nothing is declared are left out. Where jobs are taken instead of requests there
//! is nobody to direct them: a gate comes before the start (`Handover`) or while both take jobs
//! (`Overlap`), `Switching` makes the old one take no more, `Draining` waits until its last job is
//! done, and there is neither a preview nor anything to keep.
//!
//! What fails is a *hold*: the declared revision stays away until another one is declared or
//! somebody promotes it, and what is to be served is the revision that the hold names. The selector
//! follows the phase alone, so that one edited by hand is repaired and opens no gate.

mod light;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use orlop_crds::release::{HandoverMode, HoldReason, Promotion, ReleasePhase};

use self::light::Active;
use super::{
    Decision, Gate, Policy, Run, Seen, Traffic, Verdict, Wanted,
    memory::{HeldBack, Memory, Release, whole_second_from},
};
use crate::revision::Revision;

/// After so many deaths a revision that was served is held back: once may be the node's fault.
const DEATHS_MAX: i32 = 3;

/// One step under way.
pub(super) struct Step<'a> {
    wanted: &'a Wanted,
    policy: &'a Policy,
    seen: &'a Seen,
    now: Timestamp,
    /// The revision that is to be served: the declared one, unless it is held back.
    goal: Revision,
    hold: Option<HeldBack>,
    previous: Option<Revision>,
    /// Of a release that begins in this step.
    promoted: Option<Promotion>,
}

impl<'a> Step<'a> {
    pub(super) fn new(
        wanted: &'a Wanted,
        seen: &'a Seen,
        now: Timestamp,
        promoted: Option<Promotion>,
        memory: &Memory,
    ) -> Self {
        let hold = memory.hold.clone();
        let instead = hold.as_ref().map(|hold| hold.instead.clone());
        Self {
            wanted,
            policy: &wanted.policy,
            seen,
            now,
            goal: instead.unwrap_or_else(|| wanted.revision.clone()),
            hold,
            previous: memory.previous.clone(),
            promoted,
        }
    }

    pub(super) fn decide(self, memory: Memory) -> Decision {
        let command = memory.command.clone();
        let mut decision = match memory.release {
            Some(release) => self.go_on(release),
            None => match self.active(memory.active) {
                Active::Served(active) => self.at_rest(active),
                Active::StatusLost { from, to } => {
                    let release = Release {
                        phase: ReleasePhase::Draining,
                        from_replicas: self.size(&from),
                        ..self.release(from, to)
                    };
                    self.keep(release)
                }
            },
        };
        decision.record.command = command;
        decision
    }

    /// No release is under way: either all is as it is to be, or one begins.
    fn at_rest(self, active: Revision) -> Decision {
        if let Some(ready) = self.ready_instead_of(&active) {
            return self.begin(ready);
        }
        if active != self.goal {
            return self.begin(active);
        }
        Decision {
            run: BTreeMap::from([(active.clone(), self.wanted.replicas)]),
            select: active.clone(),
            preview: None,
            fresh: None,
            wake_at: None,
            record: self.record(active, None),
        }
    }

    fn begin(self, from: Revision) -> Decision {
        let mut release = self.release(from, self.goal.clone());
        release.phase = self.first_phase(&release);
        self.keep(release)
    }

    fn release(&self, from: Revision, to: Revision) -> Release {
        // What is gone back to has been served before.
        let is_back = self.hold.is_some();
        Release {
            phase: ReleasePhase::Starting,
            from_replicas: self.size(&from),
            from,
            to,
            since: self.now,
            begun: self.now,
            decided: None,
            promoted: if is_back {
                Some(Promotion::Full)
            } else {
                self.promoted
            },
            paused_since: None,
            deaths: 0,
        }
    }

    fn go_on(self, release: Release) -> Decision {
        match release.phase {
            ReleasePhase::Starting
            | ReleasePhase::Checking
            | ReleasePhase::Gated
            | ReleasePhase::Scaling => self.before_switch(release),
            ReleasePhase::Switching => self.switching(release),
            ReleasePhase::Verifying => self.verifying(release),
            ReleasePhase::Draining => self.draining(release),
            ReleasePhase::Keeping => self.keeping(release),
        }
    }

    fn before_switch(self, mut release: Release) -> Decision {
        if release.from_replicas == 0 && self.run(&release.from).ready > 0 {
            // It was only slow to start, and is all that is served.
            release.from_replicas = self.size(&release.from);
        }
        if let Some(ready) = self.ready_instead_of(&release.from) {
            return self.begin(ready);
        }
        if self.goal != release.to && self.serves_unseen(&release) {
            return self.enter(ReleasePhase::Draining, release);
        }
        if self.goal == release.from {
            return self.at_rest(release.from);
        }
        if self.goal != release.to {
            return self.begin(release.from);
        }
        if self.is_all_there_is(&release) {
            return self.enter(ReleasePhase::Switching, release);
        }
        if release.paused_since.is_some() {
            return self.keep(release);
        }
        if release.phase != ReleasePhase::Gated
            && self.is_over(&release, self.policy.deadline)
            && self.run(&release.from).ready > 0
        {
            let message = format!("{} took longer than `deadline`", release.phase.as_str());
            return self.hold(release, HoldReason::DeadlineExceeded, message);
        }
        match release.phase {
            ReleasePhase::Checking => match &self.seen.before {
                Verdict::Passed => self.next(release),
                Verdict::Failed(why) => {
                    let why = why.clone();
                    self.hold(release, HoldReason::CheckFailed, why)
                }
                Verdict::Pending => self.keep(release),
            },
            ReleasePhase::Gated if self.is_let_through(&release) => self.next(release),
            ReleasePhase::Gated => self.keep(release),
            _ if self.is_ready(&release) => self.next(release),
            _ => self.keep(release),
        }
    }

    fn switching(self, release: Release) -> Decision {
        if self.selects(&release.to) {
            let next = match self.policy.traffic {
                Traffic::Requests => ReleasePhase::Verifying,
                Traffic::Jobs(_) => ReleasePhase::Draining,
            };
            return self.enter(next, release);
        }
        if self.is_worse(&release) {
            return self.died(release);
        }
        // The switch may have been made without being seen: requests go back, and what the new one
        // has of them it finishes.
        if self.goal == release.from {
            return self.go_back(release, ReleasePhase::Switching);
        }
        if self.goal != release.to {
            return self.go_back(release, ReleasePhase::Verifying);
        }
        self.keep(release)
    }

    fn verifying(self, release: Release) -> Decision {
        if self.is_over(&release, self.policy.deadline)
            && self.goal == release.to
            && self.run(&release.from).ready > 0
        {
            let message = "it did not answer through its Service within `deadline`".to_owned();
            return self.hold(release, HoldReason::DeadlineExceeded, message);
        }
        // Nobody need answer: it is superseded, or has no replica.
        let is_unasked = self.goal != release.to || self.wanted.replicas == 0;
        if self.seen.verified || is_unasked && self.selects(&release.to) {
            return self.after_switch(release, |it, release| {
                it.enter(ReleasePhase::Draining, release)
            });
        }
        self.after_switch(release, Self::keep)
    }

    fn draining(self, release: Release) -> Decision {
        let is_judged = match &self.seen.after {
            _ if !self.is_to_be_judged(&release) => true,
            Verdict::Passed => true,
            Verdict::Pending if self.is_over(&release, self.policy.deadline) => {
                let message = "the checks after the switch took longer than `deadline`".to_owned();
                return self.hold(release, HoldReason::DeadlineExceeded, message);
            }
            Verdict::Failed(why) => {
                let why = why.clone();
                return self.hold(release, HoldReason::CheckFailed, why);
            }
            Verdict::Pending => false,
        };
        let is_drained = match self.policy.traffic {
            Traffic::Requests => self.is_over(&release, self.policy.drain),
            Traffic::Jobs(_) => {
                self.run(&release.from).pods == 0 || self.is_over(&release, self.policy.drain)
            }
        };
        self.after_switch(release, |it, release| {
            if !is_drained || !is_judged {
                it.keep(release)
            } else if it.policy.keep_old.is_zero()
                || it.goal != release.to
                || release.from_replicas == 0
            {
                it.end(release)
            } else {
                it.enter(ReleasePhase::Keeping, release)
            }
        })
    }

    fn keeping(self, release: Release) -> Decision {
        self.after_switch(release, |it, release| {
            let is_superseded = it.goal != release.to;
            if is_superseded || it.is_over(&release, it.policy.keep_old) {
                it.end(release)
            } else {
                it.keep(release)
            }
        })
    }

    /// What goes for every phase in which requests reach the new revision, before what its own
    /// phase wants.
    fn after_switch(
        self,
        release: Release,
        otherwise: impl FnOnce(Self, Release) -> Decision,
    ) -> Decision {
        if self.is_worse(&release) {
            return self.died(release);
        }
        // Edited by hand, or never moved and only seen so: requests reached the old one since, and
        // what has been waited for begins anew.
        if self.goal == release.to && !self.selects(&release.to) {
            return self.enter(ReleasePhase::Switching, release);
        }
        // Going back to the revision that still runs needs no start.
        if self.goal == release.from {
            return self.go_back(release, ReleasePhase::Starting);
        }
        otherwise(self, release)
    }

    /// The new revision died while the old one still runs: requests go back at once.
    fn died(self, mut release: Release) -> Decision {
        release.deaths += 1;
        if release.deaths >= DEATHS_MAX && self.goal == release.to {
            let message = format!("it lost all its replicas {DEATHS_MAX} times");
            return self.hold(release, HoldReason::Died, message);
        }
        self.enter(ReleasePhase::Starting, release)
    }

    fn go_back(self, release: Release, phase: ReleasePhase) -> Decision {
        let back = Release {
            phase,
            decided: (!phase.is_before_switch()).then_some(self.now),
            promoted: Some(Promotion::Full),
            ..self.release(release.to, release.from)
        };
        self.keep(back)
    }

    /// The old revision runs no longer.
    fn end(mut self, release: Release) -> Decision {
        self.previous = Some(release.from);
        self.at_rest(release.to)
    }

    /// The declared revision is held back, and the old one goes on.
    fn hold(mut self, release: Release, reason: HoldReason, message: String) -> Decision {
        self.goal = release.from.clone();
        // Where it was gone back from the declared revision, that one goes on again.
        let is_declared = release.from == self.wanted.revision;
        self.hold = (!is_declared).then(|| HeldBack {
            revision: self.wanted.revision.clone(),
            instead: release.from.clone(),
            reason,
            message,
            since: self.now,
        });
        if release.phase.is_before_switch() {
            self.at_rest(release.from)
        } else {
            self.go_back(release, ReleasePhase::Starting)
        }
    }

    fn enter(mut self, phase: ReleasePhase, release: Release) -> Decision {
        if phase == ReleasePhase::Draining {
            self.previous = Some(release.from.clone());
        }
        let since = self.now;
        let decided = match phase {
            ReleasePhase::Switching => release.decided.or(Some(since)),
            _ if phase.is_before_switch() => None,
            _ => release.decided,
        };
        // What requests reach can be paused no more.
        let paused_since = release.paused_since.filter(|_| phase.is_before_switch());
        self.keep(Release {
            phase,
            since,
            decided,
            paused_since,
            ..release
        })
    }

    /// The first phase that comes after this one and for which there is a reason.
    fn next(self, release: Release) -> Decision {
        let mut phases = self.phases(&release).into_iter();
        let next = phases.find(|phase| self.order(*phase) > self.order(release.phase));
        self.enter(next.unwrap_or(ReleasePhase::Switching), release)
    }

    fn first_phase(&self, release: &Release) -> ReleasePhase {
        let phases = self.phases(release);
        phases.first().copied().unwrap_or(ReleasePhase::Starting)
    }

    /// The phases before the switch for which there is a reason, in their order.
    fn phases(&self, release: &Release) -> Vec<ReleasePhase> {
        use ReleasePhase::{Checking, Gated, Scaling, Starting};
        let mut phases = vec![Starting];
        // Without a replica there is nobody to ask.
        let has_replicas = self.wanted.replicas > 0;
        if self.policy.checks_before && has_replicas && release.promoted != Some(Promotion::Full) {
            phases.push(Checking);
        }
        if self.policy.gate != Gate::Open && release.promoted.is_none() {
            phases.push(Gated);
        }
        // Whoever is promoted grows from now on; replicas may have been added, or lost, as well.
        let is_to_grow =
            release.phase != Starting && !self.has_ready(release, self.wanted.replicas);
        if self.preview_size(release) < self.wanted.replicas || is_to_grow {
            phases.push(Scaling);
        }
        phases.sort_by_key(|phase| self.order(*phase));
        phases
    }

    fn order(&self, phase: ReleasePhase) -> usize {
        use ReleasePhase::{Checking, Gated, Scaling, Starting};
        let order = match self.policy.traffic {
            Traffic::Jobs(HandoverMode::Handover) => [Gated, Starting, Checking, Scaling],
            Traffic::Requests | Traffic::Jobs(HandoverMode::Overlap) => {
                [Starting, Checking, Gated, Scaling]
            }
        };
        let place = order.iter().position(|it| *it == phase);
        place.unwrap_or(order.len())
    }

    /// How many replicas the new revision has until it is past its checks and its gate.
    fn preview_size(&self, release: &Release) -> i32 {
        let full = self.wanted.replicas;
        let is_looked_at = self.policy.checks_before || self.policy.gate != Gate::Open;
        match self.policy.preview {
            Some(preview) if is_looked_at && release.promoted.is_none() => preview.min(full),
            _ => full,
        }
    }

    fn is_let_through(&self, release: &Release) -> bool {
        release.promoted.is_some()
            || match self.policy.gate {
                Gate::Open => true,
                Gate::After(after) => self.is_over(release, after),
                Gate::Manual => false,
            }
    }

    fn is_over(&self, release: &Release, after: SignedDuration) -> bool {
        self.now >= end(release.since, after)
    }

    /// What this phase asks for.
    fn keep(self, release: Release) -> Decision {
        let release = Release {
            since: whole_second_from(release.since),
            ..release
        };
        let select = if release.phase.is_before_switch() {
            &release.from
        } else {
            &release.to
        };
        let mut run = BTreeMap::from([(release.from.clone(), self.size_of_old(&release))]);
        if let Some(size) = self.size_of_new(&release) {
            run.insert(release.to.clone(), size);
        }
        let fresh =
            (release.phase == ReleasePhase::Keeping).then(|| (release.from.clone(), release.since));
        Decision {
            select: select.clone(),
            preview: self.is_previewed(&release).then(|| release.to.clone()),
            run,
            fresh,
            wake_at: self.wake_at(&release),
            record: self.record(select.clone(), Some(release)),
        }
    }

    fn size_of_old(&self, release: &Release) -> i32 {
        let is_taken_over = !release.phase.is_before_switch();
        match (self.policy.traffic, release.from_replicas) {
            (Traffic::Jobs(_), _) if is_taken_over => 0,
            // The number of workers follows the queue, also while they are replaced.
            (Traffic::Jobs(_), _) => self.wanted.replicas,
            (Traffic::Requests, 0) => 0,
            // The recorded size may be one that a cache still showed: what runs is not made smaller.
            (Traffic::Requests, recorded) => {
                recorded.max(self.run(&release.from).replicas.unwrap_or(0))
            }
        }
    }

    /// None: it does not run yet.
    fn size_of_new(&self, release: &Release) -> Option<i32> {
        let full = self.wanted.replicas;
        let is_handed_over = self.policy.traffic == Traffic::Jobs(HandoverMode::Handover);
        if is_handed_over && release.phase == ReleasePhase::Gated {
            return None;
        }
        if self.policy.traffic != Traffic::Requests {
            return Some(full);
        }
        Some(match release.phase {
            ReleasePhase::Starting | ReleasePhase::Checking | ReleasePhase::Gated => {
                self.preview_size(release)
            }
            ReleasePhase::Scaling | ReleasePhase::Switching => full,
            // Superseded before its drain was over: it serves until its successor is ready.
            _ if self.goal != release.to => release.from_replicas.max(full),
            _ => full,
        })
    }

    fn is_previewed(&self, release: &Release) -> bool {
        let is_looked_at = self.policy.checks_before || self.policy.gate != Gate::Open;
        self.policy.traffic == Traffic::Requests
            && is_looked_at
            && release.promoted != Some(Promotion::Full)
            && release.phase.is_before_switch()
    }

    fn wake_at(&self, release: &Release) -> Option<Timestamp> {
        if release.paused_since.is_some() {
            return None;
        }
        let wait = match release.phase {
            ReleasePhase::Gated => match self.policy.gate {
                Gate::After(after) => after,
                Gate::Open | Gate::Manual => return None,
            },
            // Drained, and waiting for the checks: nothing is left but the deadline.
            ReleasePhase::Draining
                if self.is_over(release, self.policy.drain) && self.is_to_be_judged(release) =>
            {
                self.policy.deadline
            }
            ReleasePhase::Draining => self.policy.drain,
            ReleasePhase::Keeping => self.policy.keep_old,
            _ => self.policy.deadline,
        };
        let at = end(release.since, wait);
        // A deadline that was let pass, because nothing else could serve, is not looked at again.
        let is_timer = matches!(
            release.phase,
            ReleasePhase::Gated | ReleasePhase::Draining | ReleasePhase::Keeping
        );
        (is_timer || at > self.now).then(|| at.max(self.now))
    }

    fn record(
        self,
        active: Revision,
        release: Option<Release>,
    ) -> orlop_crds::release::ReleaseRecord {
        Memory {
            active: Some(active),
            previous: self.previous,
            release,
            hold: self.hold,
            command: None,
        }
        .into_record()
    }
}

fn end(since: Timestamp, after: SignedDuration) -> Timestamp {
    since.checked_add(after).unwrap_or(Timestamp::MAX)
}

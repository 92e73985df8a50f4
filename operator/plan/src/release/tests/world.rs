//! A world that does what is decided.

use jiff::Timestamp;
use orlop_crds::release::{ReleasePhase, ReleaseRecord};

use super::{
    super::{BTreeMap, Decision, Revision, Run, Seen, Traffic, Verdict, Wanted},
    states::revision,
};

/// Replicas of everything that runs.
pub(super) const SIZE: i32 = 2;
/// The one revision that may be bad. It is the declared one.
pub(super) const BAD: char = 'c';

/// What is wrong with the declared revision. Of the others nothing is.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a way to be bad, and one may be bad in several"
)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Character {
    pub(super) never_runs: bool,
    pub(super) fails_before: bool,
    pub(super) fails_after: bool,
    /// Its checks have no answer.
    pub(super) silent: bool,
    /// It is ready, but its Service does not lead to it.
    pub(super) unreachable: bool,
}

impl Character {
    pub(super) const GOOD: Self = Self {
        never_runs: false,
        fails_before: false,
        fails_after: false,
        silent: false,
        unreachable: false,
    };
    pub(super) const NEVER_RUNS: Self = Self {
        never_runs: true,
        ..Self::GOOD
    };
    pub(super) const SILENT: Self = Self {
        silent: true,
        ..Self::GOOD
    };
    pub(super) const UNREACHABLE: Self = Self {
        unreachable: true,
        ..Self::GOOD
    };
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct World {
    /// By the Service.
    pub(super) selected: Option<Revision>,
    pub(super) runs: BTreeMap<Revision, Run>,
    pub(super) character: Character,
}

impl World {
    pub(super) fn ready(&self, revision: &Revision) -> i32 {
        self.runs.get(revision).map_or(0, |run| run.ready)
    }

    pub(super) fn running(mut self, letter: char, size: i32) -> Self {
        self.runs.insert(revision(letter), run(size, size));
        self
    }

    /// What is seen of it while something is recorded.
    pub(super) fn seen(&self, record: &ReleaseRecord, wanted: &Wanted) -> Seen {
        let requests = wanted.policy.traffic == Traffic::Requests;
        let release = record.release.as_ref();
        let is_bad = release.is_some_and(|release| release.to == revision(BAD).to_string());
        let Character {
            never_runs: _,
            fails_before,
            fails_after,
            silent,
            unreachable,
        } = self.character;
        let verdict = |during: ReleasePhase, fails: bool| match release {
            _ if !requests => Verdict::Passed,
            Some(release) if release.phase == during => match (is_bad, silent, fails) {
                (true, true, _) => Verdict::Pending,
                (true, false, true) => Verdict::Failed("said no".to_owned()),
                _ => Verdict::Passed,
            },
            _ => Verdict::Pending,
        };
        let selected = if requests {
            self.selected.clone()
        } else {
            self.working(record)
        };
        let is_reached = |revision: &Revision| self.ready(revision) > 0;
        Seen {
            verified: !requests
                || !(is_bad && unreachable) && selected.as_ref().is_some_and(is_reached),
            selected,
            runs: self.runs.clone(),
            before: verdict(ReleasePhase::Checking, fails_before),
            after: verdict(ReleasePhase::Draining, fails_after),
        }
    }

    /// The revision that alone has workers.
    fn working(&self, record: &ReleaseRecord) -> Option<Revision> {
        let is_working = |run: &Run| run.replicas.is_some_and(|replicas| replicas > 0);
        let mut working = self.runs.iter().filter(|(_, run)| is_working(run));
        match (working.next(), working.next()) {
            (None, _) => Revision::parse(record.active_revision.as_deref()?),
            (Some((one, _)), None) => Some(one.clone()),
            _ => None,
        }
    }

    /// Does what is decided, at once.
    pub(super) fn obey(&mut self, decision: &Decision, wanted: &Wanted) {
        self.selected = Some(decision.select.clone());
        for (revision, run) in &mut self.runs {
            if !decision.run.contains_key(revision) {
                *run = Run::default();
            }
        }
        for (revision, size) in &decision.run {
            // What has left no template behind cannot be made again, unless it is declared.
            if !self.runs.contains_key(revision) && *revision != wanted.revision {
                continue;
            }
            let never = self.character.never_runs && *revision == super::revision(BAD);
            let ready = if never { 0 } else { *size };
            self.runs.insert(revision.clone(), run(*size, ready));
        }
    }
}

pub(super) fn run(replicas: i32, ready: i32) -> Run {
    Run {
        replicas: Some(replicas),
        ready,
        pods: usize::try_from(replicas).unwrap(),
        settled: true,
        stillborn: ready < replicas,
    }
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

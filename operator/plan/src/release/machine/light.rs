//! What is seen, in the light of what is wanted.

use orlop_crds::release::{Promotion, ReleasePhase};

use super::{Release, Run, Step, Traffic};
use crate::revision::Revision;

pub(super) enum Active {
    Served(Revision),
    /// Nothing is recorded but two revisions run: a drain may have been under way.
    StatusLost {
        from: Revision,
        to: Revision,
    },
}

impl Step<'_> {
    pub(super) fn run(&self, revision: &Revision) -> Run {
        self.seen.runs.get(revision).copied().unwrap_or_default()
    }

    pub(super) fn selects(&self, revision: &Revision) -> bool {
        self.seen.selected.as_ref() == Some(revision)
    }

    /// The revision that is served, from the status or, where that was lost, from the world.
    pub(super) fn active(&self, recorded: Option<Revision>) -> Active {
        if let Some(active) = recorded {
            return Active::Served(active);
        }
        let runs = &self.seen.runs;
        let selected = self.seen.selected.clone();
        let Some(selected) = selected.filter(|revision| runs.contains_key(revision)) else {
            let healthy = runs.keys().filter(|revision| self.run(revision).ready > 0);
            let best =
                healthy.max_by_key(|revision| (**revision == self.goal, self.run(revision).ready));
            return Active::Served(best.unwrap_or(&self.goal).clone());
        };
        let mut others = runs.keys().filter(|revision| **revision != selected);
        match others.find(|revision| self.run(revision).ready > 0) {
            Some(from) => Active::StatusLost {
                from: from.clone(),
                to: selected,
            },
            None => Active::Served(selected),
        }
    }

    /// The size that a revision keeps while another one takes over.
    pub(super) fn size(&self, revision: &Revision) -> i32 {
        let run = self.run(revision);
        if run.stillborn && run.ready == 0 {
            0
        } else {
            run.replicas.unwrap_or(self.wanted.replicas)
        }
    }

    /// Whether as many as this phase wants are ready, or enough of them.
    pub(super) fn is_ready(&self, release: &Release) -> bool {
        let size = match release.phase {
            ReleasePhase::Scaling => self.wanted.replicas,
            _ => self.preview_size(release),
        };
        self.has_ready(release, size)
    }

    pub(super) fn has_ready(&self, release: &Release, size: i32) -> bool {
        let percent = i64::from(self.policy.ready_at_least);
        let enough = (i64::from(size) * percent + 99) / 100;
        let run = self.run(&release.to);
        run.settled && run.replicas == Some(size) && i64::from(run.ready) >= enough
    }

    /// Some of the new revision is ready and nothing of the one that is served.
    pub(super) fn is_all_there_is(&self, release: &Release) -> bool {
        self.policy.traffic == Traffic::Requests
            && self.run(&release.to).ready > 0
            && self.run(&release.from).ready == 0
    }

    /// Whether all of its own replicas are ready.
    pub(super) fn is_complete(&self, revision: &Revision) -> bool {
        let run = self.run(revision);
        run.settled && run.ready > 0 && Some(run.ready) >= run.replicas
    }

    /// Superseded when it had died, right after a switch that was not seen then, and alive again: it
    /// serves, so it is drained. What has not been let through is not meant: somebody edited the
    /// selector.
    pub(super) fn serves_unseen(&self, release: &Release) -> bool {
        let is_let_through = release.deaths > 0 || self.phases(release) == [ReleasePhase::Starting];
        release.phase == ReleasePhase::Starting
            && is_let_through
            && self.selects(&release.to)
            && self.is_complete(&release.to)
    }

    /// Whether the checks after the switch decide anything.
    pub(super) fn is_to_be_judged(&self, release: &Release) -> bool {
        self.policy.checks_after
            && self.goal == release.to
            && release.promoted != Some(Promotion::Full)
            // Without a replica there is nobody to ask, and without an old one no way back.
            && self.wanted.replicas > 0
            && release.from_replicas > 0
    }

    /// A superseded revision that is all that is ready: it serves until what is to be served is.
    pub(super) fn ready_instead_of(&self, served: &Revision) -> Option<Revision> {
        let is_needed = self.policy.traffic == Traffic::Requests && self.wanted.replicas > 0;
        let none_is_ready = self.run(served).ready == 0 && self.run(&self.goal).ready == 0;
        let mut ready = self.seen.runs.iter().filter(|(_, run)| run.ready > 0);
        let (revision, _) = ready.next().filter(|_| none_is_ready && is_needed)?;
        Some(revision.clone())
    }

    /// A revision that is to run without a replica is never worse.
    pub(super) fn is_worse(&self, release: &Release) -> bool {
        self.policy.traffic == Traffic::Requests
            && self.wanted.replicas > 0
            && self.run(&release.to).ready == 0
            && self.run(&release.from).ready > 0
    }
}

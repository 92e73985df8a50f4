//! One pass over one object.

use jiff::{SignedDuration, Timestamp};
use orlop_plan::{Action, Failure, Notice, NoticeLevel, Plan};
use tokio::time::Instant;

use super::{Engine, Memory, Outcome};
use crate::{
    act::{Acted, Author, Effect, End},
    action::{self, ActionError},
    expectation::Expectation,
    key::ObjectKey,
    metrics::{OutcomeLabels, ReleaseLabel},
    observe::observe,
    primary::Primary,
    releases::{self, Ended},
    report::Reported,
};

/// How long a data service that was acted upon may take to be read before the next pass is made
/// nevertheless: longer than any poll's deadline.
const POLLED_WITHIN: SignedDuration = SignedDuration::from_secs(5);

/// A Secret that was deleted is made anew within this time; each look is one request a Secret.
const SECRETS_EVERY: SignedDuration = SignedDuration::from_secs(15);

impl<P: Primary> Engine<P> {
    pub(super) async fn pass(&self, key: &ObjectKey) -> Outcome {
        let caches = &self.shared.caches;
        let object = P::store(caches).get(key);
        // What is deleted takes its children along by their owner references.
        let Some(object) = object.filter(|object| object.meta().deletion_timestamp.is_none())
        else {
            self.memories().remove(key);
            self.shared.pollers.forget(&(P::KIND, key.clone()));
            return Outcome::Settled;
        };
        if let Some(until) = self.held_until(key) {
            return Outcome::Held { until };
        }
        let observed = match observe(object.as_ref(), &self.shared).await {
            Ok(observed) => observed,
            Err(error) => return Outcome::Unobserved(error),
        };
        let now = Timestamp::now();
        let Plan {
            writes,
            actions,
            status,
            wake_at,
            notices,
        } = object.plan(&observed, &self.shared.settings, now);
        let author = Author {
            namespace: &key.namespace,
            kind: P::KIND.as_str(),
            name: &key.name,
            uid: object.meta().uid.as_deref().unwrap_or_default(),
            field_manager: P::FIELD_MANAGER,
        };
        let Acted { effects, end } = self.shared.actor.act(author, writes).await;
        let (status, notices, outcome) = match end {
            End::Complete => {
                // No watch tells of Secrets.
                let look = (!object.secrets().is_empty()).then(|| now + SECRETS_EVERY);
                let wake_at = wake_at.into_iter().chain(look).min();
                let settled = wake_at.map_or(Outcome::Settled, Outcome::WakeAt);
                let outcome = self
                    .perform(key, actions)
                    .await
                    .map_or_else(Outcome::Undone, |()| settled);
                (status, notices, outcome)
            }
            End::Failed(failure) => {
                let status = object.failed(status, &failure, now);
                let notices = notice(object.as_ref(), &status, &failure)
                    .into_iter()
                    .collect();
                (status, notices, Outcome::Hindered(failure))
            }
            End::Stale => return self.ended(key, effects, None, Outcome::Stale),
            End::Broken(error) => {
                return self.ended(key, effects, None, Outcome::Unwritten(error));
            }
        };
        match self.shared.reporter.status(object.as_ref(), &status).await {
            Reported::Unchanged => self.ended(key, effects, None, outcome),
            Reported::Written(version) => {
                self.shared.reporter.events(object.as_ref(), &notices).await;
                self.measure(object.recorded_status(), &status, now);
                self.ended(key, effects, version, outcome)
            }
            Reported::Stale => self.ended(key, effects, None, Outcome::Stale),
            Reported::Failed(error) => self.ended(key, effects, None, Outcome::Unreported(error)),
        }
    }

    /// What of releases has ended with this status.
    fn measure(&self, before: Option<&P::Status>, after: &P::Status, now: Timestamp) {
        let before = before.and_then(P::releases);
        let Some((before, after)) = before.zip(P::releases(after)) else {
            return;
        };
        let metrics = &self.shared.metrics;
        let kind = P::KIND.as_str();
        for ended in releases::ended(before, after, now) {
            match ended {
                Ended::Switch { seconds } => {
                    let labels = ReleaseLabel { kind };
                    metrics.switch_time.get_or_create(&labels).observe(seconds);
                }
                Ended::Release { outcome, seconds } => {
                    let labels = OutcomeLabels {
                        kind,
                        outcome: outcome.as_str(),
                    };
                    metrics.release_time.get_or_create(&labels).observe(seconds);
                }
            }
        }
    }

    /// Does to data services what is planned, and has them read anew.
    async fn perform(&self, key: &ObjectKey, actions: Vec<Action>) -> Result<(), ActionError> {
        if actions.is_empty() {
            return Ok(());
        }
        let done = action::perform(actions, &self.shared.metrics).await;
        let mut memories = self.memories();
        let memory = memories.entry(key.clone()).or_insert_with(Memory::new);
        memory.acted = Some(Timestamp::now());
        self.shared.pollers.hurry(&(P::KIND, key.clone()));
        done
    }

    /// Until when no pass is made: the caches do not yet show what the last one wrote, or the object
    /// is fought over.
    fn held_until(&self, key: &ObjectKey) -> Option<Instant> {
        let mut memories = self.memories();
        let memory = memories.get_mut(key)?;
        if let Some(expectation) = &memory.expectation {
            if !expectation.is_met::<P>(key, &self.shared.caches) {
                return Some(expectation.until);
            }
            memory.expectation = None;
        }
        if let Some(acted) = memory.acted {
            let reader = (P::KIND, key.clone());
            let until = acted + POLLED_WITHIN;
            let now = Timestamp::now();
            if now < until && !self.shared.pollers.have_asked_since(&reader, acted) {
                return Some(super::instant(until, now));
            }
            memory.acted = None;
        }
        let exhausted_until = memory.budget.exhausted_until();
        if memory.budget.is_full() {
            memories.remove(key);
        }
        exhausted_until
    }

    fn ended(
        &self,
        key: &ObjectKey,
        effects: Vec<Effect>,
        status: Option<u64>,
        outcome: Outcome,
    ) -> Outcome {
        if effects.is_empty() && status.is_none() {
            return outcome;
        }
        tracing::info!(
            writes = effects.len(),
            status_written = status.is_some(),
            "reconciled"
        );
        tracing::debug!(?effects, "written");
        let mut memories = self.memories();
        let memory = memories.entry(key.clone()).or_insert_with(Memory::new);
        if !effects.is_empty() {
            memory.budget.spend();
        }
        memory.expectation = Some(Expectation::new(effects, status));
        outcome
    }
}

/// What is told of a failure when it is not yet known. The plan's own notices are of a state that
/// was not reached.
fn notice<P: Primary>(object: &P, status: &P::Status, failure: &Failure) -> Option<Notice> {
    let before = object
        .recorded_status()
        .and_then(P::ready)
        .map(|ready| ready.reason.as_str());
    let after = P::ready(status)?;
    let reason = match failure {
        Failure::NameTaken { .. } => orlop_crds::Reason::NameTaken,
        Failure::Refused { .. } => orlop_crds::Reason::ApplyFailed,
    };
    (before != Some(after.reason.as_str())).then(|| Notice {
        level: NoticeLevel::Warning,
        reason,
        action: "Apply",
        message: after.message.clone(),
    })
}

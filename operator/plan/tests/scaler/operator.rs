//! One operator process: what it has measured, and its passes. All of it is lost when it ends.

use orlop_crds::worker_pool::ScalingDecision;
use orlop_plan::worker::{
    Reading, Window,
    scaler::{self, Decision, Policy, Seen},
};

use crate::{Millis, at, world::World};

#[derive(Default)]
pub(crate) struct Operator {
    pub(crate) window: Window,
    pub(crate) workers: Reading,
    pub(crate) born: Millis,
    /// Until when it is not there.
    pub(crate) away_until: Millis,
}

/// What a pass wants to be written.
pub(crate) enum Wanted {
    Nothing,
    Status(ScalingDecision),
    /// Workers, and the version of the Deployment that was seen.
    Deployment(u32, u64),
}

impl Operator {
    pub(crate) fn born(now: Millis, away: Millis) -> Self {
        Self {
            born: now + away,
            away_until: now + away,
            ..Self::default()
        }
    }

    /// A pass either records a decision or acts on the recorded one.
    pub(crate) fn pass(
        &self,
        policy: &Policy,
        status: Option<&ScalingDecision>,
        world: &World,
        seen_replicas: (Option<u32>, u64),
    ) -> (Decision, Wanted) {
        let seen = Seen {
            window: Some(&self.window),
            service_time: self.workers.service_time,
            in_flight: Some(self.workers.in_flight()),
            replicas: seen_replicas.0,
        };
        let decision = scaler::decide(policy, status, &seen, at(world.now));
        let desired = u32::try_from(decision.record.desired).unwrap();
        let wanted = if status != Some(&decision.record) {
            Wanted::Status(decision.record.clone())
        } else if seen_replicas.0 == Some(desired) {
            Wanted::Nothing
        } else {
            Wanted::Deployment(desired, seen_replicas.1)
        };
        (decision, wanted)
    }
}

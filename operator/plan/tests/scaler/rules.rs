//! What must hold at every write, whatever has gone wrong.

use std::collections::VecDeque;

use orlop_crds::worker_pool::ScalingDecision;
use orlop_plan::worker::scaler::{Policy, RECENT, STABLE_FOR};

use crate::Millis;

/// What was really there when something was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) at: Millis,
    pub(crate) depth: u64,
    pub(crate) unacknowledged: u64,
    /// Whether it was told as it was.
    pub(crate) honest: bool,
}

/// What the rules remember of a run.
#[derive(Default)]
pub(crate) struct Rules {
    heard: VecDeque<Heard>,
    /// Whether anybody but the operator changed something since the last decision.
    pub(crate) meddled: bool,
    writes_since_decision: u32,
    last_change: Option<Millis>,
    pub(crate) changes: u32,
    pub(crate) reversals: u32,
    rising: bool,
}

impl Rules {
    pub(crate) fn hear(&mut self, heard: Heard) {
        self.heard.push_back(heard);
        if self.heard.len() > 200 {
            self.heard.pop_front();
        }
    }

    pub(crate) fn forget(&mut self) {
        self.heard.clear();
    }

    /// A decision is about to be recorded.
    pub(crate) fn decided(
        &mut self,
        policy: &Policy,
        before: Option<&ScalingDecision>,
        after: &ScalingDecision,
        now: Millis,
    ) -> Result<(), String> {
        let desired = u32::try_from(after.desired).map_err(|_| "fewer than no workers")?;
        if desired < policy.min || desired > policy.max {
            return Err(format!("{desired} workers are out of bounds"));
        }
        let recent = i64::try_from(RECENT.as_millis()).unwrap() - 1000;
        if let (Some(before), Some(last)) = (before, self.last_change)
            && after.desired < before.desired
            && u32::try_from(before.desired).unwrap() <= policy.max
            && now - last < recent
        {
            return Err(format!("fewer workers {} ms after a change", now - last));
        }
        if let Some(before) = before {
            let rising = after.desired > before.desired;
            self.reversals += u32::from(rising != self.rising);
            self.rising = rising;
        }
        self.changes += 1;
        self.last_change = Some(now);
        self.writes_since_decision = 0;
        self.meddled = false;
        Ok(())
    }

    /// The Deployment is about to be written.
    pub(crate) fn written(
        &mut self,
        policy: &Policy,
        status: Option<&ScalingDecision>,
        (before, after): (Option<u32>, u32),
        (now, born): (Millis, Millis),
    ) -> Result<(), String> {
        if status.map(|status| status.desired) != i32::try_from(after).ok() {
            return Err(format!("{after} workers were not recorded before"));
        }
        self.writes_since_decision += 1;
        if self.writes_since_decision > 1 && !self.meddled {
            return Err("one decision was written twice".to_owned());
        }
        let before = before.unwrap_or(0);
        if after >= before || before > policy.max {
            return Ok(());
        }
        self.lowered(policy, after, now, born)
    }

    fn lowered(
        &self,
        policy: &Policy,
        after: u32,
        now: Millis,
        born: Millis,
    ) -> Result<(), String> {
        let stable = i64::try_from(STABLE_FOR.as_millis()).unwrap();
        if now - born < stable {
            return Err(format!("fewer workers {} ms after a start", now - born));
        }
        let newest = self
            .heard
            .back()
            .ok_or("fewer workers without statistics")?;
        if now - newest.at > 11_000 {
            return Err(format!("fewer workers, blind for {} ms", now - newest.at));
        }
        let honest = || self.heard.iter().rev().filter(|heard| heard.honest);
        if let Some(heard) = honest().next()
            && now - heard.at < 8000
            && u64::from(after) * u64::from(policy.concurrency) < heard.unacknowledged
        {
            let doing = heard.unacknowledged;
            return Err(format!("{after} workers for {doing} jobs in their hands"));
        }
        if after == 0 {
            let during = now - stable + 2000;
            if let Some(heard) = honest().find(|heard| heard.at > during && heard.depth > 0) {
                let (depth, ago) = (heard.depth, now - heard.at);
                return Err(format!("no workers, but {depth} messages {ago} ms ago"));
            }
        }
        Ok(())
    }
}

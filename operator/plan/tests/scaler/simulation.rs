//! A run: time passes, jobs arrive, statistics are read or not, passes are made, writes meet their
//! fate.

use std::{collections::VecDeque, time::Duration};

use orlop_crds::worker_pool::ScalingDecision;
use orlop_plan::{broker::QueueStatistics, worker::scaler::Policy};

use crate::{
    Millis, at,
    operator::{Operator, Wanted},
    rules::{Heard, Rules},
    seed::Dice,
    world::World,
};

/// Nothing here happens faster.
pub(crate) const STEP: Millis = 200;
/// Polls and passes are so far apart.
const TICK: Millis = 1000;
/// What a person wants to see of a run that broke a rule.
const TRACE_LENGTH: usize = 60;

/// What goes wrong, each in a thousand of its chances.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    /// A reading does not come.
    pub(crate) lost: usize,
    /// A reading tells what was some seconds ago.
    pub(crate) late: usize,
    /// A reading holds no counts.
    pub(crate) empty: usize,
    /// A reading says that there is nothing.
    pub(crate) false_zero: usize,
    /// A write is not done, or done without an answer, or the operator ends before or after it.
    pub(crate) write: usize,
    /// A pass sees the Deployment as it was before its last change.
    pub(crate) stale: usize,
}

pub(crate) struct Simulation {
    pub(crate) dice: Dice,
    pub(crate) world: World,
    pub(crate) policy: Policy,
    pub(crate) operator: Operator,
    pub(crate) status: Option<ScalingDecision>,
    pub(crate) rules: Rules,
    pub(crate) faults: Faults,
    /// Messages a second, in thousandths.
    pub(crate) rate: u64,
    owed: u64,
    /// Of the last seconds, for what comes late.
    history: VecDeque<QueueStatistics>,
    before: (Option<u32>, u64),
    trace: VecDeque<String>,
    /// Writes of either kind.
    pub(crate) writes: u32,
}

/// How a write ends for who sent it.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Answered,
    Lost,
    AnswerLost,
    CrashBefore,
    CrashAfter,
}

impl Simulation {
    pub(crate) fn new(seed: u64, policy: Policy, prefetch: u32) -> Self {
        Self {
            dice: Dice::new(seed),
            world: World::new(policy.concurrency, prefetch),
            policy,
            operator: Operator::default(),
            status: None,
            rules: Rules::default(),
            faults: Faults::default(),
            rate: 0,
            owed: 0,
            history: VecDeque::new(),
            before: (None, 0),
            trace: VecDeque::new(),
            writes: 0,
        }
    }

    pub(crate) fn run(&mut self, millis: Millis) -> Result<(), String> {
        let end = self.world.now + millis;
        while self.world.now < end {
            self.step()?;
        }
        Ok(())
    }

    pub(crate) fn step(&mut self) -> Result<(), String> {
        self.arrive();
        self.world.step(STEP, &mut self.dice);
        if self.world.now % TICK != 0 {
            return Ok(());
        }
        self.remember();
        if self.operator.away_until > self.world.now {
            return Ok(());
        }
        self.poll();
        // A write wakes the next pass.
        for _ in 0..4 {
            if !self.pass()? {
                break;
            }
        }
        Ok(())
    }

    pub(crate) fn crash(&mut self) {
        let away = self.dice.between(1, 30) * TICK;
        self.tell("the operator ends");
        self.operator = Operator::born(self.world.now, away);
        self.rules.forget();
    }

    pub(crate) fn tell(&mut self, what: &str) {
        let (now, depth) = (self.world.now, self.world.depth());
        let replicas = self.world.replicas;
        if self.trace.len() == TRACE_LENGTH {
            self.trace.pop_front();
        }
        self.trace.push_back(format!(
            "{now:>8} ms  {depth:>6} messages  {replicas:?}  {what}"
        ));
    }

    pub(crate) fn trace(&self) -> String {
        self.trace
            .iter()
            .fold(String::new(), |all, line| all + line + "\n")
    }

    fn arrive(&mut self) {
        self.owed += self.rate * u64::try_from(STEP).unwrap();
        self.world.publish(self.owed / 1_000_000);
        self.owed %= 1_000_000;
    }

    fn remember(&mut self) {
        self.history.push_front(self.world.told());
        self.history.truncate(4);
    }

    fn poll(&mut self) {
        let now = self.world.now;
        let there: Vec<_> = self.world.workers().collect();
        let lost = self.faults.lost;
        let answers: Vec<_> = there
            .iter()
            .filter(|_| !self.dice.per_mille(lost))
            .cloned()
            .collect();
        let is_there = |pod: &str| there.iter().any(|(name, _)| name == pod);
        let workers = std::mem::take(&mut self.operator.workers);
        self.operator.workers = workers.after(at(now), answers, is_there);
        if self.world.is_broker_away() || self.dice.per_mille(self.faults.lost) {
            return;
        }
        if self.dice.per_mille(self.faults.empty) {
            self.operator
                .window
                .push(at(now), &QueueStatistics::default());
            return;
        }
        let age = if self.dice.per_mille(self.faults.late) {
            self.dice.below(self.history.len())
        } else {
            0
        };
        let mut told = self.history[age];
        let honest = !self.dice.per_mille(self.faults.false_zero);
        if !honest {
            told.ready = Some(0);
            told.unacknowledged = Some(0);
        }
        self.rules.hear(Heard {
            at: now,
            depth: told.ready.unwrap() + told.unacknowledged.unwrap(),
            unacknowledged: told.unacknowledged.unwrap(),
            honest: honest && age == 0,
        });
        self.operator.window.push(at(now), &told);
    }

    /// Whether something was written.
    fn pass(&mut self) -> Result<bool, String> {
        let seen = if self.dice.per_mille(self.faults.stale) {
            self.before
        } else {
            (self.world.replicas, self.world.version)
        };
        let status = self.status.clone();
        let (_, wanted) = self
            .operator
            .pass(&self.policy, status.as_ref(), &self.world, seen);
        match wanted {
            Wanted::Nothing => Ok(false),
            Wanted::Status(record) => self.write_status(&record),
            Wanted::Deployment(replicas, version) => self.write_deployment(replicas, version),
        }
    }

    fn write_status(&mut self, record: &ScalingDecision) -> Result<bool, String> {
        let fate = self.fate();
        if !matches!(fate, Fate::Lost | Fate::CrashBefore) {
            self.tell(&format!("recorded {record:?}"));
            self.rules
                .decided(&self.policy, self.status.as_ref(), record, self.world.now)?;
            // As it comes back from the API server.
            let stored = serde_json::to_string(record).unwrap();
            let stored: ScalingDecision = serde_json::from_str(&stored).unwrap();
            if stored != *record {
                return Err("the status comes back as another".to_owned());
            }
            self.status = Some(stored);
        }
        Ok(self.ends(fate))
    }

    fn write_deployment(&mut self, replicas: u32, version: u64) -> Result<bool, String> {
        let fate = self.fate();
        if version == self.world.version && !matches!(fate, Fate::Lost | Fate::CrashBefore) {
            let times = (self.world.now, self.operator.born);
            let change = (self.world.replicas, replicas);
            self.rules
                .written(&self.policy, self.status.as_ref(), change, times)?;
            self.set_replicas(Some(replicas));
            self.tell("the Deployment was written");
        }
        Ok(self.ends(fate))
    }

    pub(crate) fn set_replicas(&mut self, replicas: Option<u32>) {
        self.before = (self.world.replicas, self.world.version);
        self.world.replicas = replicas;
        self.world.version += 1;
    }

    fn fate(&mut self) -> Fate {
        self.writes += 1;
        if !self.dice.per_mille(self.faults.write) {
            return Fate::Answered;
        }
        let fates = [
            Fate::Lost,
            Fate::AnswerLost,
            Fate::CrashBefore,
            Fate::CrashAfter,
        ];
        *self.dice.pick(&fates)
    }

    fn ends(&mut self, fate: Fate) -> bool {
        if matches!(fate, Fate::CrashBefore | Fate::CrashAfter) {
            self.crash();
        }
        fate == Fate::Answered
    }
}

/// Bounds of 0 to 20 workers of 4 jobs at once, a minute for the backlog.
pub(crate) fn policy() -> Policy {
    Policy {
        min: 0,
        max: 20,
        concurrency: 4,
        drain_within: Duration::from_mins(1),
        expected_service_time: Duration::from_secs(1),
    }
}

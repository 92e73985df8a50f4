//! The queue, the broker that holds and counts it, and the workers.

use orlop_contract::worker::{Jobs, WorkerStats};
use orlop_plan::broker::QueueStatistics;

use crate::{Millis, seed::Dice};

/// How often the broker counts depths and acknowledgements anew: not at the same moments.
const REFRESH: Millis = 1000;
const ACKNOWLEDGED_AFTER: Millis = 400;

/// A queue and its workers.
pub(crate) struct World {
    pub(crate) now: Millis,
    pub(crate) ready: u64,
    pub(crate) arrived: u64,
    pub(crate) done: u64,
    /// Since the broker's start.
    acknowledged: u64,
    /// What the broker tells.
    told: QueueStatistics,
    /// While it restarts.
    pub(crate) away_until: Millis,
    /// What the Deployment asks for, and how often it was written.
    pub(crate) replicas: Option<u32>,
    pub(crate) version: u64,
    pods: Vec<Pod>,
    started: u64,
    turn: usize,
    pub(crate) concurrency: usize,
    pub(crate) prefetch: usize,
    pub(crate) job: (Millis, Millis),
    pub(crate) start: (Millis, Millis),
    /// How much later than depths it counts acknowledgements.
    pub(crate) lag: Millis,
}

struct Pod {
    id: u64,
    ready_at: Millis,
    draining: bool,
    /// When each job that is being done began and will end.
    doing: Vec<(Millis, Millis)>,
    waiting: u64,
    done: u64,
    busy: Millis,
}

impl World {
    pub(crate) fn new(concurrency: u32, prefetch: u32) -> Self {
        Self {
            now: 0,
            ready: 0,
            arrived: 0,
            done: 0,
            acknowledged: 0,
            told: counts(0, 0, 0),
            away_until: 0,
            replicas: None,
            version: 0,
            pods: Vec::new(),
            started: 0,
            turn: 0,
            concurrency: usize::try_from(concurrency).unwrap(),
            prefetch: usize::try_from(prefetch).unwrap(),
            job: (200, 200),
            start: (1000, 5000),
            lag: ACKNOWLEDGED_AFTER,
        }
    }

    pub(crate) fn publish(&mut self, messages: u64) {
        self.ready += messages;
        self.arrived += messages;
    }

    /// Messages with workers.
    pub(crate) fn unacknowledged(&self) -> u64 {
        self.pods.iter().map(Pod::holds).sum()
    }

    pub(crate) fn depth(&self) -> u64 {
        self.ready + self.unacknowledged()
    }

    pub(crate) fn is_broker_away(&self) -> bool {
        self.now < self.away_until
    }

    pub(crate) fn step(&mut self, millis: Millis, dice: &mut Dice) {
        self.now += millis;
        self.deploy(dice);
        if self.is_broker_away() {
            return;
        }
        let (now, job) = (self.now, self.job);
        for pod in &mut self.pods {
            let finished = pod.finish(now);
            self.done += finished;
            self.acknowledged += finished;
        }
        self.hand_out();
        for pod in &mut self.pods {
            while pod.waiting > 0 && pod.doing.len() < self.concurrency {
                pod.waiting -= 1;
                pod.doing.push((now, now + dice.between(job.0, job.1)));
            }
        }
        self.pods.retain(|pod| !pod.draining || pod.holds() > 0);
        self.refresh(millis);
    }

    /// In turn, as a broker does it.
    fn hand_out(&mut self) {
        let (now, prefetch) = (self.now, self.prefetch as u64);
        loop {
            let mut takers = 0;
            let first = self.turn % self.pods.len().max(1);
            self.turn += 1;
            let (end, begin) = self.pods.split_at_mut(first);
            for pod in begin.iter_mut().chain(end) {
                let has_room = pod.ready_at <= now && !pod.draining && pod.holds() < prefetch;
                if has_room && self.ready > 0 {
                    self.ready -= 1;
                    pod.waiting += 1;
                    takers += 1;
                }
            }
            if takers == 0 {
                return;
            }
        }
    }

    /// What the broker tells now.
    pub(crate) fn told(&self) -> QueueStatistics {
        self.told
    }

    /// What it would tell if it counted in this moment.
    pub(crate) fn truth(&self) -> QueueStatistics {
        counts(self.ready, self.unacknowledged(), self.acknowledged)
    }

    /// Connections end, so everything that was taken comes back; counters start anew.
    pub(crate) fn restart_broker(&mut self, away: Millis) {
        self.away_until = self.now + away;
        self.ready += self.unacknowledged();
        for pod in &mut self.pods {
            pod.doing.clear();
            pod.waiting = 0;
        }
        self.acknowledged = 0;
        self.told = counts(self.ready, 0, 0);
    }

    pub(crate) fn purge(&mut self) {
        self.arrived -= self.ready;
        self.ready = 0;
    }

    /// What each worker that runs says of itself.
    pub(crate) fn workers(&self) -> impl Iterator<Item = (String, WorkerStats)> {
        let running = self.pods.iter().filter(|pod| pod.ready_at <= self.now);
        running.map(|pod| (format!("pod-{}", pod.id), pod.statistics()))
    }

    fn deploy(&mut self, dice: &mut Dice) {
        let wanted = usize::try_from(self.replicas.unwrap_or(0)).unwrap();
        let mut staying = self.pods.iter().filter(|pod| !pod.draining).count();
        while staying < wanted {
            self.started += 1;
            self.pods.push(Pod {
                id: self.started,
                ready_at: self.now + dice.between(self.start.0, self.start.1),
                draining: false,
                doing: Vec::new(),
                waiting: 0,
                done: 0,
                busy: 0,
            });
            staying += 1;
        }
        for pod in self.pods.iter_mut().rev().filter(|pod| !pod.draining) {
            if staying <= wanted {
                break;
            }
            pod.draining = true;
            staying -= 1;
        }
    }

    fn refresh(&mut self, millis: Millis) {
        let passed = |offset: Millis| {
            (self.now - offset).div_euclid(REFRESH)
                != (self.now - millis - offset).div_euclid(REFRESH)
        };
        let truth = self.truth();
        if passed(0) {
            self.told.ready = truth.ready;
            self.told.unacknowledged = truth.unacknowledged;
        }
        if passed(self.lag) {
            self.told.acknowledged_total = truth.acknowledged_total;
        }
    }
}

impl Pod {
    fn holds(&self) -> u64 {
        self.doing.len() as u64 + self.waiting
    }

    fn finish(&mut self, now: Millis) -> u64 {
        let before = self.doing.len();
        let ended = self.doing.iter().filter(|(_, end)| *end <= now);
        self.busy += ended.map(|(begin, _)| now - begin).sum::<Millis>();
        self.doing.retain(|(_, end)| *end > now);
        let finished = (before - self.doing.len()) as u64;
        self.done += finished;
        finished
    }

    #[allow(clippy::cast_precision_loss)]
    fn statistics(&self) -> WorkerStats {
        WorkerStats {
            start: self.id.to_string(),
            connected: true,
            draining: self.draining,
            jobs: Jobs {
                done: self.done,
                ..Jobs::default()
            },
            redelivered: 0,
            busy_seconds: self.busy as f64 / 1000.0,
            in_flight: self.doing.len() as u64,
            last_error: None,
            handler_failure: None,
        }
    }
}

pub(crate) fn counts(ready: u64, unacknowledged: u64, acknowledged: u64) -> QueueStatistics {
    QueueStatistics {
        ready: Some(ready),
        unacknowledged: Some(unacknowledged),
        acknowledged_total: Some(acknowledged),
        ..QueueStatistics::default()
    }
}

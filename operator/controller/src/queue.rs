//! The work queue: which objects want a pass, in which order, and when.
//!
//! - A key waits at most once and is never worked on twice at the same time; what is added while
//!   its pass runs is worked on after it.
//! - First come, first served: since a key that failed comes back behind all others, and only after
//!   its own growing delay, it does not slow them.
//! - The queue's size is bounded by the number of objects that exist.
//!
//! kube-runtime has a scheduler of its own; it tells nothing of its depth, its delays or its
//! retries, which is what dashboards of operators show.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus_client::metrics::{counter::Counter, histogram::Histogram};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{
    key::ObjectKey,
    metrics::{Metrics, QueueLabels},
};

/// Delay before the first retry: a first failure is mostly a stale read, and the event that cures
/// it takes about this long.
const SHORTEST_RETRY: Duration = Duration::from_millis(50);
/// Longest delay between retries: what was put right outside of our sight is noticed in this time,
/// and what cannot succeed costs two requests a minute.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
    meters: Meters,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<(ObjectKey, Instant)>,
    /// The keys of `ready`.
    waiting: HashSet<ObjectKey>,
    running: HashMap<ObjectKey, Running>,
    alarms: BTreeSet<(Instant, ObjectKey)>,
    /// The times in `alarms`.
    alarm_of: HashMap<ObjectKey, Instant>,
    failures: HashMap<ObjectKey, u32>,
    closed: bool,
}

#[derive(Debug)]
struct Running {
    since: Instant,
    /// Added again since the pass began.
    again: bool,
}

#[derive(Debug)]
struct Meters {
    adds: Counter,
    retries: Counter,
    wait: Histogram,
    work: Histogram,
}

/// What a queue looks like at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Snapshot {
    /// Keys that wait.
    pub(crate) depth: usize,
    /// Age of all passes under way together.
    pub(crate) unfinished: Duration,
    /// Age of the oldest pass under way.
    pub(crate) longest: Duration,
}

impl Queue {
    pub(crate) fn new(name: &'static str, metrics: &Metrics) -> Self {
        let labels = QueueLabels::new(name);
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            meters: Meters {
                adds: metrics.queue_adds.get_or_create_owned(&labels),
                retries: metrics.queue_retries.get_or_create_owned(&labels),
                wait: metrics.queue_wait.get_or_create_owned(&labels),
                work: metrics.queue_work.get_or_create_owned(&labels),
            },
        }
    }

    /// Wants a pass now, whatever delay was asked for before.
    pub(crate) fn add(&self, key: ObjectKey) {
        if self.lock().add(key, Instant::now()) {
            self.meters.adds.inc();
        }
        self.changed.notify_one();
    }

    /// Wants a pass at a time; of several times the earliest counts.
    pub(crate) fn add_at(&self, key: ObjectKey, at: Instant) {
        self.lock().set_alarm(key, at);
        self.changed.notify_one();
    }

    /// Wants a pass after a delay that doubles with every call since [`Self::forget`].
    pub(crate) fn retry(&self, key: ObjectKey) {
        self.meters.retries.inc();
        let failures = self.lock().fail(key.clone());
        self.add_at(key, Instant::now() + delay(failures, rand::random()));
    }

    /// The key has succeeded: its next retry comes as quickly as a first one.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        self.lock().failures.remove(key);
    }

    /// The next key, which is then worked on until [`Self::done`]; none once the queue is closed.
    /// One caller at a time.
    pub(crate) async fn next(&self) -> Option<ObjectKey> {
        loop {
            let alarm = {
                let now = Instant::now();
                let mut state = self.lock();
                if state.closed {
                    return None;
                }
                for _ in 0..state.ring(now) {
                    self.meters.adds.inc();
                }
                if let Some((key, since)) = state.take(now) {
                    self.meters.wait.observe((now - since).as_secs_f64());
                    return Some(key);
                }
                state.alarms.first().map(|(at, _)| *at)
            };
            let changed = self.changed.notified();
            match alarm {
                Some(at) => tokio::select! { () = changed => (), () = sleep_until(at) => () },
                None => changed.await,
            }
        }
    }

    /// The pass over the key has ended.
    pub(crate) fn done(&self, key: &ObjectKey) {
        let now = Instant::now();
        let took = self.lock().finish(key, now);
        if let Some(took) = took {
            self.meters.work.observe(took.as_secs_f64());
        }
        self.changed.notify_one();
    }

    /// No further key is given out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let now = Instant::now();
        let state = self.lock();
        let ages = || state.running.values().map(|running| now - running.since);
        Snapshot {
            depth: state.ready.len(),
            unfinished: ages().sum(),
            longest: ages().max().unwrap_or_default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether the key was not waiting already.
    fn add(&mut self, key: ObjectKey, now: Instant) -> bool {
        if let Some(running) = self.running.get_mut(&key) {
            return !std::mem::replace(&mut running.again, true);
        }
        let new = self.waiting.insert(key.clone());
        if new {
            self.ready.push_back((key, now));
        }
        new
    }

    fn set_alarm(&mut self, key: ObjectKey, at: Instant) {
        if let Some(earlier) = self.alarm_of.get(&key) {
            if *earlier <= at {
                return;
            }
            self.alarms.remove(&(*earlier, key.clone()));
        }
        self.alarms.insert((at, key.clone()));
        self.alarm_of.insert(key, at);
    }

    /// Adds the keys whose time has come and tells how many of them were not waiting.
    fn ring(&mut self, now: Instant) -> usize {
        let mut added = 0;
        while self.alarms.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, key)) = self.alarms.pop_first() {
                self.alarm_of.remove(&key);
                added += usize::from(self.add(key, now));
            }
        }
        added
    }

    /// The oldest waiting key and since when it waited. Its alarm is switched off: the pass decides
    /// anew when it wants to be woken.
    fn take(&mut self, now: Instant) -> Option<(ObjectKey, Instant)> {
        let (key, since) = self.ready.pop_front()?;
        self.waiting.remove(&key);
        if let Some(at) = self.alarm_of.remove(&key) {
            self.alarms.remove(&(at, key.clone()));
        }
        self.running.insert(
            key.clone(),
            Running {
                since: now,
                again: false,
            },
        );
        Some((key, since))
    }

    fn finish(&mut self, key: &ObjectKey, now: Instant) -> Option<Duration> {
        let running = self.running.remove(key)?;
        if running.again {
            self.add(key.clone(), now);
        }
        Some(now - running.since)
    }

    fn fail(&mut self, key: ObjectKey) -> u32 {
        let failures = self.failures.entry(key).or_default();
        *failures = failures.saturating_add(1);
        *failures
    }
}

/// Delay before the retry after that many failures: doubling, with up to a fifth taken off by
/// chance (`luck` from 0 to 1), so that objects that failed together do not come back together.
fn delay(failures: u32, luck: f64) -> Duration {
    let doubled = SHORTEST_RETRY.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(LONGEST_RETRY).mul_f64(1.0 - luck / 5.0)
}

#[cfg(test)]
mod tests;

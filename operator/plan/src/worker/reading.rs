//! What was read of a pool's workers: their own statistics, and how long a job takes.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use orlop_contract::worker::{Jobs, WorkerStats};

/// What the workers said last. They are asked a few at a time, so each answer has its own age.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// By pod. A pod that has not answered yet, or does not any more, is not in it.
    pub pods: BTreeMap<String, PodStatistics>,
    /// How long a job takes.
    pub service_time: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PodStatistics {
    /// When they came.
    pub at: Timestamp,
    pub statistics: WorkerStats,
}

/// Pods whose answers are kept.
const PODS_MAX: usize = 1000;
/// A pod that has not answered for so long is left out: with sixteen pods a tick, even the largest
/// pool is asked more often.
const FORGET_AFTER: SignedDuration = SignedDuration::from_secs(90);
/// The time of a job is that of the attempts of the last so long ...
const MEASURED_OVER: SignedDuration = SignedDuration::from_secs(60);
/// ... or of the last so many, whichever is longer: a few say little.
const ATTEMPTS_MIN: u64 = 100;
/// One a second and pod is more than enough.
const MEASURES_MAX: usize = 1024;

/// The measurements of one pool, kept by who polls it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measurements {
    pods: BTreeMap<String, PodStatistics>,
    /// Attempts that ended between two answers of a pod, oldest first.
    measures: VecDeque<Measure>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Measure {
    at: Timestamp,
    attempts: u64,
    busy: f64,
}

impl Measurements {
    /// Takes in what one worker said.
    pub fn push(&mut self, at: Timestamp, pod: &str, statistics: WorkerStats) {
        let before = self.pods.get(pod).map(|known| &known.statistics);
        if let Some(measure) = measure(at, before, &statistics) {
            self.measures.push_back(measure);
        }
        let known = self.pods.len() < PODS_MAX || self.pods.contains_key(pod);
        if known {
            self.pods
                .insert(pod.to_owned(), PodStatistics { at, statistics });
        }
        self.pods
            .retain(|_, known| at.duration_since(known.at) <= FORGET_AFTER);
        self.forget_old(at);
    }

    /// Keeps only the pods that are still there.
    pub fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.pods.retain(|pod, _| is_there(pod));
    }

    #[must_use]
    pub fn reading(&self) -> Reading {
        let attempts: u64 = self.measures.iter().map(|measure| measure.attempts).sum();
        let busy: f64 = self.measures.iter().map(|measure| measure.busy).sum();
        let seconds = busy / as_f64(attempts.max(1));
        Reading {
            pods: self.pods.clone(),
            service_time: (attempts > 0)
                .then(|| Duration::try_from_secs_f64(seconds).ok())
                .flatten(),
        }
    }

    fn forget_old(&mut self, at: Timestamp) {
        let mut attempts: u64 = self.measures.iter().map(|measure| measure.attempts).sum();
        while let Some(oldest) = self.measures.front().copied() {
            let is_old = at.duration_since(oldest.at) > MEASURED_OVER;
            let enough = attempts - oldest.attempts >= ATTEMPTS_MIN;
            if self.measures.len() <= MEASURES_MAX && !(is_old && enough) {
                break;
            }
            attempts -= oldest.attempts;
            self.measures.pop_front();
        }
    }
}

/// What a worker did between two answers. Its counters begin with zero at each start.
fn measure(at: Timestamp, before: Option<&WorkerStats>, now: &WorkerStats) -> Option<Measure> {
    let same_run = before.filter(|before| before.start == now.start);
    let attempts =
        ended(&now.jobs).checked_sub(same_run.map_or(0, |before| ended(&before.jobs)))?;
    let busy = now.busy_seconds - same_run.map_or(0.0, |before| before.busy_seconds);
    (attempts > 0 && busy.is_finite() && busy >= 0.0).then_some(Measure { at, attempts, busy })
}

/// An attempt that failed has kept its worker busy, and the job comes again.
fn ended(jobs: &Jobs) -> u64 {
    let Jobs {
        done,
        retried,
        dead,
        returned,
    } = *jobs;
    done.saturating_add(retried)
        .saturating_add(dead)
        .saturating_add(returned)
}

/// Counts of jobs stay far below 2^53.
#[allow(clippy::cast_precision_loss)]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn statistics(start: &str, done: u64, busy_seconds: f64) -> WorkerStats {
        WorkerStats {
            start: start.to_owned(),
            connected: true,
            draining: false,
            jobs: Jobs {
                done,
                ..Jobs::default()
            },
            redelivered: 0,
            busy_seconds,
            in_flight: 0,
            last_error: None,
            handler_failure: None,
        }
    }

    fn measured(answers: &[(i64, &str, &str, u64, f64)]) -> Option<Duration> {
        let mut measurements = Measurements::default();
        for (second, pod, start, done, busy) in answers {
            measurements.push(at(*second), pod, statistics(start, *done, *busy));
        }
        measurements.reading().service_time
    }

    #[test]
    fn the_time_of_a_job_is_that_of_all_pods_together() {
        let answers = [
            (0, "a", "1", 10, 1.0),
            (0, "b", "2", 10, 5.0),
            (1, "a", "1", 30, 3.0),
        ];
        assert_eq!(measured(&answers), Some(Duration::from_millis(200)));
    }

    #[test]
    fn a_worker_that_starts_anew_has_counted_from_zero() {
        let answers = [(0, "a", "1", 100, 10.0), (1, "a", "2", 100, 30.0)];
        assert_eq!(measured(&answers), Some(Duration::from_millis(200)));
    }

    #[test]
    fn nothing_is_measured_before_a_job_has_ended() {
        assert_eq!(measured(&[(0, "a", "1", 0, 0.0)]), None);
    }

    #[test]
    fn what_is_old_counts_no_more_once_there_is_enough_that_is_newer() {
        let few = [(0, "a", "1", 100, 100.0), (100, "a", "1", 101, 100.0)];
        assert_eq!(measured(&few), Some(Duration::from_secs_f64(100.0 / 101.0)));
        let many = [(0, "a", "1", 100, 100.0), (100, "a", "1", 200, 110.0)];
        assert_eq!(measured(&many), Some(Duration::from_millis(100)));
    }

    #[test]
    fn pods_that_are_gone_are_forgotten() {
        let mut measurements = Measurements::default();
        measurements.push(at(0), "a", statistics("1", 1, 1.0));
        measurements.push(at(1), "b", statistics("2", 1, 1.0));
        measurements.retain(|pod| pod == "b");
        assert_eq!(
            measurements.reading().pods.keys().collect::<Vec<_>>(),
            ["b"]
        );
        measurements.push(at(200), "c", statistics("3", 1, 1.0));
        assert_eq!(
            measurements.reading().pods.keys().collect::<Vec<_>>(),
            ["c"]
        );
    }
}

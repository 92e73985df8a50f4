//! What was read of a pool's workers: how they are, and how long a job takes.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use orlop_contract::worker::{BrokerError, Jobs, WorkerStats};

/// What the workers of a pool said last. They are asked a few at a time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// By pod. A pod that has not answered yet, or does not any more, is not in it.
    pub workers: BTreeMap<String, Worker>,
    /// How long a job takes.
    pub service_time: Option<Duration>,
    /// Answers that were not looked at yet.
    answers: Vec<(String, WorkerStats)>,
    measurements: Measurements,
}

/// A worker, as far as it is looked at. Nothing in it changes with time alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Worker {
    /// Whether it was told to stop.
    pub draining: bool,
    /// Jobs that it is doing.
    pub in_flight: u64,
    /// What is wrong between it and the broker.
    pub broker_error: Option<BrokerError>,
    /// Why jobs fail, if the last ones did.
    pub handler_failure: Option<String>,
}

/// Pods whose answers are kept.
const PODS_MAX: usize = 1000;
/// A pod that has not answered for so long is left out: sixteen of them are asked every two seconds,
/// so that even the largest pool is asked more often.
const FORGET_AFTER: SignedDuration = SignedDuration::from_secs(150);
/// The time of a job is that of the attempts of the last so long ...
const MEASURED_OVER: SignedDuration = SignedDuration::from_secs(60);
/// ... or of the last so many, whichever is longer: a few say little.
const ATTEMPTS_MIN: u64 = 100;
/// One a second and pod is more than enough.
const MEASURES_MAX: usize = 1024;
/// One job that fails may be the job's fault; several in a row are the handler's.
const FAILURES_IN_A_ROW_MIN: u64 = 2;

/// Two count as equal: what they add up to stands in the [`Reading`], and they are by themselves no
/// news.
#[derive(Clone, Debug, Default)]
struct Measurements {
    /// The last counters of each pod, and when they came.
    pods: BTreeMap<String, (Timestamp, Counters)>,
    /// Attempts that ended between two answers of a pod, oldest first.
    measures: VecDeque<Measure>,
}

impl PartialEq for Measurements {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Of one run of a worker's process: they begin with zero.
#[derive(Clone, Debug)]
struct Counters {
    start: String,
    attempts: u64,
    busy: f64,
}

#[derive(Clone, Copy, Debug)]
struct Measure {
    at: Timestamp,
    attempts: u64,
    busy: f64,
}

impl Reading {
    /// What some of the workers have just answered.
    #[must_use]
    pub fn answered(answers: Vec<(String, WorkerStats)>) -> Self {
        Self {
            answers,
            ..Self::default()
        }
    }

    /// The same in the light of what was known before.
    #[must_use]
    pub fn following(
        self,
        before: Option<&Self>,
        at: Timestamp,
        is_there: impl Fn(&str) -> bool,
    ) -> Self {
        let before = before.cloned().unwrap_or_default();
        before.after(at, self.answers, is_there)
    }

    /// What is known after some of the workers have answered. `is_there` tells of a pod whether it
    /// still exists.
    #[must_use]
    pub fn after(
        mut self,
        at: Timestamp,
        answers: impl IntoIterator<Item = (String, WorkerStats)>,
        is_there: impl Fn(&str) -> bool,
    ) -> Self {
        for (pod, said) in answers {
            self.measurements.push(at, &pod, &said);
            self.workers.insert(pod, worker(said));
        }
        let pods = &mut self.measurements.pods;
        pods.retain(|pod, (then, _)| at.duration_since(*then) <= FORGET_AFTER && is_there(pod));
        while pods.len() > PODS_MAX {
            pods.pop_last();
        }
        let known = &self.measurements.pods;
        self.workers.retain(|pod, _| known.contains_key(pod));
        self.measurements.forget_old(at);
        self.service_time = self.measurements.service_time();
        self
    }

    /// Jobs that are being done.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.workers.values().map(|worker| worker.in_flight).sum()
    }
}

fn worker(said: WorkerStats) -> Worker {
    let WorkerStats {
        start: _,
        connected: _,
        draining,
        jobs: _,
        redelivered: _,
        busy_seconds: _,
        in_flight,
        last_error,
        handler_failure,
    } = said;
    Worker {
        draining,
        in_flight,
        broker_error: last_error,
        handler_failure: handler_failure
            .filter(|failure| failure.in_a_row >= FAILURES_IN_A_ROW_MIN)
            .map(|failure| failure.message),
    }
}

impl Measurements {
    fn push(&mut self, at: Timestamp, pod: &str, said: &WorkerStats) {
        let now = Counters {
            start: said.start.clone(),
            attempts: ended(&said.jobs),
            busy: said.busy_seconds,
        };
        let before = self.pods.get(pod).map(|(_, before)| before);
        self.measures.extend(measure(at, before, &now));
        self.pods.insert(pod.to_owned(), (at, now));
    }

    fn attempts(&self) -> u64 {
        self.measures.iter().map(|measure| measure.attempts).sum()
    }

    fn service_time(&self) -> Option<Duration> {
        let attempts = self.attempts();
        let busy: f64 = self.measures.iter().map(|measure| measure.busy).sum();
        let seconds = busy / as_f64(attempts.max(1));
        let time = Duration::try_from_secs_f64(seconds).ok();
        time.filter(|_| attempts > 0)
    }

    fn forget_old(&mut self, at: Timestamp) {
        let mut attempts = self.attempts();
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

/// What a worker did between two answers.
fn measure(at: Timestamp, before: Option<&Counters>, now: &Counters) -> Option<Measure> {
    let same_run = before.filter(|before| before.start == now.start);
    let attempts = now
        .attempts
        .checked_sub(same_run.map_or(0, |before| before.attempts))?;
    let busy = now.busy - same_run.map_or(0.0, |before| before.busy);
    let is_sound = attempts > 0 && busy.is_finite() && busy >= 0.0;
    is_sound.then_some(Measure { at, attempts, busy })
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
    use orlop_contract::worker::{HandlerFailure, Millis};

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

    fn after(reading: Reading, second: i64, pod: &str, said: WorkerStats) -> Reading {
        reading.after(at(second), [(pod.to_owned(), said)], |_| true)
    }

    fn measured(answers: &[(i64, &str, &str, u64, f64)]) -> Option<Duration> {
        let mut reading = Reading::default();
        for (second, pod, start, done, busy) in answers {
            reading = after(reading, *second, pod, statistics(start, *done, *busy));
        }
        reading.service_time
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
    fn pods_that_are_gone_or_silent_are_forgotten() {
        let reading = after(Reading::default(), 0, "a", statistics("1", 1, 1.0));
        let reading = after(reading, 1, "b", statistics("2", 1, 1.0));
        let reading = reading.after(at(2), [], |pod| pod == "b");
        assert_eq!(reading.workers.keys().collect::<Vec<_>>(), ["b"]);
        let reading = after(reading, 200, "c", statistics("3", 1, 1.0));
        assert_eq!(reading.workers.keys().collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn an_idle_worker_that_answers_again_is_no_news() {
        let reading = after(Reading::default(), 0, "a", statistics("1", 7, 3.0));
        assert_eq!(
            after(reading.clone(), 2, "a", statistics("1", 7, 3.0)),
            reading
        );
    }

    #[test]
    fn one_job_that_fails_is_not_the_handlers_fault_and_several_in_a_row_are() {
        for (in_a_row, told) in [(0, false), (1, false), (2, true)] {
            let failing = WorkerStats {
                handler_failure: Some(HandlerFailure {
                    message: "handler answered 500".to_owned(),
                    in_a_row,
                    ago_millis: Millis(5),
                }),
                ..statistics("1", 0, 0.0)
            };
            let reading = after(Reading::default(), 0, "a", failing);
            assert_eq!(reading.workers["a"].handler_failure.is_some(), told);
        }
    }
}

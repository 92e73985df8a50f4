//! What was done, as metrics and as the statistics that the operator scales by.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use orlop_contract::worker::{BrokerError, HandlerFailure, Jobs, Millis, WorkerStats};
use orlop_telemetry::{Health, trace::TraceId};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Bounds of an attempt's duration in seconds: from a handler that only answers to the ten minutes
/// after which every attempt is given up.
const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0,
];

/// What came of a job that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    Retried,
    Dead,
    Returned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug)]
pub(crate) struct Stats {
    start: String,
    done: Counter,
    retried: Counter,
    dead: Counter,
    returned: Counter,
    busy_seconds: Counter<f64, AtomicU64>,
    duration: Histogram,
    in_flight: Gauge,
    redelivered: Counter,
    connected: Gauge,
    draining: AtomicBool,
    health: Health,
    told: Mutex<Told>,
}

/// What is told in words.
#[derive(Debug, Default)]
struct Told {
    broker: Option<BrokerError>,
    handler: Option<(String, Instant)>,
    failures_in_a_row: u64,
}

impl Stats {
    /// Registers everything under `orlop_worker_`. Readiness follows: it is ready while it takes jobs.
    pub(crate) fn new(registry: &mut Registry, health: Health) -> Self {
        let jobs = Family::<OutcomeLabel, Counter>::default();
        let outcome = |outcome| jobs.get_or_create_owned(&OutcomeLabel { outcome });
        let stats = Self {
            start: TraceId::random().to_string(),
            done: outcome("done"),
            retried: outcome("retried"),
            dead: outcome("dead"),
            returned: outcome("returned"),
            busy_seconds: Counter::default(),
            duration: Histogram::new(SECONDS),
            in_flight: Gauge::default(),
            redelivered: Counter::default(),
            connected: Gauge::default(),
            draining: AtomicBool::default(),
            health,
            told: Mutex::default(),
        };
        let ours = registry.sub_registry_with_prefix("orlop_worker");
        ours.register("jobs", "Jobs taken, by what came of them", jobs.clone());
        ours.register_with_unit(
            "job_duration",
            "Duration of an attempt",
            Unit::Seconds,
            stats.duration.clone(),
        );
        let in_flight = stats.in_flight.clone();
        ours.register("in_flight", "Jobs under way", in_flight);
        ours.register(
            "redelivered",
            "Messages that the broker had delivered before",
            stats.redelivered.clone(),
        );
        ours.register(
            "connected",
            "1 while jobs are taken from the broker",
            stats.connected.clone(),
        );
        stats
    }

    pub(crate) fn redelivered(&self) {
        self.redelivered.inc();
    }

    pub(crate) fn started(&self) {
        self.in_flight.inc();
    }

    pub(crate) fn attempted(&self, time: Duration) {
        self.duration.observe(time.as_secs_f64());
        self.busy_seconds.inc_by(time.as_secs_f64());
    }

    pub(crate) fn ended(&self, end: End) {
        self.in_flight.dec();
        match end {
            End::Done => self.done.inc(),
            End::Retried => self.retried.inc(),
            End::Dead => self.dead.inc(),
            End::Returned => self.returned.inc(),
        };
    }

    pub(crate) fn handler_succeeded(&self) {
        self.told().failures_in_a_row = 0;
    }

    pub(crate) fn handler_failed(&self, message: &str) {
        let mut told = self.told();
        told.handler = Some((message.to_owned(), Instant::now()));
        told.failures_in_a_row = told.failures_in_a_row.saturating_add(1);
    }

    pub(crate) fn connected(&self) {
        self.connected.set(1);
        self.health.set_ready();
        self.told().broker = None;
    }

    pub(crate) fn disconnected(&self, error: Option<BrokerError>) {
        self.connected.set(0);
        self.health.set_unready();
        self.told().broker = error;
    }

    /// Something is wrong with the broker that does not end the connection; none when it is over.
    pub(crate) fn broker_trouble(&self, error: Option<BrokerError>) {
        self.told().broker = error;
    }

    pub(crate) fn draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.health.set_unready();
    }

    pub(crate) fn snapshot(&self) -> WorkerStats {
        let told = self.told();
        WorkerStats {
            start: self.start.clone(),
            connected: self.connected.get() == 1,
            draining: self.draining.load(Ordering::Relaxed),
            jobs: Jobs {
                done: self.done.get(),
                retried: self.retried.get(),
                dead: self.dead.get(),
                returned: self.returned.get(),
            },
            redelivered: self.redelivered.get(),
            busy_seconds: self.busy_seconds.get(),
            in_flight: u64::try_from(self.in_flight.get()).unwrap_or(0),
            last_error: told.broker.clone(),
            handler_failure: told
                .handler
                .as_ref()
                .map(|(message, since)| HandlerFailure {
                    message: message.clone(),
                    in_a_row: told.failures_in_a_row,
                    ago_millis: Millis::from(since.elapsed()),
                }),
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use orlop_contract::worker::BrokerErrorKind;

    use super::*;

    fn stats() -> Stats {
        Stats::new(&mut Registry::default(), Health::default())
    }

    #[test]
    fn jobs_are_in_flight_until_they_end_and_counted_by_outcome() {
        let stats = stats();
        (0..5).for_each(|_| stats.started());
        stats.redelivered();
        for end in [End::Done, End::Retried, End::Dead, End::Returned] {
            stats.ended(end);
        }
        let told = stats.snapshot();
        assert_eq!((told.in_flight, told.redelivered), (1, 1));
        let Jobs {
            done,
            retried,
            dead,
            returned,
        } = told.jobs;
        assert_eq!([done, retried, dead, returned], [1; 4]);
    }

    #[test]
    fn failures_in_a_row_end_with_a_success_and_the_last_one_stays_known() {
        let stats = stats();
        stats.handler_failed("handler answered 503 Service Unavailable");
        stats.handler_failed("handler answered 500 Internal Server Error");
        assert_eq!(stats.snapshot().handler_failure.unwrap().in_a_row, 2);
        stats.handler_succeeded();
        let failure = stats.snapshot().handler_failure.unwrap();
        assert_eq!(failure.in_a_row, 0);
        assert_eq!(
            failure.message,
            "handler answered 500 Internal Server Error"
        );
    }

    #[test]
    fn what_is_wrong_with_the_broker_is_told_until_it_is_connected_again() {
        let stats = stats();
        let error = BrokerError {
            kind: BrokerErrorKind::QueueMissing,
            message: "queue 'harbour' does not exist".to_owned(),
        };
        stats.disconnected(Some(error.clone()));
        assert_eq!(stats.snapshot().last_error, Some(error));
        assert!(!stats.health.is_ready());
        stats.connected();
        let told = stats.snapshot();
        assert_eq!((told.connected, told.last_error), (true, None));
        assert!(stats.health.is_ready());
    }

    #[test]
    fn the_metrics_have_the_names_that_are_documented() {
        let mut registry = Registry::default();
        let stats = Stats::new(&mut registry, Health::default());
        stats.started();
        stats.redelivered();
        stats.attempted(Duration::from_millis(3));
        stats.ended(End::Done);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "orlop_worker_jobs_total{outcome=\"done\"} 1",
            "orlop_worker_job_duration_seconds_count 1",
            "orlop_worker_in_flight 0",
            "orlop_worker_redelivered_total 1",
            "orlop_worker_connected 0",
        ] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
    }
}

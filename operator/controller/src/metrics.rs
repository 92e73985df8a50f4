//! Metrics, under the names that existing dashboards read where there are such.
//!
//! Labels are closed sets: never an object's name, never a text of an error.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};

/// Bounds of the durations in seconds: from half a millisecond, where a pass that changes nothing
/// lies, to the half minute after which a request is given up.
const SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ControllerLabel {
    pub(crate) controller: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ResultLabels {
    pub(crate) controller: &'static str,
    pub(crate) result: &'static str,
}

/// Both spellings of one thing: client-go says `name`, controller-runtime says `controller`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct QueueLabels {
    pub(crate) name: &'static str,
    pub(crate) controller: &'static str,
}

impl QueueLabels {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self {
            name,
            controller: name,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) code: String,
    pub(crate) method: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct WriteLabels {
    pub(crate) kind: &'static str,
    pub(crate) operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KindLabel {
    pub(crate) kind: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReleaseLabel {
    pub(crate) kind: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabels {
    pub(crate) kind: &'static str,
    pub(crate) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct NameLabel {
    pub(crate) name: String,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Durations;

impl MetricConstructor<Histogram> for Durations {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

/// Bounds of a release in seconds: from one that is only switched to a day at a gate.
const RELEASE_SECONDS: [f64; 12] = [
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 7200.0, 86_400.0,
];

#[derive(Clone, Copy, Debug)]
pub(crate) struct ReleaseDurations;

impl MetricConstructor<Histogram> for ReleaseDurations {
    fn new_metric(&self) -> Histogram {
        Histogram::new(RELEASE_SECONDS)
    }
}

type DurationFamily<L> = Family<L, Histogram, Durations>;

/// Everything that is counted.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    pub(crate) reconciles: Family<ResultLabels, Counter>,
    pub(crate) reconcile_errors: Family<ControllerLabel, Counter>,
    pub(crate) reconcile_time: DurationFamily<ControllerLabel>,
    pub(crate) active_workers: Family<ControllerLabel, Gauge>,
    pub(crate) max_workers: Family<ControllerLabel, Gauge>,
    pub(crate) queue_adds: Family<QueueLabels, Counter>,
    pub(crate) queue_retries: Family<QueueLabels, Counter>,
    pub(crate) queue_wait: DurationFamily<QueueLabels>,
    pub(crate) queue_work: DurationFamily<QueueLabels>,
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) leader: Family<NameLabel, Gauge>,
    pub(crate) writes: Family<WriteLabels, Counter>,
    pub(crate) undecodable: Family<KindLabel, Counter>,
    pub(crate) watch_errors: Family<KindLabel, Counter>,
    pub(crate) release_time: Family<OutcomeLabels, Histogram, ReleaseDurations>,
    pub(crate) switch_time: DurationFamily<ReleaseLabel>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            reconciles: Family::default(),
            reconcile_errors: Family::default(),
            reconcile_time: Family::new_with_constructor(Durations),
            active_workers: Family::default(),
            max_workers: Family::default(),
            queue_adds: Family::default(),
            queue_retries: Family::default(),
            queue_wait: Family::new_with_constructor(Durations),
            queue_work: Family::new_with_constructor(Durations),
            requests: Family::default(),
            leader: Family::default(),
            writes: Family::default(),
            undecodable: Family::default(),
            watch_errors: Family::default(),
            release_time: Family::new_with_constructor(ReleaseDurations),
            switch_time: Family::new_with_constructor(Durations),
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        self.register_reconciles(registry);
        self.register_queues(registry);
        self.register_own(registry);
    }

    fn register_reconciles(&self, registry: &mut Registry) {
        let prefixed = registry.sub_registry_with_prefix("controller_runtime");
        prefixed.register(
            "reconcile",
            "Passes by result: success, error, requeue or requeue_after",
            self.reconciles.clone(),
        );
        prefixed.register(
            "reconcile_errors",
            "Passes that failed",
            self.reconcile_errors.clone(),
        );
        prefixed.register_with_unit(
            "reconcile_time",
            "Duration of a pass",
            Unit::Seconds,
            self.reconcile_time.clone(),
        );
        prefixed.register(
            "active_workers",
            "Passes under way",
            self.active_workers.clone(),
        );
        prefixed.register(
            "max_concurrent_reconciles",
            "Passes that may be under way at once",
            self.max_workers.clone(),
        );
    }

    fn register_queues(&self, registry: &mut Registry) {
        let prefixed = registry.sub_registry_with_prefix("workqueue");
        prefixed.register(
            "adds",
            "Objects put into the queue",
            self.queue_adds.clone(),
        );
        prefixed.register(
            "retries",
            "Objects put back after a failure",
            self.queue_retries.clone(),
        );
        prefixed.register_with_unit(
            "queue_duration",
            "How long an object waited in the queue",
            Unit::Seconds,
            self.queue_wait.clone(),
        );
        prefixed.register_with_unit(
            "work_duration",
            "How long the pass over an object took",
            Unit::Seconds,
            self.queue_work.clone(),
        );
    }

    fn register_own(&self, registry: &mut Registry) {
        registry.register(
            "rest_client_requests",
            "Requests to the API server by answer; code <error> is none",
            self.requests.clone(),
        );
        registry.register(
            "leader_election_master_status",
            "1 while this process holds the Lease",
            self.leader.clone(),
        );
        registry.register(
            "orlop_writes",
            "Writes by kind of object and operation; 'unchanged' had no effect",
            self.writes.clone(),
        );
        registry.register(
            "orlop_undecodable_objects",
            "Objects that were watched and could not be read",
            self.undecodable.clone(),
        );
        registry.register(
            "orlop_watch_errors",
            "Watches that broke and were started again",
            self.watch_errors.clone(),
        );
        registry.register_with_unit(
            "orlop_release_duration",
            "How long a release took, by how it ended: served, held or superseded",
            Unit::Seconds,
            self.release_time.clone(),
        );
        registry.register_with_unit(
            "orlop_release_switch",
            "From the decision to switch until nothing but the new revision is addressed and answers",
            Unit::Seconds,
            self.switch_time.clone(),
        );
    }
}

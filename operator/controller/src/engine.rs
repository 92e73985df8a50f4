//! The engine: takes objects from the queue and makes a pass over each. One engine a kind, the same
//! for all of them.
//!
//! A pass is *observe* (from the caches), *plan* (pure), *act* (writes) and *report* (status and
//! events). Whatever interrupts it, the next one starts again from what is then observed.

mod pass;

use std::{
    collections::HashMap,
    panic,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use kube::Client;
use orlop_plan::{Failure, Settings};
use orlop_telemetry::{health::Heart, trace::TraceId};
use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    act::{Actor, WriteError},
    action::ActionError,
    budget::Budget,
    cache::{Caches, Queues},
    causes::Causes,
    client::CallError,
    expectation::Expectation,
    key::ObjectKey,
    metrics::{ControllerLabel, Metrics, ResultLabels},
    pollers::Pollers,
    primary::Primary,
    queue::Queue,
    report::Reporter,
};

/// How long passes under way may take to end at a shutdown: several calls to a server that answers.
/// A pass that is cut short is made again by the next leader.
const DRAIN: Duration = Duration::from_secs(10);
/// The loop shows that it lives so often, also when there is nothing to do.
const BEAT: Duration = Duration::from_secs(5);
/// A loop that has not beaten for this long hangs: it waits for nothing but its own queue.
pub(crate) const BEAT_AT_LEAST: Duration = Duration::from_mins(1);

/// What the engines of all kinds share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) caches: Arc<Caches>,
    pub(crate) settings: Settings,
    pub(crate) actor: Actor,
    pub(crate) reporter: Reporter,
    pub(crate) metrics: Metrics,
    pub(crate) pollers: Arc<Pollers>,
}

impl Shared {
    pub(crate) fn new(
        client: &Client,
        caches: &Arc<Caches>,
        queues: &Arc<Queues>,
        settings: Settings,
        metrics: &Metrics,
        instance: String,
    ) -> Self {
        let (client, metrics) = (client.clone(), metrics.clone());
        Self {
            caches: Arc::clone(caches),
            settings,
            actor: Actor {
                client: client.clone(),
                metrics: metrics.clone(),
            },
            reporter: Reporter {
                client,
                metrics: metrics.clone(),
                instance,
            },
            metrics,
            pollers: Arc::new(Pollers::new(queues)),
        }
    }
}

/// See the module.
pub(crate) struct Engine<P> {
    shared: Shared,
    queue: Arc<Queue>,
    /// Of the objects that were written lately.
    memories: Mutex<HashMap<ObjectKey, Memory>>,
    kind: std::marker::PhantomData<fn() -> P>,
}

/// What is remembered of an object between two passes. Only time is saved by it: nothing is decided
/// from it.
#[derive(Debug)]
struct Memory {
    /// What the caches must show before the next pass.
    expectation: Option<Expectation>,
    /// When data services were acted upon; they must have been read since.
    acted: Option<Timestamp>,
    budget: Budget,
}

impl Memory {
    fn new() -> Self {
        Self {
            expectation: None,
            acted: None,
            budget: Budget::full(),
        }
    }
}

/// How a pass ended.
#[derive(Debug)]
enum Outcome {
    /// Nothing is left to do until something changes.
    Settled,
    /// Nothing is left to do until then.
    WakeAt(Timestamp),
    /// The caches do not yet show what the last pass wrote, or too many passes have written.
    Held { until: Instant },
    /// The world changed under the pass.
    Stale,
    /// A write cannot succeed until somebody else does something; the status tells what.
    Hindered(Failure),
    /// What must be known could not be read.
    Unobserved(CallError),
    /// A data service did not do what it was told.
    Undone(ActionError),
    /// A write has no clear answer.
    Unwritten(Box<WriteError>),
    /// The status has no clear answer.
    Unreported(CallError),
}

impl Outcome {
    /// The values that dashboards made for controller-runtime know.
    const fn result(&self) -> &'static str {
        match self {
            Self::Settled => "success",
            Self::WakeAt(_) | Self::Held { .. } => "requeue_after",
            Self::Stale => "requeue",
            Self::Hindered(_)
            | Self::Unobserved(_)
            | Self::Undone(_)
            | Self::Unwritten(_)
            | Self::Unreported(_) => "error",
        }
    }
}

impl<P: Primary> Engine<P> {
    const CONTROLLER: &'static str = P::KIND.controller();
    const LABEL: ControllerLabel = ControllerLabel {
        controller: Self::CONTROLLER,
    };

    pub(crate) fn new(shared: &Shared, queue: &Arc<Queue>) -> Arc<Self> {
        Arc::new(Self {
            shared: shared.clone(),
            queue: Arc::clone(queue),
            memories: Mutex::default(),
            kind: std::marker::PhantomData,
        })
    }

    /// Makes passes, at most `concurrency` at once, until told to stop; then lets those under way
    /// end. Dropping the future cuts them short at once.
    pub(crate) async fn run(
        self: Arc<Self>,
        concurrency: usize,
        stop: CancellationToken,
        heart: Heart,
    ) {
        let metrics = &self.shared.metrics;
        let most = i64::try_from(concurrency).unwrap_or(i64::MAX);
        metrics.max_workers.get_or_create(&Self::LABEL).set(most);
        let active = metrics.active_workers.get_or_create_owned(&Self::LABEL);
        let mut passes = JoinSet::new();
        loop {
            heart.beat();
            active.set(i64::try_from(passes.len()).unwrap_or(i64::MAX));
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = passes.join_next() => propagate(ended),
                Some(key) = self.queue.next(), if passes.len() < concurrency => {
                    passes.spawn(Arc::clone(&self).work(key));
                }
                () = sleep(BEAT) => (),
            }
        }
        self.queue.close();
        let all_ended = async {
            while let Some(ended) = passes.join_next().await {
                propagate(ended);
            }
        };
        if timeout(DRAIN, all_ended).await.is_err() {
            tracing::warn!(
                controller = Self::CONTROLLER,
                "passes under way are cut short"
            );
        }
    }

    async fn work(self: Arc<Self>, key: ObjectKey) {
        let span = tracing::info_span!(
            "reconcile",
            controller = Self::CONTROLLER,
            namespace = key.namespace,
            object_name = key.name,
            trace_id = %TraceId::random(),
        );
        async {
            let start = Instant::now();
            let outcome = self.pass(&key).await;
            let took = start.elapsed();
            self.count(&outcome, took);
            self.settle(&key, outcome, took);
            self.queue.done(&key);
        }
        .instrument(span)
        .await;
    }

    /// Decides when the object is looked at again.
    fn settle(&self, key: &ObjectKey, outcome: Outcome, took: Duration) {
        let queue = &self.queue;
        match outcome {
            Outcome::Settled => queue.forget(key),
            Outcome::WakeAt(at) => {
                queue.forget(key);
                queue.add_at(key.clone(), instant(at, Timestamp::now()));
            }
            // The change that is awaited brings the object back before.
            Outcome::Held { until } => queue.add_at(key.clone(), until),
            Outcome::Stale => {
                tracing::debug!("the object has changed since it was observed");
                queue.retry(key.clone());
            }
            Outcome::Hindered(failure) => {
                tracing::warn!(?failure, "hindered; the object's status tells what to do");
                queue.retry(key.clone());
            }
            Outcome::Unwritten(error) => self.retry(key, error.as_ref(), took),
            Outcome::Undone(error) => self.retry(key, &error, took),
            Outcome::Unobserved(error) | Outcome::Unreported(error) => {
                self.retry(key, &error, took);
            }
        }
    }

    fn retry(&self, key: &ObjectKey, error: &(dyn std::error::Error + 'static), took: Duration) {
        tracing::warn!(
            error = %Causes(error),
            took_seconds = took.as_secs_f64(),
            "failed to reconcile, will try again",
        );
        self.queue.retry(key.clone());
    }

    fn count(&self, outcome: &Outcome, took: Duration) {
        let metrics = &self.shared.metrics;
        let labels = ResultLabels {
            controller: Self::CONTROLLER,
            result: outcome.result(),
        };
        metrics.reconciles.get_or_create(&labels).inc();
        if labels.result == "error" {
            metrics.reconcile_errors.get_or_create(&Self::LABEL).inc();
        }
        metrics
            .reconcile_time
            .get_or_create(&Self::LABEL)
            .observe(took.as_secs_f64());
    }

    fn memories(&self) -> MutexGuard<'_, HashMap<ObjectKey, Memory>> {
        // No code that holds the lock can panic half-way through a change.
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pass that panics has a bug that no retry cures: the process ends and says where.
fn propagate(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        panic::resume_unwind(error.into_panic());
    }
}

/// The moment of the monotonic clock that a time of the wall clock is now.
fn instant(at: Timestamp, now: Timestamp) -> Instant {
    let delay = Duration::try_from(at.duration_since(now)).unwrap_or_default();
    Instant::now() + delay
}

#[cfg(test)]
mod tests;

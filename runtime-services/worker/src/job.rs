//! One job from its delivery to its end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use orlop_contract::queue::DeadReason;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    broker::SessionError,
    config::Settings,
    handler::Handler,
    message::Message,
    publisher::{Outlet, PublishError},
    retry::{Again, Failure, Fate, Outcome},
    stats::{End, Stats},
};

/// Deliveries after which a message is taken for one that no worker survives. The limit that
/// RabbitMQ 4 sets by itself, for brokers that set none.
const DELIVERIES_MAX: u32 = 20;

/// Wait before a message goes back to its queue because no other queue takes it: without one it
/// would come again at once, and the broker gives up on a message after some returns.
const PAUSE: Duration = Duration::from_secs(5);

/// What every job needs.
#[derive(Clone, Debug)]
pub(crate) struct Bench {
    pub(crate) settings: Arc<Settings>,
    pub(crate) handler: Handler,
    pub(crate) outlet: Outlet,
    pub(crate) stats: Arc<Stats>,
    pub(crate) stop: CancellationToken,
}

/// How the broker is to be told of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) tag: u64,
    pub(crate) end: End,
}

impl Bench {
    /// Handles the job and puts it where it belongs. What it returns is still to be told to the
    /// broker. An error says that this cannot be told any more.
    pub(crate) async fn work(self: Arc<Self>, message: Message) -> Result<Settled, SessionError> {
        let attempt = message.attempt();
        let span = tracing::info_span!(
            "job",
            message_id = message.id(),
            attempt,
            trace_id = message.trace_id(),
        );
        let ended = async {
            let outcome = self.attempt(&message, attempt).await;
            self.settle(&message, attempt, &outcome).await
        };
        Ok(Settled {
            tag: message.tag,
            end: ended.instrument(span).await?,
        })
    }

    async fn attempt(&self, message: &Message, attempt: u32) -> Outcome {
        if message.deliveries() >= DELIVERIES_MAX {
            return Outcome::Failed(Failure {
                again: Again::Never(DeadReason::Deliveries),
                message: format!("delivered {DELIVERIES_MAX} times and never settled"),
                detail: String::new(),
            });
        }
        let since = Instant::now();
        let outcome = self.handler.attempt(message, attempt).await;
        self.stats.attempted(since.elapsed());
        match &outcome {
            Outcome::Done => self.stats.handler_succeeded(),
            Outcome::Failed(Failure {
                message, detail, ..
            }) => {
                tracing::warn!(error = message, detail, "attempt failed");
                self.stats.handler_failed(message);
            }
        }
        outcome
    }

    async fn settle(
        &self,
        message: &Message,
        attempt: u32,
        outcome: &Outcome,
    ) -> Result<End, SessionError> {
        let (queue, properties, end) = match self.settings.ladder.fate(outcome, attempt) {
            Fate::Done => return Ok(End::Done),
            Fate::Retry(queue) => (queue, message.for_retry(attempt), End::Retried),
            Fate::Dead(reason, failure) => {
                tracing::warn!(reason = reason.as_str(), "job is a dead letter");
                let queue = self.settings.queue.as_str();
                let properties = message.for_grave(queue, reason, attempt, failure);
                (&self.settings.dead_queue, properties, End::Dead)
            }
        };
        match self.outlet.publish(queue, &message.body, properties).await {
            Ok(()) => {
                self.stats.broker_trouble(None);
                Ok(end)
            }
            Err(PublishError::Lost(error)) => Err(error),
            Err(error) => {
                tracing::error!(%error, "failed to pass a failed job on, it goes back to its queue");
                self.stats.broker_trouble(Some(error.told()));
                self.pause().await;
                Ok(End::Returned)
            }
        }
    }

    async fn pause(&self) {
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => (),
            () = self.stop.cancelled() => (),
        }
    }
}

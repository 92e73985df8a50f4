//! From the outbox to the broker.

use std::{collections::HashMap, sync::Arc, time::Duration};

use deadpool_postgres::Pool;
use lapin::uri::AMQPUri;
use thiserror::Error;
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_postgres::{GenericClient, Row, error::SqlState, types::Type};
use tokio_util::sync::CancellationToken;

use super::{
    metrics::Metrics,
    publisher::{BrokerError, Message, Outcome, Publisher},
};

/// Rows published before the next deletion: at most so many are published twice when a relay dies
/// between.
pub const BATCH_MAX: u32 = 256;
/// How soon a row is found whose process died before it woke its relay.
const POLL: Duration = Duration::from_secs(1);
/// How often the outbox is measured.
const MEASURE: Duration = Duration::from_secs(5);
/// Between attempts while broker or database are away. Short at the end too: both should be found
/// within seconds of their return, and there are few relays.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Between attempts at a queue that is missing or full.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// One relay at a time; a second one waits for the first one's batch, or tries again.
const LOCK: &str = "set local lock_timeout = '2s';
    select pg_advisory_xact_lock(hashtextextended(current_schema() || '.orlop_outbox', 0))";
const SELECT: &str = "select position, id, queue, subject, body, trace from orlop_outbox
    where queue <> all($1) order by position limit $2";
const DELETE: &str = "delete from orlop_outbox where position = any($1)";
const MEASURED: &str = "select
    (select count(*) from (select from orlop_outbox limit 10001) as counted) as rows,
    coalesce((select extract(epoch from now() - created) from orlop_outbox
        order by position limit 1), 0)::float8 as oldest";

#[derive(Debug, Error)]
enum RelayError {
    #[error("failed to get a connection to the database")]
    Pool(#[from] deadpool_postgres::PoolError),
    #[error("failed to read the outbox")]
    Database(#[from] tokio_postgres::Error),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("the broker did not confirm in time, or the connection to it was lost")]
    Unconfirmed,
}

/// Tells the relay of this process that an event was committed.
#[derive(Clone, Debug, Default)]
pub struct Waker(Arc<Notify>);

impl Waker {
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

/// Publishes what is in the outbox.
#[derive(Debug)]
pub struct Relay {
    database: Pool,
    broker: AMQPUri,
    publisher: Option<Publisher>,
    /// At most as many as there are queues.
    paused: HashMap<String, Pause>,
    measured: Option<Instant>,
    metrics: Metrics,
    waker: Waker,
}

#[derive(Debug)]
struct Pause {
    until: Instant,
    next: Duration,
}

/// Whether there may be more to publish now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    More,
    Done,
}

impl Relay {
    /// `broker` is `amqp://user:password@host:port/vhost`. Takes a connection of the pool at a
    /// time: one that requests do not use up, whose transactions may be idle for five seconds.
    ///
    /// # Errors
    /// When the address cannot be read.
    pub fn new(database: Pool, broker: &str, metrics: Metrics) -> Result<Self, BrokerError> {
        Ok(Self {
            database,
            broker: broker.parse().map_err(BrokerError::Address)?,
            publisher: None,
            paused: HashMap::new(),
            measured: None,
            metrics,
            waker: Waker::default(),
        })
    }

    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Runs until told to stop; a batch that has begun is finished.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut polls = interval(POLL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let waker = self.waker();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = waker.0.notified() => {}
                _ = polls.tick() => {}
            }
            self.drain(&stop).await;
        }
    }

    /// Publishes until nothing is left that can be.
    async fn drain(&mut self, stop: &CancellationToken) {
        let mut backoff = BACKOFF.0;
        while !stop.is_cancelled() {
            match self.pass().await {
                Ok(Pass::More) => backoff = BACKOFF.0,
                Ok(Pass::Done) => return,
                Err(error) => {
                    // Once in an outage.
                    if backoff == BACKOFF.0 {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "failed to publish events; they wait in the outbox");
                    }
                    stop.run_until_cancelled(sleep(backoff)).await;
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    async fn pass(&mut self) -> Result<Pass, RelayError> {
        let mut client = self.database.get().await?;
        if self.measured.is_none_or(|at| at.elapsed() >= MEASURE) {
            self.measure(&**client).await?;
            self.measured = Some(Instant::now());
        }
        if client
            .query_typed("select from orlop_outbox limit 1", &[])
            .await?
            .is_empty()
        {
            return Ok(Pass::Done);
        }
        self.connect().await?;
        let transaction = client.transaction().await?;
        match transaction.batch_execute(LOCK).await {
            // Another relay is at work.
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                return Ok(Pass::More);
            }
            locked => locked?,
        }
        let batch = self.select(&*transaction).await?;
        if batch.is_empty() {
            return Ok(Pass::Done);
        }
        let outcomes = self.publish(&batch).await;
        let confirmed: Vec<i64> = positions(&batch, &outcomes, Outcome::Confirmed);
        let unsettled = self.metrics.unsettled.clone();
        let deleted = async {
            transaction
                .query_typed(DELETE, &[(&confirmed, Type::INT8_ARRAY)])
                .await?;
            transaction.commit().await
        };
        if let Err(error) = deleted.await {
            unsettled.inc_by(confirmed.len() as u64);
            return Err(error.into());
        }
        self.metrics.published.inc_by(confirmed.len() as u64);
        if outcomes.contains(&Outcome::Unknown) {
            let unknown = positions(&batch, &outcomes, Outcome::Unknown).len();
            unsettled.inc_by(unknown as u64);
            self.publisher = None;
            return Err(RelayError::Unconfirmed);
        }
        self.pause(&batch, &outcomes);
        Ok(Pass::More)
    }

    async fn connect(&mut self) -> Result<(), BrokerError> {
        if !self.publisher.as_ref().is_some_and(Publisher::is_open) {
            self.publisher = None;
            self.publisher = Some(Publisher::open(&self.broker).await?);
        }
        Ok(())
    }

    /// The oldest rows, without those of queues that take none at the moment.
    async fn select(
        &self,
        client: &impl GenericClient,
    ) -> Result<Vec<Message>, tokio_postgres::Error> {
        let now = Instant::now();
        let paused: Vec<&str> = self
            .paused
            .iter()
            .filter(|(_, pause)| pause.until > now)
            .map(|(queue, _)| queue.as_str())
            .collect();
        let limit = i64::from(BATCH_MAX);
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&paused, Type::TEXT_ARRAY), (&limit, Type::INT8)];
        let rows = client.query_typed(SELECT, &parameters).await?;
        rows.iter().map(message).collect()
    }

    async fn publish(&self, batch: &[Message]) -> Vec<Outcome> {
        match &self.publisher {
            Some(publisher) => publisher.publish(batch).await,
            None => vec![Outcome::Unknown; batch.len()],
        }
    }

    fn pause(&mut self, batch: &[Message], outcomes: &[Outcome]) {
        let mut refusing = HashMap::new();
        for (message, outcome) in batch.iter().zip(outcomes) {
            match outcome {
                Outcome::Unroutable | Outcome::Full => {
                    self.metrics.refused.inc();
                    refusing.insert(message.queue.as_str(), *outcome);
                }
                Outcome::Confirmed => {
                    self.paused.remove(&message.queue);
                }
                Outcome::Unknown | Outcome::Held => {}
            }
        }
        for (queue, outcome) in refusing {
            let next = if let Some(pause) = self.paused.get(queue) {
                pause.next
            } else {
                told(queue, outcome);
                PAUSE.0
            };
            let pause = Pause {
                until: Instant::now() + next,
                next: (next * 2).min(PAUSE.1),
            };
            self.paused.insert(queue.to_owned(), pause);
        }
    }

    async fn measure(&self, client: &impl GenericClient) -> Result<(), tokio_postgres::Error> {
        let rows = client.query_typed(MEASURED, &[]).await?;
        if let Some(row) = rows.first() {
            self.metrics.rows.set(row.try_get("rows")?);
            self.metrics.oldest.set(row.try_get("oldest")?);
        }
        Ok(())
    }
}

/// Once for each time that a queue begins to refuse.
fn told(queue: &str, outcome: Outcome) {
    if outcome == Outcome::Unroutable {
        tracing::warn!(
            queue,
            "events wait: the broker has no such queue; declare it there"
        );
    } else {
        tracing::warn!(
            queue,
            "events wait: the queue takes no more; its workers are too slow or too few"
        );
    }
}

fn message(row: &Row) -> Result<Message, tokio_postgres::Error> {
    Ok(Message {
        position: row.try_get("position")?,
        id: row.try_get("id")?,
        queue: row.try_get("queue")?,
        subject: row.try_get("subject")?,
        body: row.try_get("body")?,
        trace: row.try_get("trace")?,
    })
}

fn positions(batch: &[Message], outcomes: &[Outcome], wanted: Outcome) -> Vec<i64> {
    batch
        .iter()
        .zip(outcomes)
        .filter(|(_, outcome)| **outcome == wanted)
        .map(|(message, _)| message.position)
        .collect()
}

//! One connection to the broker: jobs are taken, worked on and settled until it ends.

use std::{sync::Arc, time::Duration};

use futures::{
    StreamExt as _,
    future::{BoxFuture, try_join_all},
    stream::FuturesUnordered,
};
use lapin::{
    Channel, Connection, Consumer, Event,
    message::Delivery,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions,
        BasicQosOptions, QueueDeclareOptions,
    },
    types::{FieldTable, ShortString},
};
use orlop_contract::worker::{BrokerError, BrokerErrorKind};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    acks::Acks,
    broker::{self, SessionError},
    config::Settings,
    handler::Handler,
    job::{Bench, Settled},
    publisher::Publisher,
    stats::{End, Stats},
};

/// Finished jobs are told to the broker after this time at the latest: what is lost with the worker
/// in between is done twice.
const FLUSH_AFTER: Duration = Duration::from_millis(3);

/// Finished jobs that are told at once. More make no difference to the throughput.
const FLUSH_COUNT: usize = 50;

/// Time that saying goodbye to the broker may take, as a part of the drain.
const GOODBYE: Duration = Duration::from_secs(1);

pub(crate) struct Session {
    settings: Arc<Settings>,
    stats: Arc<Stats>,
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    publisher: Publisher,
    bench: Arc<Bench>,
    acks: Acks,
    jobs: FuturesUnordered<BoxFuture<'static, Result<Settled, SessionError>>>,
    flush_at: Option<Instant>,
}

/// What happened next.
#[expect(
    clippy::large_enum_variant,
    reason = "one stands on the stack at a time, and most are deliveries"
)]
enum Next {
    Stop,
    Deadline,
    Settled(Result<Settled, SessionError>),
    Flush,
    Event(Event),
    Delivery(Option<Result<Delivery, lapin::Error>>),
    Drained,
}

impl Session {
    /// Connects, and finds every queue of the configuration, so that a failed job is not the first
    /// to learn that there is none for it.
    pub(crate) async fn open(
        settings: Arc<Settings>,
        handler: Handler,
        stats: Arc<Stats>,
        stop: CancellationToken,
    ) -> Result<Self, SessionError> {
        let connection = broker::connect(&settings.broker, "orlop-worker consumes").await?;
        let publisher = Publisher::open(&settings.broker).await?;
        let channel = connection
            .create_channel()
            .await
            .map_err(SessionError::Lost)?;
        let rungs = settings.ladder.rungs.iter().map(|rung| &rung.queue);
        for queue in [&settings.queue, &settings.dead_queue]
            .into_iter()
            .chain(rungs)
        {
            find(&channel, queue).await?;
        }
        let consumer = consume(&channel, &settings).await?;
        let bench = Bench {
            settings: Arc::clone(&settings),
            handler,
            outlet: publisher.outlet(),
            stats: Arc::clone(&stats),
            stop,
        };
        Ok(Self {
            settings,
            stats,
            connection,
            channel,
            consumer,
            publisher,
            bench: Arc::new(bench),
            acks: Acks::default(),
            jobs: FuturesUnordered::new(),
            flush_at: None,
        })
    }

    /// Works until told to stop, then until everything that was taken is finished or the time to
    /// drain is over.
    pub(crate) async fn run(mut self, stop: &CancellationToken) -> Result<(), SessionError> {
        let ended = self.work(stop).await;
        // Their messages come again, over the next connection or to another worker.
        (0..self.jobs.len()).for_each(|_| self.stats.ended(End::Returned));
        ended?;
        self.leave().await;
        Ok(())
    }

    async fn work(&mut self, stop: &CancellationToken) -> Result<(), SessionError> {
        let mut deadline = None;
        let mut exhausted = false;
        loop {
            match self.next(stop, deadline, exhausted).await {
                Next::Stop => {
                    deadline = Some(self.begin_drain().await?);
                }
                Next::Deadline | Next::Drained => return self.flush().await,
                Next::Settled(settled) => self.settle(settled?).await?,
                Next::Flush => self.flush().await?,
                Next::Event(event) => self.hear(event)?,
                Next::Delivery(Some(delivery)) => {
                    self.take(delivery.map_err(SessionError::Lost)?);
                }
                Next::Delivery(None) if deadline.is_some() => exhausted = true,
                Next::Delivery(None) => {
                    let queue = self.settings.queue.as_str().to_owned();
                    return Err(SessionError::Cancelled { queue });
                }
            }
        }
    }

    async fn next(
        &mut self,
        stop: &CancellationToken,
        deadline: Option<Instant>,
        exhausted: bool,
    ) -> Next {
        if exhausted && self.jobs.is_empty() {
            return Next::Drained;
        }
        let room = !exhausted && self.jobs.len() < self.settings.concurrency;
        let never = Instant::now();
        tokio::select! {
            biased;
            () = stop.cancelled(), if deadline.is_none() => Next::Stop,
            () = sleep_until(deadline.unwrap_or(never)), if deadline.is_some() => Next::Deadline,
            Some(event) = self.publisher.event() => Next::Event(event),
            () = sleep_until(self.flush_at.unwrap_or(never)), if self.flush_at.is_some() => {
                Next::Flush
            }
            Some(settled) = self.jobs.next() => Next::Settled(settled),
            delivery = self.consumer.next(), if room => Next::Delivery(delivery),
        }
    }

    /// Takes no more from the queue; what was delivered before the broker agreed is still handed
    /// out by the consumer, which then ends. Returns when to give the rest back.
    async fn begin_drain(&self) -> Result<Instant, SessionError> {
        let drain = self.settings.drain;
        let deadline = Instant::now() + drain.saturating_sub(GOODBYE.min(drain / 2));
        self.stats.draining();
        let cancelled = self
            .channel
            .basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
        let agreed = timeout(GOODBYE, cancelled).await;
        agreed
            .unwrap_or_else(|_| {
                tracing::warn!("the broker did not agree to stop delivering in time");
                Ok(())
            })
            .map_err(SessionError::Lost)?;
        Ok(deadline)
    }

    fn take(&mut self, delivery: Delivery) {
        self.acks.deliver(delivery.delivery_tag);
        self.stats.took(delivery.redelivered);
        let job = Arc::clone(&self.bench).work(delivery.into());
        self.jobs.push(Box::pin(job));
    }

    async fn settle(&mut self, Settled { tag, end }: Settled) -> Result<(), SessionError> {
        self.stats.ended(end);
        if end == End::Returned {
            self.acks.give_back(tag);
            return give_back(&self.channel, tag, false)
                .await
                .map_err(SessionError::Lost);
        }
        self.acks.finish(tag);
        if self.acks.waiting() >= FLUSH_COUNT {
            return self.flush().await;
        }
        self.flush_at
            .get_or_insert_with(|| Instant::now() + FLUSH_AFTER);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), SessionError> {
        self.flush_at = None;
        let told = self.acks.take().into_iter().map(|ack| {
            let options = BasicAckOptions {
                multiple: ack.multiple,
            };
            self.channel.basic_ack(ack.tag, options)
        });
        try_join_all(told).await.map_err(SessionError::Lost)?;
        Ok(())
    }

    /// What the broker says of the connection that publishes.
    fn hear(&self, event: Event) -> Result<(), SessionError> {
        match event {
            Event::ConnectionBlocked(reason) => {
                tracing::warn!(reason, "the broker takes no messages");
                self.stats.broker_trouble(Some(BrokerError {
                    kind: BrokerErrorKind::PublishRefused,
                    message: format!("the broker takes no messages: {reason}"),
                }));
            }
            Event::ConnectionUnblocked => {
                tracing::info!("the broker takes messages again");
                self.stats.broker_trouble(None);
            }
            Event::Error(error) => return Err(SessionError::Lost(error)),
            _ => (),
        }
        Ok(())
    }

    /// Gives back what could not be finished and says goodbye.
    async fn leave(mut self) {
        let unfinished = self.acks.unsettled();
        self.jobs.clear();
        if unfinished > 0 {
            tracing::warn!(
                jobs = unfinished,
                "gave up on jobs that did not finish in time"
            );
        }
        let goodbye = async {
            // Delivered ones that were never handed out are given back along with them.
            give_back(&self.channel, 0, true).await?;
            broker::close(&self.connection).await?;
            self.publisher.close().await
        };
        match timeout(GOODBYE, goodbye).await {
            Ok(Ok(())) => (),
            Ok(Err(error)) => tracing::warn!(%error, "failed to take leave of the broker"),
            Err(_) => tracing::warn!("the broker did not answer a goodbye in time"),
        }
    }
}

async fn find(channel: &Channel, queue: &ShortString) -> Result<(), SessionError> {
    let only_look = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.clone(), only_look, FieldTable::default())
        .await
        .map_err(|source| SessionError::Queue {
            queue: queue.as_str().to_owned(),
            source,
        })?;
    Ok(())
}

async fn consume(channel: &Channel, settings: &Settings) -> Result<Consumer, SessionError> {
    let failed = |source| SessionError::Consume {
        queue: settings.queue.as_str().to_owned(),
        source,
    };
    channel
        .basic_qos(settings.prefetch, BasicQosOptions::default())
        .await
        .map_err(failed)?;
    channel
        .basic_consume(
            settings.queue.clone(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .map_err(failed)
}

/// Puts a message back to its queue; with `multiple` and tag 0 all that are not settled.
async fn give_back(channel: &Channel, tag: u64, multiple: bool) -> Result<(), lapin::Error> {
    let options = BasicNackOptions {
        multiple,
        requeue: true,
    };
    channel.basic_nack(tag, options).await
}

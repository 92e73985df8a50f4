//! One connection to the broker: jobs are taken, worked on and settled until it ends.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::{
    FutureExt as _, StreamExt as _,
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
    message::Message,
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

/// Time for the broker to fill the window before its deliveries are ended; see [`Drain`].
const FILL: Duration = Duration::from_millis(250);

pub(crate) struct Session {
    settings: Arc<Settings>,
    stats: Arc<Stats>,
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    publisher: Publisher,
    bench: Arc<Bench>,
    acks: Acks,
    /// Delivered and not started. No longer than the prefetch count, by which the broker stops.
    backlog: VecDeque<Message>,
    jobs: FuturesUnordered<BoxFuture<'static, Result<Settled, SessionError>>>,
    flush_at: Option<Instant>,
    drain: Option<Drain>,
}

/// The end of a session that was told to stop.
///
/// A quorum queue hands messages to the channel without waiting for it. Those that are on their way
/// when the consumer is cancelled arrive for nobody, and come again as redelivered to the next
/// worker. So nothing is acknowledged any more until the broker has delivered as much as the prefetch
/// count allows, or has nothing to deliver: then none are on their way.
#[derive(Clone, Copy, Debug)]
struct Drain {
    /// What is not finished by then goes back.
    deadline: Instant,
    deliveries: Deliveries,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deliveries {
    /// To be ended at this time, or once the window is full.
    Filling(Instant),
    Ended,
}

/// What happened next.
#[expect(
    clippy::large_enum_variant,
    reason = "one stands on the stack at a time, and most are deliveries"
)]
enum Next {
    Stop,
    WindowFull,
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
            backlog: VecDeque::new(),
            jobs: FuturesUnordered::new(),
            flush_at: None,
            drain: None,
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
        loop {
            match self.next(stop).await {
                Next::Stop => self.begin_drain(),
                Next::WindowFull => self.end_deliveries().await?,
                Next::Deadline | Next::Drained => return self.flush().await,
                Next::Settled(settled) => self.settle(settled?).await?,
                Next::Flush => self.flush().await?,
                Next::Event(event) => self.hear(event)?,
                Next::Delivery(Some(delivery)) => {
                    self.take(delivery.map_err(SessionError::Lost)?);
                }
                Next::Delivery(None) => {
                    let queue = self.settings.queue.as_str().to_owned();
                    return Err(SessionError::Cancelled { queue });
                }
            }
            self.start_jobs();
        }
    }

    async fn next(&mut self, stop: &CancellationToken) -> Next {
        let never = Instant::now();
        let (mut ending, mut delivering) = (None, true);
        match self.drain.map(|drain| drain.deliveries) {
            Some(Deliveries::Filling(until)) => ending = Some(until),
            Some(Deliveries::Ended) if self.backlog.is_empty() && self.jobs.is_empty() => {
                return Next::Drained;
            }
            Some(Deliveries::Ended) => delivering = false,
            None => (),
        }
        let deadline = self.drain.map(|drain| drain.deadline);
        let flush_at = self.flush_at.filter(|_| ending.is_none());
        tokio::select! {
            biased;
            () = stop.cancelled(), if deadline.is_none() => Next::Stop,
            () = sleep_until(deadline.unwrap_or(never)), if deadline.is_some() => Next::Deadline,
            () = sleep_until(ending.unwrap_or(never)), if ending.is_some() => Next::WindowFull,
            Some(event) = self.publisher.event() => Next::Event(event),
            () = sleep_until(flush_at.unwrap_or(never)), if flush_at.is_some() => Next::Flush,
            Some(settled) = self.jobs.next() => Next::Settled(settled),
            delivery = self.consumer.next(), if delivering => Next::Delivery(delivery),
        }
    }

    fn begin_drain(&mut self) {
        self.stats.draining();
        let (now, drain) = (Instant::now(), self.settings.drain);
        self.drain = Some(Drain {
            deadline: now + drain.saturating_sub(GOODBYE.min(drain / 2)),
            deliveries: Deliveries::Filling(now + FILL.min(drain / 4)),
        });
        self.look_at_window();
    }

    /// While it is waited for a full window: is it?
    fn look_at_window(&mut self) {
        if let Some(drain) = &mut self.drain
            && let Deliveries::Filling(until) = &mut drain.deliveries
            && self.acks.unsettled() >= self.settings.prefetch.into()
        {
            *until = Instant::now();
        }
    }

    async fn end_deliveries(&mut self) -> Result<(), SessionError> {
        let cancelled = self
            .channel
            .basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
        if let Ok(cancelled) = timeout(GOODBYE, cancelled).await {
            cancelled.map_err(SessionError::Lost)?;
        } else {
            tracing::warn!("the broker did not agree to stop delivering in time");
        }
        // What was delivered before the broker agreed is with the consumer, and then its end.
        while let Some(Some(delivery)) = self.consumer.next().now_or_never() {
            self.take(delivery.map_err(SessionError::Lost)?);
        }
        if let Some(drain) = &mut self.drain {
            drain.deliveries = Deliveries::Ended;
        }
        self.flush().await
    }

    fn take(&mut self, delivery: Delivery) {
        if delivery.redelivered {
            self.stats.redelivered();
        }
        self.acks.deliver(delivery.delivery_tag);
        self.backlog.push_back(delivery.into());
        self.look_at_window();
    }

    fn start_jobs(&mut self) {
        while self.jobs.len() < self.settings.concurrency
            && let Some(message) = self.backlog.pop_front()
        {
            self.stats.started();
            self.jobs
                .push(Box::pin(Arc::clone(&self.bench).work(message)));
        }
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

    /// Acknowledges what is finished, unless the window is to fill.
    async fn flush(&mut self) -> Result<(), SessionError> {
        let deliveries = self.drain.map(|drain| drain.deliveries);
        if matches!(deliveries, Some(Deliveries::Filling(_))) {
            return Ok(());
        }
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

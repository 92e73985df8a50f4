//! The worker against a real RabbitMQ, a real handler and real signals.
//!
//! `ORLOP_TEST_AMQP_URL` names the broker; its user must be allowed to declare queues.
//! ```text
//! ORLOP_TEST_AMQP_URL=amqp://app:app@127.0.0.1:5672/orlop \
//!   cargo test -p orlop-worker --test broker -- --ignored
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod handler;
mod queues;
mod relay;
mod worker;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use lapin::types::AMQPValue;
use orlop_contract::{
    queue::{ATTEMPT_HEADER, DEAD_ERROR_HEADER, DEAD_QUEUE_HEADER, DEAD_REASON_HEADER, DeadReason},
    worker::BrokerErrorKind,
};
use tokio::time::sleep;

use crate::{handler::Handler, queues::Queues, relay::Relay, worker::Worker};

const JOBS: usize = 2_000;

/// More than the worker works on at once, so that messages lie in it that nobody has started.
const PREFETCH: u16 = 32;

/// Of all waits. The slowest is for the ladder.
const DEADLINE: Duration = Duration::from_mins(1);

/// Polls until the state of the world is as wanted.
async fn until(what: &str, mut wanted: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !wanted().await {
        assert!(
            since.elapsed() < DEADLINE,
            "{what}: not within {DEADLINE:?}"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

fn ids(jobs: usize) -> BTreeSet<String> {
    (0..jobs).map(queues::id).collect()
}

/// Between nothing and 20 ms: neighbours finish in another order than they started.
fn mixed(id: &str) -> Duration {
    let number: u64 = id.parse().unwrap();
    Duration::from_millis(number * 7 % 20)
}

#[tokio::test]
#[ignore = "needs a RabbitMQ, see above"]
async fn jobs_of_mixed_length_are_each_done_once() {
    let queues = Queues::declare("mixed", &[]).await;
    queues.publish(JOBS).await;
    let handler = Handler::start(|job| async move {
        sleep(mixed(&job.id)).await;
        StatusCode::NO_CONTENT
    })
    .await;
    let worker = Worker::start(&queues, &handler);
    until("all done", async || {
        worker
            .stats()
            .await
            .is_some_and(|stats| stats.jobs.done == JOBS as u64)
    })
    .await;
    let stats = worker.stats().await.unwrap();
    assert_eq!((stats.redelivered, stats.in_flight), (0, 0));
    assert!(worker.terminate().await.success());
    assert_eq!(handler.done_once(), ids(JOBS));
    assert_eq!(queues.waiting().await, 0);
}

#[tokio::test]
#[ignore = "needs a RabbitMQ, see above"]
async fn a_worker_that_is_told_to_stop_finishes_what_it_took() {
    let queues = Queues::declare("drain", &[]).await;
    queues.publish(JOBS).await;
    let handler = Handler::start(|job| async move {
        sleep(mixed(&job.id)).await;
        StatusCode::OK
    })
    .await;
    let first = Worker::start(&queues, &handler);
    until("some done", async || handler.count() > JOBS / 10).await;
    assert!(first.terminate().await.success());
    assert!(handler.count() < JOBS, "it stopped too late to tell");
    assert_eq!(queues.waiting().await, JOBS - handler.done_once().len());
    let second = Worker::start(&queues, &handler);
    until("all done", async || handler.count() >= JOBS).await;
    assert_eq!(second.stats().await.unwrap().redelivered, 0);
    assert!(second.terminate().await.success());
    assert_eq!(handler.done_once(), ids(JOBS));
}

#[tokio::test]
#[ignore = "needs a RabbitMQ, see above"]
async fn what_cannot_finish_in_time_goes_back() {
    let queues = Queues::declare("slow", &[]).await;
    queues.publish(40).await;
    let handler = Handler::start(|_| async { std::future::pending().await }).await;
    let worker = Worker::start(&queues, &handler);
    until("all places taken", async || {
        handler.started() == worker::CONCURRENCY
    })
    .await;
    let since = Instant::now();
    assert!(worker.terminate().await.success());
    assert!(since.elapsed() < worker::DRAIN, "{:?}", since.elapsed());
    until("all back", async || queues.waiting().await == 40).await;
}

#[tokio::test]
#[ignore = "needs a RabbitMQ, see above"]
async fn nothing_is_lost_with_a_worker_that_is_killed() {
    let queues = Queues::declare("killed", &[]).await;
    queues.publish(JOBS).await;
    let handler = Handler::start(|job| async move {
        sleep(mixed(&job.id)).await;
        StatusCode::OK
    })
    .await;
    for part in 1..=4 {
        let worker = Worker::start(&queues, &handler);
        until("some done", async || handler.count() > JOBS * part / 5).await;
        worker.kill().await;
    }
    let worker = Worker::start(&queues, &handler);
    until("all done", async || handler.done().len() == JOBS).await;
    assert!(worker.terminate().await.success());
    assert_eq!(queues.waiting().await, 0);
    let twice = handler.count() - JOBS;
    assert!(
        twice <= 4 * usize::from(PREFETCH),
        "{twice} were done twice"
    );
}

#[tokio::test]
#[ignore = "needs a RabbitMQ, see above"]
async fn nothing_is_lost_with_the_connection() {
    let queues = Queues::declare("cut", &[]).await;
    queues.publish(JOBS).await;
    let handler = Handler::start(|job| async move {
        sleep(mixed(&job.id)).await;
        StatusCode::OK
    })
    .await;
    let relay = Relay::start(queues::broker()).await;
    let worker = Worker::start_at(&queues, &handler, &relay.url());
    until("some done", async || handler.count() > JOBS / 4).await;
    relay.cut();
    until("not ready", async || !worker.is_ready().await).await;
    let error = worker.stats().await.unwrap().last_error.unwrap();
    assert_eq!(error.kind, BrokerErrorKind::Unreachable, "{error:?}");
    relay.mend();
    let since = Instant::now();
    until("ready", async || worker.is_ready().await).await;
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    until("all done", async || handler.done().len() == JOBS).await;
    assert!(worker.terminate().await.success());
    assert_eq!(queues.waiting().await, 0);
    let twice = handler.count() - JOBS;
    assert!(twice <= usize::from(PREFETCH), "{twice} were done twice");
}

#[tokio::test]
#[ignore = "needs a RabbitMQ, see above"]
async fn a_job_that_fails_climbs_the_ladder_and_becomes_a_dead_letter() {
    let delays = [Duration::from_millis(300), Duration::from_millis(600)];
    let queues = Queues::declare("failing", &delays).await;
    queues.publish(5).await;
    let handler = Handler::start(|_| async { StatusCode::INTERNAL_SERVER_ERROR }).await;
    let worker = Worker::start(&queues, &handler);
    until("all dead", async || queues.dead().await == 5).await;
    let stats = worker.stats().await.unwrap();
    assert_eq!((stats.jobs.retried, stats.jobs.dead), (10, 5));
    let failure = stats.handler_failure.unwrap();
    assert_eq!(
        failure.message,
        "handler answered 500 Internal Server Error"
    );
    assert_eq!(failure.in_a_row, 15);
    assert!(worker.terminate().await.success());
    for id in ids(5) {
        let attempts = handler.attempts(&id);
        let numbers: Vec<_> = attempts.iter().map(|job| job.attempt).collect();
        assert_eq!(numbers, [1, 2, 3]);
        for (pair, delay) in attempts.windows(2).zip(delays) {
            let waited = pair[1].at.duration_since(pair[0].at);
            assert!(waited >= delay, "waited {waited:?} of {delay:?}");
        }
    }
    let headers = queues.take_dead().await;
    let text = |text: &str| AMQPValue::LongString(text.into());
    assert_eq!(headers[ATTEMPT_HEADER], AMQPValue::LongLongInt(3));
    assert_eq!(
        headers[DEAD_REASON_HEADER],
        text(DeadReason::Attempts.as_str())
    );
    assert_eq!(headers[DEAD_QUEUE_HEADER], text(&queues.name));
    assert_eq!(
        headers[DEAD_ERROR_HEADER],
        text("handler answered 500 Internal Server Error")
    );
}

#[tokio::test]
#[ignore = "needs a RabbitMQ, see above"]
async fn a_job_that_is_refused_is_a_dead_letter_at_once() {
    let queues = Queues::declare("refused", &[Duration::from_mins(10)]).await;
    queues.publish(1).await;
    let handler = Handler::start(|_| async { StatusCode::UNPROCESSABLE_ENTITY }).await;
    let worker = Worker::start(&queues, &handler);
    until("dead", async || queues.dead().await == 1).await;
    assert!(worker.terminate().await.success());
    assert_eq!(handler.started(), 1);
    let headers = queues.take_dead().await;
    let reason = AMQPValue::LongString(DeadReason::Refused.as_str().into());
    assert_eq!(headers[DEAD_REASON_HEADER], reason);
}

#[tokio::test]
#[ignore = "needs a RabbitMQ, see above"]
async fn a_handler_that_hangs_is_given_up_and_the_job_tried_again() {
    let queues = Queues::declare("hanging", &[Duration::from_millis(100)]).await;
    queues.publish(1).await;
    let handler = Handler::start(|job| async move {
        if job.attempt == 1 {
            std::future::pending::<()>().await;
        }
        StatusCode::OK
    })
    .await;
    let worker = Worker::start(&queues, &handler);
    until("done", async || handler.count() == 1).await;
    let failure = worker.stats().await.unwrap().handler_failure.unwrap();
    assert_eq!(failure.message, "handler gave no answer within 4s");
    assert!(worker.terminate().await.success());
    assert_eq!((queues.waiting().await, queues.dead().await), (0, 0));
}

#[tokio::test]
#[ignore = "needs a RabbitMQ, see above"]
async fn a_failed_job_that_no_queue_takes_is_kept_and_tried_again() {
    let delay = Duration::from_millis(100);
    let queues = Queues::declare("homeless", &[delay]).await;
    let handler = Handler::start(|job| async move {
        match job.attempt {
            1 => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::OK,
        }
    })
    .await;
    let worker = Worker::start(&queues, &handler);
    until("ready", async || worker.is_ready().await).await;
    queues.delete_rung(1).await;
    queues.publish(1).await;
    until("told", async || {
        let told = worker.stats().await.and_then(|stats| stats.last_error);
        told.is_some_and(|error| error.kind == BrokerErrorKind::QueueMissing)
    })
    .await;
    queues.create(&[delay]).await;
    until("done", async || handler.count() == 1).await;
    assert!(worker.terminate().await.success());
    assert_eq!((queues.waiting().await, queues.dead().await), (0, 0));
}

#[tokio::test]
#[ignore = "needs a RabbitMQ, see above"]
async fn a_queue_that_is_missing_is_told_and_found_once_it_is_there() {
    let queues = Queues::named("missing").await;
    let handler = Handler::start(|_| async { StatusCode::OK }).await;
    let worker = Worker::start(&queues, &handler);
    until("told", async || {
        let told = worker.stats().await.and_then(|stats| stats.last_error);
        told.is_some_and(|error| error.kind == BrokerErrorKind::QueueMissing)
    })
    .await;
    assert!(!worker.is_ready().await);
    queues.create(&[]).await;
    until("ready", async || worker.is_ready().await).await;
    assert_eq!(worker.stats().await.unwrap().last_error, None);
    queues.publish(1).await;
    until("done", async || handler.count() == 1).await;
    assert!(worker.terminate().await.success());
}

#[tokio::test]
#[ignore = "needs a RabbitMQ, see above"]
async fn a_password_that_is_refused_is_told_without_it() {
    let queues = Queues::declare("password", &[]).await;
    let handler = Handler::start(|_| async { StatusCode::OK }).await;
    let mut broker = queues::broker();
    broker.authority.userinfo.password = "lantern-secret".to_owned();
    let worker = Worker::start_at(&queues, &handler, &broker.to_string());
    let mut told = None;
    until("told", async || {
        told = worker.stats().await.and_then(|stats| stats.last_error);
        told.is_some()
    })
    .await;
    let error = told.unwrap();
    assert_eq!(error.kind, BrokerErrorKind::AccessRefused, "{error:?}");
    assert!(!error.message.contains("lantern-secret"), "{error:?}");
    assert!(worker.terminate().await.success());
}

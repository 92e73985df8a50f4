//! orlop-worker beside a broker that the operator made: they agree on the ladder, and neither loses
//! a job when the other is gone. What needs no operator is tested beside the worker.

mod handler;
mod process;
mod queue;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use axum::http::StatusCode;
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::api::DeleteParams;
use lapin::{
    types::{AMQPValue, LongString},
    uri::AMQPUri,
};
use orlop_contract::{
    queue::{ATTEMPT_HEADER, DEAD_ERROR_HEADER, DEAD_QUEUE_HEADER, DEAD_REASON_HEADER, DeadReason},
    worker::BrokerErrorKind,
};
use orlop_suites::{TestNamespace, eventually, figure, fixture, in_namespace, ready_object};
use serde_json::{Value, json};
use tokio::time::sleep;

use self::{
    handler::{Handler, Job},
    process::Worker,
    queue::Queue,
};

/// A volume, an image of some size, and Erlang's start.
const BROKER_READY_WITHIN: Duration = Duration::from_mins(4);

/// Longest wait of a story: the jobs themselves, on two cores that others use as well.
const WITHIN: Duration = Duration::from_mins(1);

const JOBS: usize = 2_000;

/// More than the worker works on at once, so that messages lie in it that nobody has started.
const PREFETCH: u16 = 32;

#[tokio::test]
async fn a_worker_and_a_broker_agree_and_outlive_each_other() -> Result<()> {
    in_namespace("worker", async |namespace| {
        let manifest = fixture("quay")?;
        namespace.apply(&manifest).await?;
        ready_object(namespace, &manifest, BROKER_READY_WITHIN).await?;
        let broker = broker(namespace).await?;
        a_failing_job_climbs_the_ladder_and_dies(&broker).await?;
        a_missing_queue_is_told_and_found(namespace, &broker).await?;
        nothing_is_lost_with_the_broker(namespace, &broker).await
    })
    .await
}

/// The broker as applications reach it, by an address that is known outside of the cluster too.
async fn broker(namespace: &TestNamespace) -> Result<AMQPUri> {
    let secret = namespace.api::<Secret>().get("quay-binding").await?;
    let data = secret.data.context("the binding is empty")?;
    let uri = data.get("uri").context("the binding has no uri")?;
    let uri = std::str::from_utf8(&uri.0)?.parse::<AMQPUri>();
    let mut uri = uri.ok().context("the binding's uri is none of AMQP")?;
    let service = namespace.api::<Service>().get("quay").await?;
    let address = service.spec.and_then(|spec| spec.cluster_ip);
    uri.authority.host = address.context("the broker has no address")?;
    Ok(uri)
}

async fn a_failing_job_climbs_the_ladder_and_dies(broker: &AMQPUri) -> Result<()> {
    let backoffs = [Duration::from_secs(1), Duration::from_secs(2)];
    let queue = Queue::open(broker, "failing").await?;
    queue.publish(5).await?;
    let handler = Handler::start(async |_| StatusCode::INTERNAL_SERVER_ERROR).await?;
    let worker = Worker::start(&queue, &backoffs, &handler, broker).await?;
    queue.buried(5).await?;
    let stats = worker.stats().await?;
    ensure!(
        (stats.jobs.retried, stats.jobs.dead) == (10, 5),
        "{stats:?}"
    );
    let failure = stats.handler_failure.context("no failure is told")?;
    let message = "handler answered 500 Internal Server Error";
    ensure!(
        failure.message == message && failure.in_a_row == 15,
        "{failure:?}"
    );
    worker.terminate().await?;
    for id in (0..5).map(queue::id) {
        let attempts = handler.attempts(&id);
        let numbers: Vec<_> = attempts.iter().map(|job| job.attempt).collect();
        ensure!(numbers == [1, 2, 3], "{attempts:?}");
        for (pair, backoff) in attempts.windows(2).zip(backoffs) {
            let waited = pair[1].at.duration_since(pair[0].at);
            ensure!(waited >= backoff, "waited {waited:?} of {backoff:?}");
        }
    }
    let headers = queue.exhume().await?;
    for (name, value) in [
        (ATTEMPT_HEADER, AMQPValue::LongLongInt(3)),
        (DEAD_REASON_HEADER, text(DeadReason::Attempts.as_str())),
        (DEAD_QUEUE_HEADER, text("failing")),
        (DEAD_ERROR_HEADER, text(message)),
    ] {
        ensure!(headers.get(name) == Some(&value), "{name}: {headers:?}");
    }
    Ok(())
}

async fn a_missing_queue_is_told_and_found(
    namespace: &TestNamespace,
    broker: &AMQPUri,
) -> Result<()> {
    let queue = Queue::open(broker, "missing").await?;
    let handler = Handler::start(async |_| StatusCode::OK).await?;
    let worker = Worker::start(&queue, &[], &handler, broker).await?;
    let message = worker.tells(BrokerErrorKind::QueueMissing).await?;
    ensure!(message.contains("'missing'"), "{message}");
    let declared = json!({"name": "missing", "retry": {"attempts": 1}});
    let mut manifest = fixture("quay")?;
    let queues = manifest.pointer_mut("/spec/rabbitmq/queues");
    let queues = queues.and_then(Value::as_array_mut);
    queues.context("the broker has no queues")?.push(declared);
    namespace.apply(&manifest).await?;
    worker.is_ready_within(WITHIN).await?;
    queue.publish(1).await?;
    handler.reaches(1).await?;
    worker.terminate().await
}

async fn nothing_is_lost_with_the_broker(
    namespace: &TestNamespace,
    broker: &AMQPUri,
) -> Result<()> {
    let queue = Queue::open(broker, "outlived").await?;
    queue.publish(JOBS).await?;
    let handler = Handler::start(done_after_a_while).await?;
    let worker = Worker::start(&queue, &[], &handler, broker).await?;
    handler.reaches(JOBS / 4).await?;
    figure("worker.memory-peak", worker.peak_memory()?, "KiB");
    let at_once = DeleteParams::default().grace_period(0);
    let pods = namespace.api::<Pod>();
    pods.delete("quay-0", &at_once).await?;
    worker.tells(BrokerErrorKind::Unreachable).await?;
    let lost = Instant::now();
    worker.is_ready_within(BROKER_READY_WITHIN).await?;
    figure("worker.broker-outage", lost.elapsed().as_secs_f64(), "s");
    all_done_but_few_twice(&handler, PREFETCH.into()).await?;
    worker.terminate().await?;
    let queue = Queue::open(broker, "outlived").await?;
    queue.holds(0).await
}

/// Between nothing and 20 ms: neighbours finish in another order than they started.
async fn done_after_a_while(job: Job) -> StatusCode {
    let number = u64::from(job.id.bytes().last().unwrap_or_default());
    sleep(Duration::from_millis(number * 7 % 20)).await;
    StatusCode::NO_CONTENT
}

/// All is done at least once, and no more than so many twice.
async fn all_done_but_few_twice(handler: &Handler, few: usize) -> Result<()> {
    eventually(WITHIN, "all jobs are done", async || {
        let done = handler.done();
        ensure!(done == all_ids(), "{} done", done.len());
        Ok(())
    })
    .await?;
    let twice = handler.count() - JOBS;
    ensure!(twice <= few, "{twice} were done twice");
    Ok(())
}

fn all_ids() -> BTreeSet<String> {
    (0..JOBS).map(queue::id).collect()
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

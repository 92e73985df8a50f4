//! Workers: a burst from zero is met by one write and worked off without a loss, then they go; and
//! what hinders them is told in one line.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Secret, Service},
};
use kube::api::ListParams;
use lapin::{
    BasicProperties, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    uri::AMQPUri,
};
use orlop_crds::{WorkerPool, worker_pool::ScalingDecision};
use orlop_suites::{
    Metrics, Operator, TestNamespace, Write, documents, eventually, figure, get, in_namespace,
    process, ready_object, verdict_of, with,
};
use serde_json::{Value, json};
use tokio::time::Instant;

/// A volume, an image of some size, and Erlang's start.
const READY_WITHIN: Duration = Duration::from_mins(3);
/// The broker's statistics are a second apart, and so are the operator's looks at them; the rest is
/// for a busy machine.
const SCALED_WITHIN: Duration = Duration::from_secs(30);
const DONE_WITHIN: Duration = Duration::from_mins(2);
/// A minute without a job, and room for two steps on the way.
const BACK_WITHIN: Duration = Duration::from_mins(4);
/// Promised.
const TOLD_WITHIN: Duration = Duration::from_secs(15);
/// A second after the last job, and what a busy machine adds.
const SEEN_WITHIN: Duration = Duration::from_mins(1);
/// A worker has to start before a handler can fail.
const FAILING_WITHIN: Duration = Duration::from_mins(1);

const WORKER_BYTES_MAX: u64 = 25_000_000;
const POOL: &str = "stevedores";
const JOBS: usize = 2000;
/// The longest job, in milliseconds; the others are spread below.
const LONGEST: usize = 100;
const PERSISTENT: u8 = 2;

#[tokio::test]
async fn a_burst_from_zero_is_met_by_one_write_and_the_workers_go_again() -> Result<()> {
    in_namespace("workers", async |namespace| {
        let manifests = documents("e2e/suites/fixtures/stevedores.yaml")?;
        for manifest in &manifests {
            namespace.apply(manifest).await?;
        }
        for manifest in &manifests {
            ready_object(namespace, manifest, READY_WITHIN).await?;
        }
        let pool = manifests.last().context("the last one is the pool")?;
        ensure!(replicas(namespace).await? == 0, "workers without a job");

        let broker = Broker::of(namespace).await?;
        a_burst_is_met_by_one_write(namespace, &broker).await?;
        all_is_done_without_a_loss(&broker).await?;
        workers_are_small(namespace).await?;
        the_workers_go(namespace, &broker).await?;
        what_hinders_is_told(namespace, pool, &broker).await
    })
    .await
}

async fn a_burst_is_met_by_one_write(namespace: &TestNamespace, broker: &Broker) -> Result<()> {
    let operator = Operator::of(&namespace.cluster).user().await?;
    let began = Timestamp::now();
    broker.publish(lengths(JOBS)).await?;
    let published = Timestamp::now();
    // The formula gives more than the most.
    eventually(SCALED_WITHIN, "workers are asked for", async || {
        let decision = decision(namespace).await?;
        ensure!(decision.desired == 6, "{} are decided", decision.desired);
        let asked = replicas(namespace).await?;
        ensure!(asked == decision.desired, "{asked} are asked for");
        Ok(())
    })
    .await?;
    let met = Timestamp::now().duration_since(published);
    eventually(DONE_WITHIN, "all jobs are done", async || {
        let done = broker.count("messages_acked_total").await?;
        ensure!(done >= JOBS, "{done} are done");
        Ok(())
    })
    .await?;
    let drained = Timestamp::now().duration_since(published);

    let writes = namespace.cluster.audit_log();
    let writes = writes.writes_by(&operator, began).await?;
    let writes: Vec<_> = writes
        .iter()
        .filter(|write| is_of_pool(write, namespace))
        .collect();
    // Where a busy machine takes its time to publish, the part that was there is answered first: the
    // queue is looked at once a second.
    let looks = published.duration_since(began).as_millis() / 1000;
    let looks = usize::try_from(looks)?;
    ensure!(
        !writes.is_empty() && writes.len() <= 1 + looks,
        "with {looks} looks the Deployment was written by {writes:#?}"
    );
    figure("workers.burst-to-decision", met.as_millis(), "ms");
    figure("workers.burst-to-done", drained.as_millis(), "ms");
    Ok(())
}

fn is_of_pool(write: &Write, namespace: &TestNamespace) -> bool {
    write.resource == "deployments"
        && write.subresource.is_empty()
        && write.namespace == namespace.name()
        && write.name.starts_with(&format!("{POOL}-"))
}

async fn all_is_done_without_a_loss(broker: &Broker) -> Result<()> {
    eventually(SEEN_WITHIN, "the queues are empty", async || {
        let ready = broker.count("messages_ready").await?;
        let taken = broker.count("messages_unacked").await?;
        ensure!(ready == 0 && taken == 0, "{ready} wait, {taken} are taken");
        Ok(())
    })
    .await?;
    let done = broker.count("messages_acked_total").await?;
    ensure!(done == JOBS, "{done} of {JOBS} jobs were done");
    nothing_is_redelivered(broker).await
}

pub(crate) async fn nothing_is_redelivered(broker: &Broker) -> Result<()> {
    let again = broker.count("messages_redelivered_total").await?;
    ensure!(again == 0, "{again} jobs were delivered again");
    Ok(())
}

/// After a burst, with everything that it left behind.
async fn workers_are_small(namespace: &TestNamespace) -> Result<()> {
    let pods = namespace.api::<Pod>().list(&of_pool()).await?;
    let mut seen = 0;
    for pod in &pods {
        // The last of a burst may still be starting.
        let Ok(memory) = process::memory(pod) else {
            continue;
        };
        seen += 1;
        ensure!(
            memory.peak < WORKER_BYTES_MAX,
            "a worker had {} bytes",
            memory.peak
        );
        figure("workers.memory", memory.peak / 1_000_000, "MB at most");
    }
    ensure!(seen > 0, "no worker is left to be looked at");
    Ok(())
}

async fn the_workers_go(namespace: &TestNamespace, broker: &Broker) -> Result<()> {
    let began = Timestamp::now();
    eventually(BACK_WITHIN, "no worker is left", async || {
        let asked = replicas(namespace).await?;
        ensure!(asked == 0, "{asked} are asked for");
        Ok(())
    })
    .await?;
    let gone = Timestamp::now().duration_since(began);
    figure("workers.done-to-zero", gone.as_millis(), "ms");
    nothing_is_redelivered(broker).await
}

async fn what_hinders_is_told(
    namespace: &TestNamespace,
    pool: &Value,
    broker: &Broker,
) -> Result<()> {
    let missing = with(pool.clone(), "/spec/source/rabbitmq/queue", json!("ore"))?;
    namespace.apply(&missing).await?;
    told(namespace, &missing, TOLD_WITHIN, "QueueMissing", "'ore'").await?;

    // Its answer to what is posted there: 405 Method Not Allowed.
    let failing = with(pool.clone(), "/spec/handler/http/path", json!("/healthz"))?;
    namespace.apply(&failing).await?;
    ready_object(namespace, &failing, SEEN_WITHIN).await?;
    broker.publish(lengths(20)).await?;
    told(namespace, &failing, FAILING_WITHIN, "HandlerFailing", "405").await
}

async fn told(
    namespace: &TestNamespace,
    manifest: &Value,
    within: Duration,
    reason: &str,
    word: &str,
) -> Result<()> {
    let (api, _) = namespace.api_of(manifest).await?;
    let began = Instant::now();
    eventually(within, format!("{reason} is told"), async || {
        let verdict = verdict_of(&api.get(POOL).await?)?;
        let fits = verdict.reason == reason && verdict.message.contains(word);
        ensure!(fits, "{}: {}", verdict.reason, verdict.message);
        Ok(())
    })
    .await?;
    let took = format!("{:.1}", began.elapsed().as_secs_f64());
    figure(&format!("workers.told.{reason}"), took, "s");
    Ok(())
}

async fn decision(namespace: &TestNamespace) -> Result<ScalingDecision> {
    let pool = namespace.api::<WorkerPool>().get(POOL).await?;
    let status = pool.status.context("there is no status")?;
    status.scaling.context("nothing was decided")
}

/// Of all revisions.
async fn replicas(namespace: &TestNamespace) -> Result<i32> {
    let deployments = namespace.api::<Deployment>().list(&of_pool()).await?;
    ensure!(!deployments.items.is_empty(), "there is no Deployment");
    let asked = deployments.iter().map(|it| it.spec.as_ref()?.replicas);
    asked.sum::<Option<i32>>().context("all say how many")
}

fn of_pool() -> ListParams {
    ListParams::default().labels(&format!("app.kubernetes.io/name={POOL}"))
}

/// How long each of so many jobs takes, in milliseconds.
fn lengths(jobs: usize) -> impl Iterator<Item = usize> {
    (0..jobs).map(|number| number * 37 % LONGEST)
}

/// The broker as applications reach it, and its counters.
pub(crate) struct Broker {
    uri: AMQPUri,
    counters: SocketAddr,
}

impl Broker {
    /// By an address that is known outside of the cluster too.
    pub(crate) async fn of(namespace: &TestNamespace) -> Result<Self> {
        let binding = namespace.api::<Secret>().get("hold-binding").await?;
        let data = binding.data.context("the binding is empty")?;
        let uri = data.get("uri").context("the binding has no uri")?;
        let uri = String::from_utf8(uri.0.clone())?;
        let mut uri: AMQPUri = uri.parse().map_err(anyhow::Error::msg)?;
        let service = namespace.api::<Service>().get("hold").await?;
        let address = service.spec.and_then(|spec| spec.cluster_ip);
        uri.authority.host = address.context("the broker has no address")?;
        Ok(Self {
            counters: SocketAddr::new(uri.authority.host.parse()?, 15692),
            uri,
        })
    }

    /// Publishes a job for each length in milliseconds, and returns when the broker has written them.
    pub(crate) async fn publish(&self, lengths: impl IntoIterator<Item = usize>) -> Result<()> {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect_uri(self.uri.clone(), properties).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let channel = &channel;
        let published = lengths.into_iter().map(|millis| async move {
            let options = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
            let millis = millis.to_string();
            let confirm = channel.basic_publish(
                "".into(),
                "cargo".into(),
                options,
                millis.as_bytes(),
                properties,
            );
            let confirmation = confirm.await?.await?;
            ensure!(confirmation == Confirmation::Ack(None), "{confirmation:?}");
            Ok(())
        });
        try_join_all(published).await?;
        Ok(())
    }

    /// One of the broker's own counts, of all queues together.
    pub(crate) async fn count(&self, name: &str) -> Result<usize> {
        let path = "/metrics/detailed?vhost=orlop&family=queue_coarse_metrics&family=queue_delivery_metrics";
        let answer = get(self.counters, path).await?;
        ensure!(answer.status.is_success(), "status {}", answer.status);
        let sum = Metrics::parse(answer.body).sum(&format!("rabbitmq_detailed_queue_{name}"));
        Ok(format!("{sum:.0}").parse()?)
    }
}

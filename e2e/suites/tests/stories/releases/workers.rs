//! Workers that take a queue over from each other under load.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use orlop_crds::WorkerPool;
use orlop_suites::{
    TestNamespace, documents, eventually, figure, in_namespace, ready_object, with,
};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::workers::{Broker, nothing_is_redelivered};

/// A volume, an image of some size, and Erlang's start.
const READY_WITHIN: Duration = Duration::from_mins(3);
/// New workers start, and each of the old ones finishes all that it has taken.
const RELEASED_WITHIN: Duration = Duration::from_mins(3);
const DONE_WITHIN: Duration = Duration::from_mins(3);

const POOL: &str = "stevedores";
const WORKERS: i32 = 3;
/// Set to another number for a longer run.
const RELEASES: &str = "ORLOP_WORKER_RELEASES";
const RELEASES_DEFAULT: usize = 5;
/// Shortest and longest job, in milliseconds.
const LENGTHS: (usize, usize) = (1000, 5000);
/// Little less than twelve at once can do of three seconds each: the queue is never empty for long,
/// and every worker has jobs that wait inside it.
const JOBS_PER_SECOND: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_take_the_queue_over_without_doing_a_job_twice() -> Result<()> {
    let releases = match env::var(RELEASES) {
        Ok(number) => number.parse().context(RELEASES)?,
        Err(_) => RELEASES_DEFAULT,
    };
    in_namespace("handover", async |namespace| {
        let mut manifests = documents("e2e/suites/fixtures/stevedores.yaml")?;
        let pool = manifests.pop().context("the last one is the pool")?;
        let pool = with(pool, "/spec/scale", json!({"min": WORKERS, "max": WORKERS}))?;
        let pool = with(pool, "/spec/drain", json!("40s"))?;
        manifests.push(pool.clone());
        for manifest in &manifests {
            namespace.apply(manifest).await?;
        }
        for manifest in &manifests {
            ready_object(namespace, manifest, READY_WITHIN).await?;
        }
        let broker = Broker::of(namespace).await?;

        let over = Arc::new(AtomicBool::new(false));
        let (published, ()) = try_join(publish(&broker, &over), async {
            let done = release(namespace, &pool, releases).await;
            over.store(true, Ordering::Relaxed);
            done
        })
        .await?;
        eventually(DONE_WITHIN, "every job is done", async || {
            let done = broker.count("messages_acked_total").await?;
            let left = broker.count("messages").await?;
            ensure!(
                done == published && left == 0,
                "{done} of {published} are done, {left} left"
            );
            Ok(())
        })
        .await?;
        nothing_is_redelivered(&broker).await?;
        figure("release.workers.releases", releases, "releases");
        figure("release.workers.jobs", published, "jobs");
        figure("release.workers.jobs-redelivered", 0, "jobs");
        Ok(())
    })
    .await
}

/// Jobs of all lengths in turn, until it is over; how many.
async fn publish(broker: &Broker, over: &AtomicBool) -> Result<usize> {
    let (shortest, longest) = LENGTHS;
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut published = 0;
    while !over.load(Ordering::Relaxed) {
        second.tick().await;
        let numbers = published..published + JOBS_PER_SECOND;
        // A step without a common divisor with the span meets every length.
        let length = |number| shortest + number * 1237 % (longest - shortest);
        broker.publish(numbers.map(length)).await?;
        published += JOBS_PER_SECOND;
    }
    Ok(published)
}

/// One release after the other: of the same workers, which take a job more into their hands.
async fn release(namespace: &TestNamespace, pool: &Value, releases: usize) -> Result<()> {
    let mut before = active(namespace).await?;
    for number in 1..=releases {
        let began = Timestamp::now();
        let next = with(pool.clone(), "/spec/prefetch", json!(8 + number))?;
        namespace.apply(&next).await?;
        let what = format!("release {number} of workers has ended");
        let after = eventually(RELEASED_WITHIN, what, async || {
            let after = active(namespace).await?;
            ensure!(after != before, "{after} still takes the jobs");
            Ok(after)
        })
        .await?;
        let took = Timestamp::now().duration_since(began);
        figure("release.workers.took", took.as_millis(), "ms");
        ensure!(workers(namespace, &after).await? == WORKERS, "not all work");
        let left = workers(namespace, &before).await?;
        ensure!(
            left == 0,
            "{left} workers of the previous revision are left"
        );
        before = after;
    }
    Ok(())
}

/// The revision that takes the jobs, once no release is under way.
async fn active(namespace: &TestNamespace) -> Result<String> {
    let pool = namespace.api::<WorkerPool>().get(POOL).await?;
    let status = pool.status.context("there is no status")?;
    let (observed, declared) = (status.observed_generation, pool.metadata.generation);
    ensure!(observed == declared, "the status is of {observed:?}");
    let record = status.record;
    ensure!(record.release.is_none(), "under way: {:?}", record.release);
    ensure!(record.hold.is_none(), "held back: {:?}", record.hold);
    record.active_revision.context("no revision is active")
}

/// How many workers a revision's own Deployment has.
async fn workers(namespace: &TestNamespace, revision: &str) -> Result<i32> {
    let deployments = namespace.api::<Deployment>();
    let deployment = deployments.get_opt(&format!("{POOL}-{revision}")).await?;
    let status = deployment.and_then(|it| it.status);
    Ok(status.and_then(|it| it.replicas).unwrap_or_default())
}

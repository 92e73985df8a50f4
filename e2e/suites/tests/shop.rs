//! The whole shop: examples/shop comes up, the walk of its README is as it says there, and then it
//! rests: nothing is written, and nothing has grown.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt as _, api::ListParams};
use orlop_suites::{
    Operator, TestNamespace, Write, documents, eventually, figure, in_namespace, observe_for,
    process, ready,
};

/// Fourteen pods, of which some wait for others.
const READY_WITHIN: Duration = Duration::from_mins(4);
/// The workers stay for a minute after their last job; the rest takes seconds.
const WALK_WITHIN: Duration = Duration::from_mins(6);
/// The walk ends with a release, whose old revision drains for 20 s.
const SETTLED_WITHIN: Duration = Duration::from_mins(2);
const SETTLED_AFTER: SignedDuration = SignedDuration::from_secs(15);
const REST: Duration = Duration::from_mins(1);
const MIB: u64 = 1 << 20;
/// The most that a process may ever have had.
const API_LIMIT: u64 = 60_000_000;
const OPERATOR_LIMIT: u64 = 64 * MIB;

#[tokio::test]
async fn the_shop_comes_up_is_walked_and_rests() -> Result<()> {
    in_namespace("shop", async |namespace| {
        let application = documents("examples/shop/app.yaml")?
            .pop()
            .context("the example is empty")?;
        let started = Instant::now();
        let applied = namespace.apply(&application).await?;
        ready(namespace, &applied.name_any(), READY_WITHIN).await?;
        figure("shop.ready", started.elapsed().as_secs(), "s");
        let told = namespace
            .cluster
            .script("examples/shop/walk.sh", namespace.name(), WALK_WITHIN)
            .await?;
        println!("{told}");
        figure("shop.ready-and-walked", started.elapsed().as_secs(), "s");
        nothing_is_written(namespace).await?;
        all_is_small(namespace).await
    })
    .await
}

async fn nothing_is_written(namespace: &TestNamespace) -> Result<()> {
    let began = Timestamp::now();
    eventually(SETTLED_WITHIN, "the operator has finished", async || {
        let last = writes(namespace, began).await?.pop();
        let since = last.as_ref().map_or(began, |write| write.at);
        ensure!(
            since.duration_until(Timestamp::now()) > SETTLED_AFTER,
            "it still writes: {last:?}"
        );
        Ok(())
    })
    .await?;
    let rested = Timestamp::now();
    observe_for(REST, "the shop at rest").await;
    let written = writes(namespace, rested).await?;
    ensure!(
        written.is_empty(),
        "at rest the operator wrote {written:#?}"
    );
    figure("shop.writes-at-rest", written.len(), "in 60 s");
    Ok(())
}

/// What the operator wrote here, in the order of time.
async fn writes(namespace: &TestNamespace, since: Timestamp) -> Result<Vec<Write>> {
    let cluster = &namespace.cluster;
    let user = Operator::of(cluster).user().await?;
    let writes = cluster.audit_log().writes_by(&user, since).await?;
    let here = writes.into_iter();
    Ok(here
        .filter(|write| write.namespace == namespace.name())
        .collect())
}

async fn all_is_small(namespace: &TestNamespace) -> Result<()> {
    let operator = Operator::of(&namespace.cluster).memory().await?;
    within_limit("operator", operator, OPERATOR_LIMIT)?;
    let of_api = ListParams::default().labels("app.kubernetes.io/name=api");
    let pods = namespace.api::<Pod>().list(&of_api).await?;
    ensure!(
        pods.items.len() == 2,
        "the API has {} pods",
        pods.items.len()
    );
    for pod in &pods {
        within_limit("api", process::memory(pod)?, API_LIMIT)?;
    }
    Ok(())
}

fn within_limit(name: &str, memory: process::Memory, limit: u64) -> Result<()> {
    ensure!(
        memory.peak < limit,
        "{name} had {} of {} MiB",
        memory.peak / MIB,
        limit / MIB
    );
    figure(
        &format!("shop.memory.{name}"),
        memory.peak / MIB,
        "MiB at most",
    );
    Ok(())
}

//! Fifty applications beside a thousand large Secrets of others: how much memory and time the
//! operator takes.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use orlop_crds::{AppPlatform, AppService};
use orlop_suites::{
    Histogram, Operator, TestNamespace, eventually, figure, fixture, in_namespace, verdict, with,
};
use serde_json::{Value, json};

const PLATFORMS: usize = 50;
const SECRETS: usize = 1000;
/// Each holds so many bytes.
const SECRET_BYTES: usize = 100_000;
const RESIDENT_BYTES_MAX: u64 = 64 << 20;
const RECONCILES: f64 = 1000.0;
/// Seconds.
const P99_MAX: f64 = 0.005;
/// On a machine that does nothing else the first one is enough.
const MEASUREMENTS_MAX: usize = 3;
/// Buffers of the last answers are gone by then.
const AT_REST_WITHIN: Duration = Duration::from_secs(30);
/// Rounds of touches until there were enough passes; one round alone gives a hundred or more.
const ROUNDS_MAX: usize = 30;
/// Requests under way at once: the two cores are shared with what is measured.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_applications_beside_a_thousand_secrets_take_little_memory_and_time() -> Result<()> {
    in_namespace("scale", async |namespace| {
        let operator = Operator::of(&namespace.cluster);
        operator.leads().await?;
        make_secrets(namespace).await?;
        make_platforms(namespace).await?;

        let memory = operator.memory().await?;
        figure("scale.resident", mebibytes(memory.resident), "MiB");
        figure("scale.peak", mebibytes(memory.peak), "MiB");

        passes_without_change_are_quick(namespace, &operator).await?;
        takes_little_memory(&operator).await
    })
    .await
}

/// Of some measurements the best is judged: whatever else the machine does only adds time.
async fn passes_without_change_are_quick(
    namespace: &TestNamespace,
    operator: &Operator,
) -> Result<()> {
    let mut measured = Vec::new();
    for measurement in 1..=MEASUREMENTS_MAX {
        let passes = passes_without_change(namespace, operator, measurement).await?;
        let p50 = passes.quantile_at_most(0.5) * 1000.0;
        let p99 = passes.quantile_at_most(0.99) * 1000.0;
        figure("scale.reconciles", passes.count(), "passes without change");
        figure("scale.reconcile-p50-at-most", p50, "ms");
        figure("scale.reconcile-p99-at-most", p99, "ms");
        if passes.quantile_at_most(0.99) <= P99_MAX {
            return Ok(());
        }
        measured.push(passes);
    }
    anyhow::bail!("p99 is over {P99_MAX} s in each measurement: {measured:?}")
}

/// What a burst of passes took is given back soon after.
async fn takes_little_memory(operator: &Operator) -> Result<()> {
    let memory = eventually(AT_REST_WITHIN, "the operator is small", async || {
        let memory = operator.memory().await?;
        ensure!(memory.resident < RESIDENT_BYTES_MAX, "{memory:?}");
        Ok(memory)
    })
    .await?;
    figure("scale.resident-after", mebibytes(memory.resident), "MiB");
    Ok(())
}

/// Looks again at everything, again and again, although nothing has changed. Only the passes of
/// this time are counted.
async fn passes_without_change(
    namespace: &TestNamespace,
    operator: &Operator,
    measurement: usize,
) -> Result<Histogram> {
    settled(operator).await?;
    let began = Timestamp::now();
    let before = reconciles(operator).await?;
    for round in 0..ROUNDS_MAX {
        touch_all(namespace, &format!("{measurement}-{round}")).await?;
        settled(operator).await?;
        let passes = reconciles(operator).await?.since(&before)?;
        if passes.count() >= RECONCILES {
            let user = operator.user().await?;
            let writes = namespace
                .cluster
                .audit_log()
                .writes_by(&user, began)
                .await?;
            let here = writes
                .iter()
                .find(|write| write.namespace == namespace.name());
            ensure!(here.is_none(), "a pass wrote something: {here:?}");
            return Ok(passes);
        }
    }
    anyhow::bail!("{ROUNDS_MAX} rounds of touches gave fewer than {RECONCILES} passes")
}

async fn reconciles(operator: &Operator) -> Result<Histogram> {
    let metrics = operator.metrics().await?;
    Ok(metrics.histogram("controller_runtime_reconcile_time_seconds"))
}

/// Waits until no pass is waited for.
async fn settled(operator: &Operator) -> Result<()> {
    let mut last = -1.0;
    eventually(
        Duration::from_mins(1),
        "the operator's queues are empty",
        async || {
            let metrics = operator.metrics().await?;
            let waiting = metrics.sum("workqueue_depth");
            let count = metrics
                .histogram("controller_runtime_reconcile_time_seconds")
                .count();
            let same = (count - last).abs() < 0.5;
            last = count;
            ensure!(
                waiting < 0.5 && same,
                "{waiting} wait, {count} passes so far"
            );
            Ok(())
        },
    )
    .await
}

/// An annotation that means nothing: every object is looked at again.
async fn touch_all(namespace: &TestNamespace, round: &str) -> Result<()> {
    let touch = json!({"metadata": {"annotations": {"suites.test/round": round}}});
    let services = namespace.api::<AppService>();
    let platforms = namespace.api::<AppPlatform>();
    let names: Vec<_> = services
        .list(&ListParams::default())
        .await?
        .into_iter()
        .collect();
    let touches = names.iter().map(|service| {
        let (services, platforms, touch) = (&services, &platforms, &touch);
        async move {
            let patch = Patch::Merge(touch);
            let owner = service
                .owner_references()
                .first()
                .context("a service has an owner")?;
            services
                .patch(&service.name_any(), &PatchParams::default(), &patch)
                .await?;
            platforms
                .patch(&owner.name, &PatchParams::default(), &patch)
                .await?;
            Ok(())
        }
    });
    stream::iter(touches)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

async fn make_secrets(namespace: &TestNamespace) -> Result<()> {
    let secrets = namespace.api::<Secret>();
    let content = "x".repeat(SECRET_BYTES);
    let made = AtomicUsize::new(0);
    let each = (0..SECRETS).map(|number| {
        let (secrets, content, made) = (&secrets, &content, &made);
        async move {
            let secret: Secret = serde_json::from_value(json!({
                "metadata": {"name": format!("ballast-{number}")},
                "stringData": {"stone": content},
            }))?;
            secrets.create(&PostParams::default(), &secret).await?;
            let made = made.fetch_add(1, Ordering::Relaxed) + 1;
            if made.is_multiple_of(250) {
                println!("{made} of {SECRETS} Secrets are made");
            }
            Ok(())
        }
    });
    stream::iter(each)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

async fn make_platforms(namespace: &TestNamespace) -> Result<()> {
    let raft = fixture("raft")?;
    for number in 0..PLATFORMS {
        let name = Value::String(format!("raft-{number}"));
        namespace
            .apply(&with(raft.clone(), "/metadata/name", name)?)
            .await?;
    }
    let platforms = namespace.api::<AppPlatform>();
    eventually(
        Duration::from_mins(2),
        "all applications are Ready",
        async || {
            let all = platforms.list(&ListParams::default()).await?;
            let ready = all
                .iter()
                .filter(|one| verdict(one).is_ok_and(|verdict| verdict.ready))
                .count();
            ensure!(ready == PLATFORMS, "{ready} of {PLATFORMS} are");
            Ok(())
        },
    )
    .await
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes * 10 / (1 << 20);
    format!("{}.{}", tenths / 10, tenths % 10)
}

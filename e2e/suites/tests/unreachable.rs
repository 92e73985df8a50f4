//! The API server does not answer for half a minute, in the middle of a release: what serves goes on
//! serving, and the release completes afterwards as if nothing had been.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt as _, api::ListParams};
use orlop_suites::{
    Barge, Operator, TestNamespace, Write, eventually, figure, in_namespace, observe_for,
    process::Paused,
};
use serde_json::json;

const OUTAGE: Duration = Duration::from_secs(30);
const BACK_WITHIN: Duration = Duration::from_mins(1);
/// No write for so long means that what was begun has ended: longer than any delay inside.
const SETTLED_AFTER: SignedDuration = SignedDuration::from_secs(8);
const SETTLED_WITHIN: Duration = Duration::from_mins(2);
/// How often one object, or the status of one, may be written in the rest of a release: each phase
/// is recorded, and so are what it waits for and how many replicas are ready.
const WRITES_MAX: usize = 15;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_api_server_nothing_dies_and_the_release_completes_afterwards() -> Result<()> {
    in_namespace("unreachable", async |namespace| {
        let user = Operator::of(&namespace.cluster).user().await?;
        let release = json!({"drain": "20s", "keepOld": "0s"});
        let barge = Barge::launch(namespace, &release).await?;
        let blue = pods(namespace).await?;
        let load = barge.load().await?;
        barge.declare("second", &[], &release).await?;
        barge
            .under_way("a release has begun".into(), |_| true)
            .await?;

        let asked = load.elapsed();
        {
            let _stopped = Paused::api_server(&namespace.cluster).await?;
            observe_for(OUTAGE, "the API server does not answer").await;
        }
        let answered = load.elapsed();
        let returned = Timestamp::now();
        let after = eventually(BACK_WITHIN, "the API server answers", async || {
            pods(namespace).await
        })
        .await?;
        for (pod, restarts) in &after {
            ensure!(*restarts == 0, "{pod} was restarted");
        }
        let lost: BTreeSet<_> = blue
            .keys()
            .filter(|pod| !after.contains_key(*pod))
            .collect();
        ensure!(lost.is_empty(), "{lost:?} are gone");

        barge.released("second").await?;
        settled(namespace, &user, returned).await?;
        let load = load.stop().await?;
        println!("unreachable: {load}");
        let during = load.lost().filter(|it| (asked..answered).contains(&it.at));
        figure("unreachable.requests", load.outcomes.len(), "requests");
        figure("unreachable.requests-lost", load.lost().count(), "requests");
        figure(
            "unreachable.requests-lost-during",
            during.count(),
            "requests",
        );
        writes_are_few(namespace, &user, returned).await?;
        load.ensure_nothing_lost()
    })
    .await
}

/// How often each pod was restarted, by its UID.
async fn pods(namespace: &TestNamespace) -> Result<BTreeMap<String, i32>> {
    let pods = namespace.api::<Pod>().list(&ListParams::default()).await?;
    let restarts = pods.into_iter().map(|pod| {
        let containers = pod.status.iter();
        let containers = containers.filter_map(|status| status.container_statuses.as_ref());
        let restarts = containers.flatten().map(|it| it.restart_count).sum();
        Ok((pod.uid().context("a pod has a UID")?, restarts))
    });
    restarts.collect()
}

async fn settled(namespace: &TestNamespace, user: &str, began: Timestamp) -> Result<()> {
    eventually(SETTLED_WITHIN, "the operator has finished", async || {
        let writes = writes(namespace, user, began).await?;
        let since = writes.last().map_or(began, |write| write.at);
        let quiet = since.duration_until(Timestamp::now());
        ensure!(quiet > SETTLED_AFTER, "it wrote {quiet} ago");
        Ok(())
    })
    .await
}

async fn writes_are_few(namespace: &TestNamespace, user: &str, since: Timestamp) -> Result<()> {
    let writes = writes(namespace, user, since).await?;
    let mut times = BTreeMap::<_, usize>::new();
    for write in &writes {
        let object = format!("{}/{}", write.resource, write.name);
        *times
            .entry((object, write.subresource.clone()))
            .or_default() += 1;
    }
    println!("written after the outage: {times:#?}");
    figure("unreachable.writes-afterwards", writes.len(), "writes");
    let most = times.values().max().copied().unwrap_or_default();
    ensure!(most <= WRITES_MAX, "one was written {most} times");
    Ok(())
}

/// By the operator in this namespace, without its events.
async fn writes(namespace: &TestNamespace, user: &str, since: Timestamp) -> Result<Vec<Write>> {
    let audit = namespace.cluster.audit_log();
    let mut writes = audit.writes_by(user, since).await?;
    writes.retain(|write| write.namespace == namespace.name() && write.resource != "events");
    Ok(writes)
}

//! The operator is killed again and again while an application is created and while a revision is
//! switched: the end is the same, and in between exactly one revision is selected.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::{
    ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use orlop_crds::AppService;
use orlop_suites::{
    Load, Operator, TestNamespace, edge_address, eventually, figure, fixture, get, in_namespace,
    ready, with,
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

/// With a kill every few seconds, each of which costs the operator a start.
const READY_WITHIN: Duration = Duration::from_mins(3);
/// How long the operator lives after it has the Lease: from the very first writes to the midst of
/// a release. Used in turn.
const LIVES: [Duration; 8] = [
    Duration::from_millis(30),
    Duration::from_millis(400),
    Duration::from_secs(2),
    Duration::from_millis(100),
    Duration::from_secs(4),
    Duration::from_millis(800),
    Duration::from_millis(250),
    Duration::from_secs(3),
];
const REQUESTS_PER_SECOND: u32 = 40;
/// During a switch there is time for as many: the first kill comes at once, the second before the
/// drain can be over. A creation may be over sooner, so others follow.
const KILLS_AT_LEAST: usize = 2;
/// Creations that follow at most, each far longer than the operator's shortest lives.
const MORE_CREATIONS: usize = 6;
const REVISION: &str = "orlop.dev/revision";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_every_few_seconds_the_operator_creates_and_switches_all_the_same() -> Result<()> {
    in_namespace("crash", async |namespace| {
        let operator = Operator::of(&namespace.cluster);
        operator.leads().await?;
        let selections = Selections::watch(namespace, "lantern-wick");

        let first = fixture("lantern")?;
        let kills_of_creation = AtomicUsize::new(0);
        kill_during(&operator, &kills_of_creation, async {
            namespace.apply(&first).await?;
            ready(namespace, "lantern", READY_WITHIN).await?;
            create_more(namespace, &first, &kills_of_creation).await
        })
        .await?;
        let edge = edge_address(namespace, "lantern").await?;
        answers_from(edge, "first").await?;

        let load = Load::begin(edge, "/", REQUESTS_PER_SECOND);
        let second = with(first, "/spec/services/0/env/0/value", json!("second"))?;
        let kills_of_switch = AtomicUsize::new(0);
        kill_during(&operator, &kills_of_switch, async {
            namespace.apply(&second).await?;
            ready(namespace, "lantern", READY_WITHIN).await?;
            released(namespace).await
        })
        .await?;
        answers_from(edge, "second").await?;
        let report = load.stop().await?;

        operator.leads().await?;
        let selected = selections.stop().await?;
        println!("selected in turn: {selected:?}");
        ensure!(
            selected.len() == 2,
            "not one revision and then the other: {selected:?}"
        );
        println!("load: {report}");
        let kills_of_creation = kills_of_creation.into_inner();
        let kills_of_switch = kills_of_switch.into_inner();
        figure("crash.kills.creation", kills_of_creation, "kills");
        figure("crash.kills.switch", kills_of_switch, "kills");
        figure("crash.requests", report.outcomes.len(), "requests");
        figure("crash.requests-lost", report.lost().count(), "requests");
        ensure!(
            kills_of_creation >= KILLS_AT_LEAST && kills_of_switch >= KILLS_AT_LEAST,
            "too few kills to prove anything"
        );
        Ok(())
    })
    .await
}

/// Creates further applications until the operator was killed often enough.
async fn create_more(namespace: &TestNamespace, first: &Value, kills: &AtomicUsize) -> Result<()> {
    for number in 1..=MORE_CREATIONS {
        if kills.load(Ordering::Relaxed) >= KILLS_AT_LEAST {
            break;
        }
        let name = format!("lantern-{number}");
        namespace
            .apply(&with(first.clone(), "/metadata/name", json!(name))?)
            .await?;
        ready(namespace, &name, READY_WITHIN).await?;
    }
    Ok(())
}

async fn answers_from(edge: std::net::SocketAddr, revision: &str) -> Result<()> {
    eventually(
        Duration::from_secs(15),
        format!("{revision} answers"),
        async || {
            let answer = get(edge, "/").await?;
            let signed = answer.header("x-revision");
            ensure!(
                answer.status == 200 && signed == revision,
                "{} from {signed}",
                answer.status
            );
            Ok(())
        },
    )
    .await
}

/// Waits until the release has ended: the old revision's pods are stopped.
async fn released(namespace: &TestNamespace) -> Result<()> {
    let services = namespace.api::<AppService>();
    eventually(READY_WITHIN, "the release ends", async || {
        let status = services
            .get("lantern-wick")
            .await?
            .status
            .context("no status")?;
        ensure!(
            status.record.release.is_none(),
            "{:?}",
            status.record.release
        );
        Ok(())
    })
    .await
}

/// Kills the operator, each time after it has acted for a while, until `work` is done, and counts.
async fn kill_during(
    operator: &Operator,
    kills: &AtomicUsize,
    work: impl Future<Output = Result<()>>,
) -> Result<()> {
    let kill = async {
        for life in LIVES.into_iter().cycle() {
            operator.leads().await?;
            tokio::time::sleep(life).await;
            operator.kill().await?;
            kills.fetch_add(1, Ordering::Relaxed);
        }
        Ok::<(), anyhow::Error>(())
    };
    tokio::select! {
        done = work => done?,
        failed = kill => failed?,
    }
    Ok(())
}

/// Which revisions a Service selected, as every version of it says.
struct Selections {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<Vec<String>>>,
}

impl Selections {
    fn watch(namespace: &TestNamespace, service: &'static str) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(observe_selections(namespace.clone(), service, stopped));
        Self { stop, task }
    }

    /// The revisions in the order in which they were selected.
    async fn stop(self) -> Result<Vec<String>> {
        self.stop.send_replace(true);
        self.task.await?
    }
}

async fn observe_selections(
    namespace: TestNamespace,
    service: &'static str,
    mut stopped: watch::Receiver<bool>,
) -> Result<Vec<String>> {
    let only = watcher::Config::default().fields(&format!("metadata.name={service}"));
    let mut versions = watcher(namespace.api::<Service>(), only)
        .default_backoff()
        .applied_objects()
        .boxed();
    let mut selected: Vec<String> = Vec::new();
    loop {
        let version = tokio::select! {
            _ = stopped.changed() => return Ok(selected),
            version = versions.try_next() => version?.context("the watch ended")?,
        };
        let revision = selected_revision(&version)?;
        if selected.last() != Some(&revision) {
            ensure!(
                !selected.contains(&revision),
                "{revision} was selected again: {selected:?}"
            );
            if !selected.is_empty() {
                ensure_runs(&namespace, service, &revision).await?;
            }
            selected.push(revision);
        }
    }
}

/// Exactly one revision: neither none nor whatever carries the service's name.
fn selected_revision(service: &Service) -> Result<String> {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone());
    let selector: BTreeMap<String, String> = selector.unwrap_or_default();
    match selector.get(REVISION) {
        Some(revision) if !revision.is_empty() => Ok(revision.clone()),
        _ => bail!("{} selects no revision: {selector:?}", service.name_any()),
    }
}

/// What requests are switched to must be there.
async fn ensure_runs(namespace: &TestNamespace, service: &str, revision: &str) -> Result<()> {
    let name = format!("{service}-{revision}");
    let deployment = namespace.api::<Deployment>().get(&name).await?;
    let ready = deployment
        .status
        .and_then(|status| status.ready_replicas)
        .unwrap_or(0);
    ensure!(ready > 0, "{revision} was selected without a ready pod");
    Ok(())
}

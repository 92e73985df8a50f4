//! A cache: whatever is deleted of it comes back, and what was acknowledged is still there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use orlop_suites::{TestNamespace, eventually, figure, fixture, in_namespace, verdict_of};
use redis::{cluster::ClusterClientBuilder, cluster_async::ClusterConnection};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, interval},
};

use crate::tier::Tier;

/// Promised: all nodes killed and deleted at once, until all is as it was.
const HEALED_WITHIN: Duration = Duration::from_mins(1);
/// A steady load writes as many in seconds.
const WRITTEN_WITHIN: Duration = Duration::from_mins(2);
/// What was written is on every volume after a second: `appendfsync everysec`.
const DURABLE_AFTER: Duration = Duration::from_secs(1);
/// A client's patience with one request: of one that goes on with the next, and of one that must
/// know.
const HASTY: Duration = Duration::from_millis(500);
const PATIENT: Duration = Duration::from_secs(10);
/// Between two writes: a steady load that leaves the cores to the cluster.
const WRITE_EVERY: Duration = Duration::from_millis(5);
/// How many writes there must be before something is done to the cache.
const WRITTEN_MIN: usize = 500;

const CACHE: &str = "rope";
const NODES: usize = 6;
/// Three Secrets, a ConfigMap, two Services, a PodDisruptionBudget, a StatefulSet a node.
const OBJECTS: usize = 7 + NODES;

#[tokio::test]
async fn whatever_is_deleted_of_a_cache_comes_back_with_its_keys() -> Result<()> {
    in_namespace("cache", async |namespace| {
        let tier = Tier::start(namespace, fixture(CACHE)?).await?;
        every_shard_survives_a_zone(&tier).await?;

        let password = tier.secret("binding", "password").await?;
        let mut connection = connect(namespace, &password, PATIENT).await?;
        for number in 0..100 {
            set(&mut connection, number).await?;
        }
        tier.each_of_its_objects_comes_back(OBJECTS).await?;

        tier.delete().await?;
        tier.make().await?;
        let after = tier.secret("binding", "password").await?;
        ensure!(after == password, "users have another password");
        let mut connection = connect(namespace, &password, PATIENT).await?;
        for number in 0..100 {
            ensure!(has(&mut connection, number).await?, "key {number} is lost");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn all_nodes_killed_and_deleted_at_once_heal_within_a_minute() -> Result<()> {
    in_namespace("killed", async |namespace| {
        let tier = Tier::start(namespace, fixture(CACHE)?).await?;
        let password = tier.secret("binding", "password").await?;

        let writer = Writer::start(namespace, &password);
        writer.has_written(WRITTEN_MIN).await?;
        let before = pods(namespace).await?;
        let killed = Instant::now();
        ensure!(kill(&before)? == NODES, "not all nodes were killed");
        let at_once = DeleteParams::default().grace_period(0);
        let pods_api = namespace.api::<Pod>();
        try_join_all(before.keys().map(|name| pods_api.delete(name, &at_once))).await?;
        eventually(HEALED_WITHIN, "all pods are new ones", async || {
            let now = pods(namespace).await?;
            let fresh = now
                .iter()
                .filter(|(name, uid)| before.get(*name) != Some(uid));
            ensure!(fresh.count() == NODES, "{now:?}");
            Ok(())
        })
        .await?;
        let left = HEALED_WITHIN.saturating_sub(killed.elapsed());
        eventually(left, "the cache is Ready", async || {
            let verdict = verdict_of(&tier.object().await?)?;
            ensure!(verdict.ready, "{verdict:?}");
            Ok(())
        })
        .await?;
        figure(
            "cache.all-killed.ready",
            killed.elapsed().as_secs_f32(),
            "s",
        );

        let acknowledged = writer.stop().await?;
        let mut connection = connect(namespace, &password, PATIENT).await?;
        let (mut checked, mut lost) = (0, Vec::new());
        for (number, at) in acknowledged {
            if at + DURABLE_AFTER < killed {
                checked += 1;
                if !has(&mut connection, number).await? {
                    lost.push(number);
                }
            }
        }
        figure("cache.all-killed.writes", checked, "keys");
        ensure!(
            lost.is_empty(),
            "{} of {checked} are lost: {lost:?}",
            lost.len()
        );
        Ok(())
    })
    .await
}

/// By the cache's own status: primaries in three zones, no replica in its primary's.
async fn every_shard_survives_a_zone(tier: &Tier<'_>) -> Result<()> {
    let cache = tier.object().await?;
    let nodes = cache
        .data
        .pointer("/status/nodes")
        .and_then(Value::as_array);
    let nodes = nodes.context("the status has no nodes")?;
    ensure!(nodes.len() == NODES, "{nodes:?}");
    let zones = |wanted: &dyn Fn(&Value) -> bool| -> BTreeSet<String> {
        let matching = nodes.iter().filter(|node| wanted(node));
        matching
            .filter_map(|node| Some(node["zone"].as_str()?.to_owned()))
            .collect()
    };
    let primaries = zones(&|node| node["role"] == "Primary");
    ensure!(primaries.len() == 3, "primaries: {primaries:?}");
    for shard in 0..3 {
        let apart = zones(&|node| node["shard"] == shard);
        ensure!(apart.len() == 2, "shard {shard}: {apart:?}");
    }
    Ok(())
}

/// Ends the servers of these pods, by name and UID, at once, as their node's failure would: how many.
fn kill(pods: &BTreeMap<String, String>) -> Result<usize> {
    let mut killed = 0;
    for entry in fs::read_dir("/proc")? {
        let entry = entry?.path();
        let number = entry
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else {
            continue;
        };
        // Processes come and go while they are listed.
        let read = |file: &str| fs::read_to_string(entry.join(file)).unwrap_or_default();
        if read("comm").trim() != "valkey-server" {
            continue;
        }
        // systemd writes the dashes of the pod's UID as underscores.
        let groups = read("cgroup").replace('_', "-");
        if pods.values().any(|uid| groups.contains(uid)) {
            kill_process(pid, Signal::KILL)?;
            killed += 1;
        }
    }
    Ok(killed)
}

/// Names and UIDs.
async fn pods(namespace: &TestNamespace) -> Result<BTreeMap<String, String>> {
    let pods = namespace.api::<Pod>().list(&ListParams::default()).await?;
    let named = pods
        .items
        .into_iter()
        .filter_map(|pod| Some((pod.name_any(), pod.uid()?)));
    Ok(named.collect())
}

/// A cluster client, from where the nodes are now.
async fn connect(
    namespace: &TestNamespace,
    password: &str,
    patience: Duration,
) -> Result<ClusterConnection> {
    let pods = namespace.api::<Pod>().list(&ListParams::default()).await?;
    let addresses = pods.items.into_iter().filter_map(|pod| pod.status?.pod_ip);
    let nodes: Vec<_> = addresses.map(|ip| format!("redis://{ip}:6379")).collect();
    ensure!(!nodes.is_empty(), "no node has an address");
    let client = ClusterClientBuilder::new(nodes)
        .username("app")
        .password(password)
        .connection_timeout(patience)
        .response_timeout(patience)
        .retries(3)
        .build()?;
    Ok(client.get_async_connection().await?)
}

async fn set(connection: &mut ClusterConnection, number: u64) -> Result<()> {
    let mut command = redis::cmd("SET");
    command.arg(format!("knot:{number}")).arg(number);
    Ok(command.query_async(connection).await?)
}

async fn has(connection: &mut ClusterConnection, number: u64) -> Result<bool> {
    let mut command = redis::cmd("GET");
    command.arg(format!("knot:{number}"));
    let value: Option<u64> = command.query_async(connection).await?;
    Ok(value == Some(number))
}

/// Writes one key after another, whatever happens to the cache.
struct Writer {
    stop: watch::Sender<bool>,
    written: watch::Receiver<usize>,
    task: JoinHandle<Vec<(u64, Instant)>>,
}

impl Writer {
    fn start(namespace: &TestNamespace, password: &str) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (count, written) = watch::channel(0);
        let (namespace, password) = (namespace.clone(), password.to_owned());
        let task = tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            let mut connection = None;
            let mut pace = interval(WRITE_EVERY);
            for number in 0.. {
                pace.tick().await;
                if *stopped.borrow() {
                    break;
                }
                if connection.is_none() {
                    connection = connect(&namespace, &password, HASTY).await.ok();
                }
                let Some(open) = connection.as_mut() else {
                    continue;
                };
                if set(open, number).await.is_ok() {
                    acknowledged.push((number, Instant::now()));
                    count.send_replace(acknowledged.len());
                } else {
                    // The addresses may be others by now.
                    connection = None;
                }
            }
            acknowledged
        });
        Self {
            stop,
            written,
            task,
        }
    }

    async fn has_written(&self, writes: usize) -> Result<()> {
        let mut written = self.written.clone();
        let enough = written.wait_for(|written| *written >= writes);
        tokio::time::timeout(WRITTEN_WITHIN, enough)
            .await
            .with_context(|| format!("{writes} writes took too long"))??;
        Ok(())
    }

    /// All acknowledged writes, and when each was.
    async fn stop(self) -> Result<Vec<(u64, Instant)>> {
        self.stop.send_replace(true);
        Ok(self.task.await?)
    }
}

//! Data parts and workers that are broken on purpose: each tells its root cause within seconds, in
//! one line of `orlop why`.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use orlop_suites::{TestNamespace, eventually, figure, in_namespace, verdict_of};
use serde_json::{Value, json};
use tokio::time::Instant;

/// From the broken file to the root cause.
const TOLD_WITHIN: Duration = Duration::from_secs(15);
/// An image whose registry refuses at once: the machine's name service plays no part.
const NO_IMAGE: &str = "localhost:1/cask:404";

struct Fault {
    kind: &'static str,
    name: &'static str,
    spec: Value,
    reason: &'static str,
    words: &'static [&'static str],
}

#[tokio::test]
async fn every_part_tells_what_hinders_it() -> Result<()> {
    in_namespace("causes", async |namespace| {
        let found = faults();
        try_join_all(found.iter().map(|fault| told(namespace, fault))).await?;
        figure("causes.told", found.len(), "faults within 15 s each");
        Ok(())
    })
    .await
}

fn faults() -> [Fault; 10] {
    let nowhere = json!({"deck": "orlop"});
    [
        Fault {
            kind: "DatabaseTier",
            name: "no-image",
            spec: json!({"postgres": {"image": NO_IMAGE}}),
            reason: "ImagePullFailed",
            words: &["no-image/", NO_IMAGE],
        },
        Fault {
            kind: "DatabaseTier",
            name: "no-node",
            spec: json!({"postgres": {}, "nodeSelector": nowhere}),
            reason: "Unschedulable",
            words: &["no-node/", "node"],
        },
        Fault {
            kind: "DatabaseTier",
            name: "elsewhere",
            spec: json!({"external": {"secretName": "purser"}}),
            reason: "ConfigMissing",
            words: &["Secret/purser", "does not exist"],
        },
        Fault {
            kind: "BrokerTier",
            name: "no-broker-image",
            spec: json!({"rabbitmq": {"image": NO_IMAGE}}),
            reason: "ImagePullFailed",
            words: &["no-broker-image/", NO_IMAGE],
        },
        Fault {
            kind: "BrokerTier",
            name: "no-room",
            spec: json!({"rabbitmq": {"resources": {"requests": {"cpu": "900"}}}}),
            reason: "Unschedulable",
            words: &["no-room/", "Insufficient cpu"],
        },
        Fault {
            kind: "CacheTier",
            name: "no-cache-image",
            spec: json!({"valkey": {"shards": 3, "replicasPerShard": 0, "image": NO_IMAGE}}),
            reason: "ImagePullFailed",
            words: &["no-cache-image/", NO_IMAGE],
        },
        Fault {
            kind: "WorkerPool",
            name: "no-broker",
            spec: pool("absent"),
            reason: "DependencyMissing",
            words: &["BrokerTier 'absent' does not exist"],
        },
        Fault {
            kind: "WorkerPool",
            name: "no-queue",
            spec: pool("no-room"),
            reason: "QueueMissing",
            words: &["'letters'", "BrokerTier 'no-room'"],
        },
        Fault {
            kind: "AppService",
            name: "no-database",
            spec: uses(&json!({"name": "db", "database": {"name": "sunk"}})),
            reason: "DependencyMissing",
            words: &["DatabaseTier 'sunk'", "does not exist"],
        },
        Fault {
            kind: "AppService",
            name: "no-cache",
            spec: uses(&json!({"name": "cache", "cache": {"name": "stolen"}})),
            reason: "DependencyMissing",
            words: &["CacheTier 'stolen'", "does not exist"],
        },
    ]
}

fn pool(broker: &str) -> Value {
    json!({
        "source": {"rabbitmq": {"broker": broker, "queue": "letters"}},
        "handler": {"http": {"service": "crane", "path": "/job"}},
        "scale": {"min": 0, "max": 2},
    })
}

fn uses(used: &Value) -> Value {
    json!({"image": "orlop.dev/fixture-page:1", "port": 3000, "uses": [used]})
}

async fn told(namespace: &TestNamespace, fault: &Fault) -> Result<()> {
    let Fault {
        kind,
        name,
        spec,
        reason,
        words,
    } = fault;
    let manifest = json!({
        "apiVersion": "orlop.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    });
    let began = Instant::now();
    namespace.apply(&manifest).await?;
    let (api, _) = namespace.api_of(&manifest).await?;
    let message = eventually(TOLD_WITHIN, format!("{name} tells {reason}"), async || {
        let verdict = verdict_of(&api.get(name).await?)?;
        ensure!(
            verdict.reason == *reason,
            "{}: {}",
            verdict.reason,
            verdict.message
        );
        Ok(verdict.message)
    })
    .await
    .with_context(|| format!("{kind}/{name}"))?;
    let why = ["why", name, "-n", namespace.name()];
    let why = namespace.cluster.orlop(&why).await?;
    for word in *words {
        ensure!(
            message.contains(word),
            "{name}: '{word}' is not in: {message}"
        );
        ensure!(why.contains(word), "{name}: '{word}' is not in: {why}");
    }
    let took = format!("{:.1}", began.elapsed().as_secs_f64());
    figure(&format!("causes.told.{name}"), took, "s");
    Ok(())
}

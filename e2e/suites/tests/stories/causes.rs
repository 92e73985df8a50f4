//! Data parts and workers that are broken on purpose: each tells its root cause within seconds, in
//! one line of `orlop why`. How many seconds is printed; the machine's own pace is not judged.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, ResourceQuota};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use orlop_suites::{
    TestNamespace, Verdict, eventually, figure, fixture, in_namespace, ready_object, verdict_of,
    with,
};
use serde_json::{Value, json};
use tokio::time::Instant;

/// From the broken file to the root cause, which takes some seconds: volumes, nodes and pulled
/// images wait for each other where many parts are made at once.
const TOLD_WITHIN: Duration = Duration::from_mins(1);
/// From a disturbance of something that runs to the root cause.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);
/// A StatefulSet's controller and the kubelet wait longer with each attempt.
const TRIED_AGAIN_WITHIN: Duration = Duration::from_mins(3);
/// A volume, an image of some size, and the start of what is in it.
const READY_WITHIN: Duration = Duration::from_mins(3);
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
        figure("causes.told", found.len(), "faults");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_quota_without_room_for_a_tiers_pods_is_told() -> Result<()> {
    in_namespace("no-berths", async |namespace| {
        let quotas = namespace.api::<ResourceQuota>();
        let quota = json!({"metadata": {"name": "berths"}, "spec": {"hard": {"pods": "0"}}});
        let quota = serde_json::from_value(quota)?;
        quotas.create(&PostParams::default(), &quota).await?;
        eventually(NOTICED_WITHIN, "the quota is enforced", async || {
            let status = quotas.get("berths").await?.status;
            let used = status.and_then(|status| status.used);
            ensure!(used.is_some(), "its use is not counted yet");
            Ok(())
        })
        .await?;

        let moored = moored();
        try_join_all(moored.iter().map(|fault| told(namespace, fault))).await?;

        let raised = Patch::Merge(json!({"spec": {"hard": {"pods": "9"}}}));
        let parameters = PatchParams::default();
        quotas.patch("berths", &parameters, &raised).await?;
        try_join_all(moored.iter().map(|fault| fault.is_over(namespace))).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_volume_that_nobody_makes_is_told() -> Result<()> {
    in_namespace("no-volume", async |namespace| {
        // Somebody was there before: the pod takes the claim that has its name.
        let claim = json!({
            "metadata": {"name": "data-hulk-0"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": "driftwood",
            },
        });
        let claims = namespace.api::<PersistentVolumeClaim>();
        let claim = serde_json::from_value(claim)?;
        claims.create(&PostParams::default(), &claim).await?;
        let fault = Fault {
            kind: "DatabaseTier",
            name: "hulk",
            spec: json!({"postgres": {}}),
            reason: "VolumePending",
            words: &["hulk/", "storage class"],
        };
        told(namespace, &fault).await
    })
    .await
}

#[tokio::test]
async fn a_broker_whose_disk_is_nearly_full_is_told() -> Result<()> {
    in_namespace("no-disk", async |namespace| {
        let manifest = fixture("hold")?;
        namespace.apply(&manifest).await?;
        ready_object(namespace, &manifest, READY_WITHIN).await?;

        // More than any disk of a test has.
        leave_free(namespace, 1 << 53).await?;
        let began = Instant::now();
        let told = tells(namespace, &manifest, "DiskFull", NOTICED_WITHIN).await?;
        ensure!(told.message.contains("accepts no messages"), "{told:?}");
        let took = format!("{:.1}", began.elapsed().as_secs_f64());
        figure("causes.told.disk-full", took, "s");

        leave_free(namespace, 1 << 20).await?;
        ready_object(namespace, &manifest, NOTICED_WITHIN).await?;
        Ok(())
    })
    .await
}

/// Sets how many bytes of its disk the broker must find free. The image has no tools, but Erlang.
async fn leave_free(namespace: &TestNamespace, bytes: u64) -> Result<()> {
    let call = format!(
        "Node = list_to_atom(os:getenv(\"RABBITMQ_NODENAME\")), \
         io:put_chars(atom_to_list(rpc:call(Node, rabbit_disk_monitor, set_disk_free_limit, [{bytes}]))), \
         halt()."
    );
    let script = "exec erl -noinput -hidden -name stowaway@127.0.0.1 \
                  -setcookie \"$RABBITMQ_ERLANG_COOKIE\" -eval \"$1\"";
    let exec = ["exec", "hold-0", "-n", namespace.name(), "--"];
    let shell = ["sh", "-c", script, "sh", &call];
    let command = [&exec[..], &shell].concat();
    let answer = namespace.cluster.kubectl(&command).await?;
    ensure!(answer.trim() == "ok", "the broker answers {answer}");
    Ok(())
}

#[tokio::test]
async fn tables_that_cannot_become_what_is_declared_are_told_in_the_words_of_the_api() -> Result<()>
{
    in_namespace("no-migration", async |namespace| {
        let database = json!({
            "apiVersion": "orlop.dev/v1alpha1",
            "kind": "DatabaseTier",
            "metadata": {"name": "chart"},
            "spec": {"postgres": {"storage": "512Mi"}},
        });
        namespace.apply(&database).await?;
        let depth = json!({"name": "depth", "type": "Int"});
        let api = json!({
            "apiVersion": "orlop.dev/v1alpha1",
            "kind": "AppService",
            "metadata": {"name": "buoys"},
            "spec": {"api": {"database": "chart", "types": [{"name": "Buoy", "fields": [depth]}]}},
        });
        namespace.apply(&api).await?;
        ready_object(namespace, &api, READY_WITHIN).await?;

        let began = Instant::now();
        let kind = "/spec/api/types/0/fields/0/type";
        let changed = with(api, kind, json!("Text"))?;
        namespace.apply(&changed).await?;
        let told = tells(namespace, &changed, "CrashLooping", TOLD_WITHIN).await?;
        let took = format!("{:.1}", began.elapsed().as_secs_f64());
        figure("causes.told.migration", took, "s");
        let why = ["why", "buoys", "-n", namespace.name()];
        let why = namespace.cluster.orlop(&why).await?;
        for word in ["column `depth`", "cannot become", "declare a new field"] {
            let message = &told.message;
            ensure!(message.contains(word), "'{word}' is not in: {message}");
            ensure!(why.contains(word), "'{word}' is not in: {why}");
        }
        Ok(())
    })
    .await
}

/// One tier of each kind whose pods a StatefulSet makes.
fn moored() -> [Fault; 3] {
    let tier = |kind, name, spec| Fault {
        kind,
        name,
        spec,
        reason: "QuotaExceeded",
        words: &["pods cannot be created", "exceeded quota: berths"],
    };
    [
        tier("DatabaseTier", "cellar", json!({"postgres": {}})),
        tier("BrokerTier", "post", json!({"rabbitmq": {}})),
        tier(
            "CacheTier",
            "locker",
            json!({"valkey": {"shards": 3, "replicasPerShard": 0}}),
        ),
    ]
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

impl Fault {
    fn manifest(&self) -> Value {
        json!({
            "apiVersion": "orlop.dev/v1alpha1",
            "kind": self.kind,
            "metadata": {"name": self.name},
            "spec": self.spec,
        })
    }

    /// Waits until another cause than this one is told, or none.
    async fn is_over(&self, namespace: &TestNamespace) -> Result<()> {
        let (api, _) = namespace.api_of(&self.manifest()).await?;
        let Self { name, reason, .. } = self;
        let over = format!("{name} tells {reason} no more");
        eventually(TRIED_AGAIN_WITHIN, over, async || {
            let verdict = verdict_of(&api.get(name).await?)?;
            ensure!(verdict.reason != *reason, "{}", verdict.message);
            Ok(())
        })
        .await
    }
}

async fn told(namespace: &TestNamespace, fault: &Fault) -> Result<()> {
    let Fault {
        kind,
        name,
        spec: _,
        reason,
        words,
    } = fault;
    let manifest = fault.manifest();
    let began = Instant::now();
    namespace.apply(&manifest).await?;
    let told = tells(namespace, &manifest, reason, TOLD_WITHIN).await;
    let Verdict { message, .. } = told.with_context(|| format!("{kind}/{name}"))?;
    let took = format!("{:.1}", began.elapsed().as_secs_f64());
    figure(&format!("causes.told.{name}"), took, "s");
    let why = ["why", name, "-n", namespace.name()];
    let why = namespace.cluster.orlop(&why).await?;
    for word in *words {
        ensure!(
            message.contains(word),
            "{name}: '{word}' is not in: {message}"
        );
        ensure!(why.contains(word), "{name}: '{word}' is not in: {why}");
    }
    Ok(())
}

/// Waits until what was applied as `manifest` tells the reason.
async fn tells(
    namespace: &TestNamespace,
    manifest: &Value,
    reason: &str,
    within: Duration,
) -> Result<Verdict> {
    let (api, parsed) = namespace.api_of(manifest).await?;
    let name = parsed.name_any();
    eventually(within, format!("{name} tells {reason}"), async || {
        let verdict = verdict_of(&api.get(&name).await?)?;
        ensure!(verdict.reason == reason, "{verdict:?}");
        Ok(verdict)
    })
    .await
}

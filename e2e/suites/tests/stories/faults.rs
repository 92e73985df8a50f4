//! Broken on purpose: the root cause is told in seconds, and what is put right recovers by itself.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{ResourceQuota, Secret};
use kube::api::{Patch, PatchParams, PostParams};
use orlop_crds::AppPlatform;
use orlop_suites::{
    Quiet, TestNamespace, eventually, figure, fixture, in_namespace, ready, verdict, with,
};
use serde_json::{Value, json};
use tokio::time::Instant;

/// From the broken file to the root cause in `kubectl get` and `orlop why`.
const TOLD_WITHIN: Duration = Duration::from_secs(15);
/// Back-off of the kubelet and of the ReplicaSet controller is in it: neither looks at once when
/// a Secret or a quota changes.
const RECOVERED_WITHIN: Duration = Duration::from_mins(2);
const FIRST_SERVICE: &str = "/spec/services/0";

#[tokio::test]
async fn an_image_that_does_not_exist_is_named() -> Result<()> {
    in_namespace("no-image", async |namespace| {
        // A registry that refuses at once: the machine's name service plays no part.
        let image = "localhost:1/lamp:404";
        let broken = service(&[("image", json!(image))])?;
        told(namespace, &broken, "ImagePullFailed", &["sail/", image]).await?;
        namespace.apply(&service(&[])?).await?;
        recovered(namespace, "ImagePullFailed").await
    })
    .await
}

#[tokio::test]
async fn a_missing_key_of_a_secret_is_named() -> Result<()> {
    in_namespace("no-key", async |namespace| {
        let secrets = namespace.api::<Secret>();
        let secret = json!({"metadata": {"name": "lamp"}, "stringData": {"wick": "cotton"}});
        secrets
            .create(&PostParams::default(), &serde_json::from_value(secret)?)
            .await?;
        let reference = json!([{"name": "OIL", "secretKeyRef": {"name": "lamp", "key": "oil"}}]);
        let broken = service(&[("env", reference)])?;
        told(
            namespace,
            &broken,
            "ConfigMissing",
            &["sail/", "oil", "lamp"],
        )
        .await?;
        let key = json!({"stringData": {"oil": "whale"}});
        secrets
            .patch("lamp", &PatchParams::default(), &Patch::Merge(key))
            .await?;
        recovered(namespace, "ConfigMissing").await
    })
    .await
}

#[tokio::test]
async fn resources_that_no_node_has_are_named() -> Result<()> {
    in_namespace("no-room", async |namespace| {
        let vast = json!({"requests": {"cpu": "900"}});
        let broken = service(&[("resources", vast)])?;
        told(
            namespace,
            &broken,
            "Unschedulable",
            &["sail/", "Insufficient cpu"],
        )
        .await?;
        namespace.apply(&service(&[])?).await?;
        recovered(namespace, "Unschedulable").await
    })
    .await
}

#[tokio::test]
async fn a_probe_that_fails_is_named() -> Result<()> {
    in_namespace("no-health", async |namespace| {
        let unwell = json!([{"name": "HEALTH_STATUS", "value": "503"}]);
        let broken = service(&[("env", unwell)])?;
        told(
            namespace,
            &broken,
            "ProbeFailing",
            &["sail/", "Readiness probe", "503"],
        )
        .await?;
        namespace.apply(&service(&[])?).await?;
        recovered(namespace, "ProbeFailing").await
    })
    .await
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_named() -> Result<()> {
    in_namespace("no-quota", async |namespace| {
        let quotas = namespace.api::<ResourceQuota>();
        let quota = json!({"metadata": {"name": "berths"}, "spec": {"hard": {"pods": "1"}}});
        quotas
            .create(&PostParams::default(), &serde_json::from_value(quota)?)
            .await?;
        let broken = service(&[("replicas", json!(3))])?;
        told(
            namespace,
            &broken,
            "QuotaExceeded",
            &["sail/", "berths", "pods"],
        )
        .await?;
        let raised = json!({"spec": {"hard": {"pods": "6"}}});
        quotas
            .patch("berths", &PatchParams::default(), &Patch::Merge(raised))
            .await?;
        recovered(namespace, "QuotaExceeded").await
    })
    .await
}

/// The fixture with fields of its service changed.
fn service(changes: &[(&str, Value)]) -> Result<Value> {
    changes
        .iter()
        .try_fold(fixture("skiff")?, |file, (field, value)| {
            with(file, &format!("{FIRST_SERVICE}/{field}"), value.clone())
        })
}

/// Applies a broken file and waits until everything that a person looks at names the cause.
async fn told(
    namespace: &TestNamespace,
    broken: &Value,
    reason: &str,
    words: &[&str],
) -> Result<()> {
    let _quiet = Quiet::keep().await;
    let began = Instant::now();
    namespace.apply(broken).await?;
    let platforms = namespace.api::<AppPlatform>();
    let message = eventually(TOLD_WITHIN, format!("{reason} is told"), async || {
        let verdict = verdict(&platforms.get("skiff").await?)?;
        ensure!(!verdict.ready, "it is Ready");
        ensure!(
            verdict.reason == reason,
            "{}: {}",
            verdict.reason,
            verdict.message
        );
        Ok(verdict.message)
    })
    .await?;
    for word in words {
        ensure!(
            message.contains(word),
            "'{word}' is not in the message: {message}"
        );
    }

    let row = [
        "get",
        "appplatforms",
        "skiff",
        "--no-headers",
        "-n",
        namespace.name(),
    ];
    let row = namespace.cluster.kubectl(&row).await?;
    ensure!(
        row.contains("False") && row.contains(reason),
        "kubectl get shows {row}"
    );
    let why = ["why", "skiff", "-n", namespace.name()];
    let why = namespace.cluster.orlop(&why).await?;
    for word in words {
        ensure!(
            why.contains(word),
            "'{word}' is not in what orlop why tells: {why}"
        );
    }
    let took = began.elapsed();
    ensure!(took < TOLD_WITHIN, "it was told after {took:?} only");
    figure(
        &format!("faults.told.{reason}"),
        format!("{:.1}", took.as_secs_f64()),
        "s",
    );
    Ok(())
}

async fn recovered(namespace: &TestNamespace, from: &str) -> Result<()> {
    let began = Instant::now();
    ready(namespace, "skiff", RECOVERED_WITHIN).await?;
    let took = format!("{:.1}", began.elapsed().as_secs_f64());
    figure(&format!("faults.recovered.{from}"), took, "s");
    Ok(())
}

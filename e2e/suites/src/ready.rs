//! Whether an application is well, as its status tells.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource as _, ResourceExt as _, api::DynamicObject};
use orlop_crds::AppPlatform;
use serde_json::Value;

use crate::{TestNamespace, eventually};

/// The `Ready` condition of an object, if it speaks of the present spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub ready: bool,
    pub reason: String,
    pub message: String,
}

/// # Errors
/// When the status does not speak of the present spec yet.
pub fn verdict(platform: &AppPlatform) -> Result<Verdict> {
    let status = platform.status.as_ref().context("there is no status yet")?;
    of_conditions(
        status.observed_generation,
        platform.meta().generation,
        &status.conditions,
    )
}

/// As [`verdict`], of an object of any of the kinds.
///
/// # Errors
/// When the status does not speak of the present spec yet.
pub fn verdict_of(object: &DynamicObject) -> Result<Verdict> {
    let status = object
        .data
        .get("status")
        .context("there is no status yet")?;
    let conditions = status.get("conditions").cloned().unwrap_or_default();
    let conditions: Option<Vec<Condition>> = serde_json::from_value(conditions)?;
    of_conditions(
        status.get("observedGeneration").and_then(Value::as_i64),
        object.metadata.generation,
        &conditions.unwrap_or_default(),
    )
}

fn of_conditions(
    observed: Option<i64>,
    generation: Option<i64>,
    conditions: &[Condition],
) -> Result<Verdict> {
    ensure!(
        observed == generation,
        "the status speaks of generation {observed:?}, the spec is {generation:?}"
    );
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")
        .context("there is no Ready condition yet")?;
    Ok(Verdict {
        ready: ready.status == "True",
        reason: ready.reason.clone(),
        message: ready.message.clone(),
    })
}

/// Waits until what was applied as `manifest` is Ready, of whichever kind it is.
///
/// # Errors
/// When it is not in time: why not.
pub async fn ready_object(
    namespace: &TestNamespace,
    manifest: &Value,
    within: Duration,
) -> Result<DynamicObject> {
    let (api, parsed) = namespace.api_of(manifest).await?;
    let name = parsed.name_any();
    eventually(within, format!("{name} is Ready"), async || {
        let object = api.get(&name).await?;
        let verdict = verdict_of(&object)?;
        ensure!(verdict.ready, "{}: {}", verdict.reason, verdict.message);
        Ok(object)
    })
    .await
}

/// Waits until the application is Ready.
///
/// # Errors
/// When it is not in time: why not.
pub async fn ready(namespace: &TestNamespace, name: &str, within: Duration) -> Result<AppPlatform> {
    let platforms = namespace.api::<AppPlatform>();
    eventually(within, format!("{name} is Ready"), async || {
        let platform = platforms.get(name).await?;
        let verdict = verdict(&platform)?;
        ensure!(verdict.ready, "{}: {}", verdict.reason, verdict.message);
        Ok(platform)
    })
    .await
}

/// Address of the edge, reachable from this machine.
///
/// # Errors
/// When there is no edge.
pub async fn edge_address(namespace: &TestNamespace, platform: &str) -> Result<SocketAddr> {
    let name = format!("{platform}-edge");
    let service = namespace.api::<Service>().get(&name).await?;
    let spec = service.spec.context("a Service has a spec")?;
    let ip = spec.cluster_ip.context("the edge has no address")?;
    Ok(SocketAddr::new(ip.parse()?, 80))
}

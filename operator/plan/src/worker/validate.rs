//! The raw object becomes a validated one. Nobody looks at the raw one afterwards.

use std::time::Duration;

use orlop_contract::worker::{CONCURRENCY_MAX, PREFETCH_MAX};
use orlop_crds::{
    WorkerPool,
    pod::{Amounts, PodOptions, Resources},
    release::{self, ReleaseRecord, WorkerRelease},
    tier::DeletionPolicy,
    worker_pool::Scale,
};
use serde_json::Value;

use super::scaler::Policy;
use crate::{Settings, service::Invalid, tier::Tier};

/// A pool that can be run.
#[derive(Clone, Debug)]
pub(super) struct ValidatedPool {
    pub(super) identity: Tier,
    pub(super) image: String,
    pub(super) broker: String,
    pub(super) queue: String,
    pub(super) handler: Handler,
    pub(super) concurrency: u16,
    pub(super) prefetch: u16,
    pub(super) size: Size,
    pub(super) drain: orlop_crds::Duration,
    pub(super) resources: Resources,
    pub(super) pods: PodOptions,
    /// What the author said of what runs: all but how many, and how a release goes.
    pub(super) words: Value,
    pub(super) release: WorkerRelease,
    /// What is remembered of its releases.
    pub(super) record: ReleaseRecord,
    /// What somebody commands of its release.
    pub(super) command: Option<String>,
    pub(super) cluster_domain: String,
}

/// The service that does the jobs.
#[derive(Clone, Debug)]
pub(super) struct Handler {
    pub(super) service: String,
    pub(super) path: String,
    pub(super) timeout: orlop_crds::Duration,
}

/// How many workers run.
#[derive(Clone, Debug)]
pub(super) enum Size {
    Fixed(u32),
    Scaled(Policy),
}

/// The API server has checked the schema, unless the definition was newer or older than this
/// program when the object was stored: what would do harm is checked again.
pub(super) fn validate(object: &WorkerPool, settings: &Settings) -> Result<ValidatedPool, Invalid> {
    let spec = &object.spec;
    // A pool has no data of its own.
    let identity = Tier::new("WorkerPool", &object.metadata, DeletionPolicy::Keep)?;
    let image = spec
        .image
        .clone()
        .unwrap_or_else(|| settings.images.worker.clone());
    if image.trim().is_empty() {
        return Err(invalid("spec.image", "must not be empty"));
    }
    let concurrency = bounded("spec.concurrency", spec.concurrency(), 1, CONCURRENCY_MAX)?;
    let prefetch = bounded("spec.prefetch", spec.prefetch(), concurrency, PREFETCH_MAX)?;
    let size = match &spec.scale {
        Some(scale) => Size::Scaled(policy(scale, concurrency)?),
        None => Size::Fixed(count("spec.replicas", spec.fixed_replicas().unwrap_or(0))?),
    };
    let http = &spec.handler.http;
    let mut words =
        serde_json::to_value(spec).map_err(|error| invalid("spec", &error.to_string()))?;
    if let Value::Object(fields) = &mut words {
        fields.remove("replicas");
        fields.remove("scale");
        fields.remove("release");
    }
    Ok(ValidatedPool {
        identity,
        image,
        broker: spec.source.rabbitmq.broker.clone(),
        queue: spec.source.rabbitmq.queue.clone(),
        handler: Handler {
            service: http.service.clone(),
            path: http.path.clone(),
            timeout: http.timeout(),
        },
        concurrency,
        prefetch,
        size,
        drain: spec.drain(),
        resources: spec.resources.clone().unwrap_or_else(default_resources),
        pods: spec.pods.clone(),
        words,
        release: spec.release.clone().unwrap_or_default(),
        record: object
            .status
            .as_ref()
            .map(|status| status.record.clone())
            .unwrap_or_default(),
        command: object
            .metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(release::COMMAND))
            .cloned(),
        cluster_domain: settings.cluster_domain.clone(),
    })
}

impl ValidatedPool {
    /// Fewest and most workers.
    pub(super) fn bounds(&self) -> (u32, u32) {
        match &self.size {
            Size::Fixed(replicas) => (*replicas, *replicas),
            Size::Scaled(policy) => (policy.min, policy.max),
        }
    }
}

fn policy(scale: &Scale, concurrency: u16) -> Result<Policy, Invalid> {
    let min = count("spec.scale.min", scale.min())?;
    let max = count("spec.scale.max", scale.max)?;
    if max < min.max(1) {
        return Err(invalid(
            "spec.scale.max",
            "must be at least 1 and at least `min`",
        ));
    }
    Ok(Policy {
        min,
        max,
        concurrency: concurrency.into(),
        drain_within: Duration::from_millis(scale.drain_within().as_millis()),
        expected_service_time: Duration::from_millis(scale.expected_service_time().as_millis()),
    })
}

fn count(field: &str, said: i32) -> Result<u32, Invalid> {
    u32::try_from(said).map_err(|_| invalid(field, "must be at least 0"))
}

fn bounded(field: &str, said: i32, least: u16, most: u16) -> Result<u16, Invalid> {
    u16::try_from(said)
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| {
            invalid(
                field,
                &format!("must be at least {least} and at most {most}"),
            )
        })
}

/// What a worker was measured to need, and room for the jobs in its hands.
fn default_resources() -> Resources {
    let amounts = |cpu: Option<&str>, memory: &str| Amounts {
        cpu: cpu.map(orlop_crds::Quantity::new),
        memory: Some(orlop_crds::Quantity::new(memory)),
    };
    Resources {
        requests: Some(amounts(Some("10m"), "24Mi")),
        limits: Some(amounts(None, "128Mi")),
    }
}

fn invalid(field: &str, message: &str) -> Invalid {
    Invalid {
        field: field.to_owned(),
        message: message.to_owned(),
    }
}

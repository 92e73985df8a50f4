//! The raw object becomes a validated one. Nobody looks at the raw one afterwards.

use std::{collections::BTreeSet, time::Duration};

use orlop_contract::queue::ATTEMPTS_MAX;
use orlop_crds::{
    BrokerTier, Quantity,
    broker_tier::{Queue, RabbitMq},
    pod::{Amounts, PodOptions, Resources},
};

use super::topology::Declared;
use crate::{Settings, service::Invalid, tier::Tier};

/// A broker that can be run.
#[derive(Clone, Debug)]
pub(super) struct ValidatedBroker {
    pub(super) tier: Tier,
    pub(super) image: String,
    pub(super) nodes: i32,
    pub(super) storage: Quantity,
    /// Bytes of a node's volume.
    pub(super) disk: u64,
    pub(super) resources: Resources,
    /// Bytes that a node may use.
    pub(super) memory: u64,
    pub(super) pods: PodOptions,
    pub(super) queues: Vec<Declared>,
    pub(super) cluster_domain: String,
}

/// A node at rest takes 150 MiB; the rest is for messages under way.
const DEFAULT_MEMORY: &str = "512Mi";
const DEFAULT_CPU: &str = "100m";

/// The API server has checked the schema, unless the definition was newer or older than this
/// program when the object was stored: what would do harm is checked again.
pub(super) fn validate(
    object: &BrokerTier,
    settings: &Settings,
) -> Result<ValidatedBroker, Invalid> {
    let said = &object.spec.rabbitmq;
    let tier = Tier::new("BrokerTier", &object.metadata, object.spec.deletion())?;
    if said.nodes() != RabbitMq::DEFAULT_NODES {
        return Err(invalid("spec.rabbitmq.nodes", "must be 1"));
    }
    let image = said
        .image
        .clone()
        .unwrap_or_else(|| settings.images.rabbitmq.clone());
    if image.trim().is_empty() {
        return Err(invalid("spec.rabbitmq.image", "must not be empty"));
    }
    let storage = said.storage();
    let resources = said.resources.clone().unwrap_or_else(default_resources);
    Ok(ValidatedBroker {
        tier,
        image,
        nodes: said.nodes(),
        disk: bytes(&storage, "spec.rabbitmq.storage")?,
        storage,
        memory: bytes(&memory(&resources), "spec.rabbitmq.resources")?,
        resources,
        pods: object.spec.pods.clone(),
        queues: queues(&said.queues)?,
        cluster_domain: settings.cluster_domain.clone(),
    })
}

fn queues(said: &[Queue]) -> Result<Vec<Declared>, Invalid> {
    let mut names = BTreeSet::new();
    said.iter()
        .map(|queue| {
            let field = format!("spec.rabbitmq.queues[{}]", queue.name);
            // Names are parts of regular expressions and of other queues' names.
            let is_label = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
            if queue.name.is_empty() || !queue.name.bytes().all(is_label) {
                return Err(invalid(
                    &field,
                    "must be named with lowercase letters, digits and dashes",
                ));
            }
            if !names.insert(&queue.name) {
                return Err(invalid(&field, "must be declared once"));
            }
            declared(queue, &field)
        })
        .collect()
}

fn declared(queue: &Queue, field: &str) -> Result<Declared, Invalid> {
    let retry = queue.retry();
    let attempts = u32::try_from(retry.attempts())
        .ok()
        .filter(|attempts| (1..=ATTEMPTS_MAX).contains(attempts))
        .ok_or_else(|| {
            let message = format!("must be at least 1 and at most {ATTEMPTS_MAX}");
            invalid(&format!("{field}.retry.attempts"), &message)
        })?;
    let duration = |said: orlop_crds::Duration| Duration::from_millis(said.as_millis());
    Ok(Declared {
        name: queue.name.clone(),
        attempts,
        backoff: duration(retry.backoff()),
        max_backoff: duration(retry.max_backoff()),
        keep_dead_letters: duration(queue.keep_dead_letters()),
    })
}

fn default_resources() -> Resources {
    let memory = Some(Quantity::new(DEFAULT_MEMORY));
    Resources {
        requests: Some(Amounts {
            cpu: Some(Quantity::new(DEFAULT_CPU)),
            memory: memory.clone(),
        }),
        limits: Some(Amounts { cpu: None, memory }),
    }
}

/// What a node may count on: its limit, else its request.
fn memory(resources: &Resources) -> Quantity {
    let of = |amounts: &Option<Amounts>| amounts.as_ref()?.memory.clone();
    of(&resources.limits)
        .or_else(|| of(&resources.requests))
        .unwrap_or_else(|| Quantity::new(DEFAULT_MEMORY))
}

fn bytes(said: &Quantity, field: &str) -> Result<u64, Invalid> {
    said.units()
        .ok_or_else(|| invalid(field, "must be an amount of bytes"))
}

fn invalid(field: &str, message: &str) -> Invalid {
    Invalid {
        field: field.to_owned(),
        message: message.to_owned(),
    }
}

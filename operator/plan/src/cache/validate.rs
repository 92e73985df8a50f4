//! The raw object becomes a validated one. Nobody looks at the raw one afterwards.

use orlop_crds::{
    CacheTier, Quantity,
    cache_tier::{EffectiveCache, EvictionPolicy, ZoneMajority},
    pod::{Amounts, PodOptions, Resources},
};

use super::shape::{Shape, ZoneRule};
use crate::{Settings, service::Invalid, tier::Tier};

/// A cache that can be run.
#[derive(Clone, Debug)]
pub(super) struct ValidatedCache {
    pub(super) tier: Tier,
    pub(super) shape: Shape,
    pub(super) effective: EffectiveCache,
    /// Bytes that a node holds at most.
    pub(super) memory: u64,
    pub(super) resources: Resources,
    pub(super) pods: PodOptions,
    pub(super) cluster_domain: String,
}

/// A StatefulSet's name is part of a label, which leaves it 52 characters; `-15-3` are ours.
pub(crate) const NAME_CHARS_MAX: usize = 47;
const DEFAULT_CPU: &str = "50m";
/// What a node needs besides the keys: connections, and pages that change while it saves.
const BESIDE_BYTES: u64 = 64 << 20;

/// The API server has checked the schema, unless the definition was newer or older than this
/// program when the object was stored: what would do harm is checked again.
pub(super) fn validate(object: &CacheTier, settings: &Settings) -> Result<ValidatedCache, Invalid> {
    let said = &object.spec.valkey;
    let tier = Tier::new("CacheTier", &object.metadata, object.spec.deletion())?;
    if tier.name.len() > NAME_CHARS_MAX {
        let message = format!("must be at most {NAME_CHARS_MAX} characters");
        return Err(invalid("metadata.name", &message));
    }
    let image = said
        .image
        .clone()
        .unwrap_or_else(|| settings.images.valkey.clone());
    if image.trim().is_empty() {
        return Err(invalid("spec.valkey.image", "must not be empty"));
    }
    let shards = within(said.shards(), 1..=16, "spec.valkey.shards")?;
    let replicas_per_shard = within(
        said.replicas_per_shard(),
        0..=3,
        "spec.valkey.replicasPerShard",
    )?;
    unchanged(object)?;
    let memory = said.memory().units().filter(|bytes| *bytes > 0);
    let memory =
        memory.ok_or_else(|| invalid("spec.valkey.memory", "must be an amount of bytes"))?;
    let zone_majority = object.spec.zone_majority();
    Ok(ValidatedCache {
        shape: Shape {
            tier: tier.name.clone(),
            shards,
            replicas_per_shard,
            zones: match zone_majority {
                ZoneMajority::Refuse => ZoneRule::MajoritySurvives,
                ZoneMajority::Allow => ZoneRule::AnyMajority,
            },
        },
        effective: EffectiveCache {
            image,
            shards: said.shards(),
            replicas_per_shard: said.replicas_per_shard(),
            memory: said.memory(),
            storage: said.storage(),
            eviction_policy: said.eviction_policy(),
            zone_majority,
            deletion: tier.deletion,
        },
        tier,
        memory,
        resources: said.resources.clone().unwrap_or_else(|| resources(memory)),
        pods: object.spec.pods.clone(),
        cluster_domain: settings.cluster_domain.clone(),
    })
}

/// What was fixed when the cache was made must not change: data lies accordingly.
fn unchanged(object: &CacheTier) -> Result<(), Invalid> {
    let fixed = object
        .status
        .as_ref()
        .and_then(|status| status.effective.as_ref());
    let Some(fixed) = fixed else {
        return Ok(());
    };
    let said = &object.spec.valkey;
    let fixed = [
        ("spec.valkey.shards", fixed.shards, said.shards()),
        (
            "spec.valkey.replicasPerShard",
            fixed.replicas_per_shard,
            said.replicas_per_shard(),
        ),
    ];
    for (field, was, is) in fixed {
        if was != is {
            let message = format!("cannot be changed from {was} to {is} yet; make another cache");
            return Err(invalid(field, &message));
        }
    }
    Ok(())
}

fn within(value: i32, bounds: std::ops::RangeInclusive<i32>, field: &str) -> Result<u16, Invalid> {
    u16::try_from(value)
        .ok()
        .filter(|_| bounds.contains(&value))
        .ok_or_else(|| {
            let message = format!(
                "must be at least {} and at most {}",
                bounds.start(),
                bounds.end()
            );
            invalid(field, &message)
        })
}

/// Half as much again as the keys take: the server's own counting leaves out fragmentation and
/// buffers.
fn resources(memory: u64) -> Resources {
    let all = Quantity::new((memory + memory / 2 + BESIDE_BYTES).to_string());
    let asked = Quantity::new((memory + BESIDE_BYTES).to_string());
    Resources {
        requests: Some(Amounts {
            cpu: Some(Quantity::new(DEFAULT_CPU)),
            memory: Some(asked),
        }),
        limits: Some(Amounts {
            cpu: None,
            memory: Some(all),
        }),
    }
}

/// As `maxmemory-policy` has it.
pub(super) fn eviction(cache: &ValidatedCache) -> &'static str {
    EvictionPolicy::as_directive(cache.effective.eviction_policy)
}

fn invalid(field: &str, message: &str) -> Invalid {
    Invalid {
        field: field.to_owned(),
        message: message.to_owned(),
    }
}

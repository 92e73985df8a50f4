//! Good and bad manifests, made from the schema: each bound at it and one beyond, each union with
//! none, one and two of its members, each reference good and dangling.
//!
//! What is expected of a case follows from how it was made, not from [`super::validate`]: the same
//! cases are put to the offline verdict and, raw, to a real API server.

#![expect(
    clippy::expect_used,
    reason = "test material: a seed that does not fit the schema is a mistake of the test"
)]

mod application;
mod bounds;
mod ranges;
mod references;
mod relations;
mod samples;
mod spot;
mod tiers;

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Kind, kinds};
use spot::Spot;

/// A manifest with the verdict that is due.
#[derive(Clone, Debug)]
pub struct Case {
    /// Unique, for people: `AppService spec.port: one beyond its maximum`.
    pub name: String,
    /// Of the kind that the case is about, whatever the manifest says: `appservices`.
    pub plural: &'static str,
    pub manifest: Value,
    /// Field at which it must be refused; `None` where it must be accepted.
    pub refused_at: Option<String>,
}

impl Case {
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.refused_at.is_none()
    }
}

/// All cases of all kinds, always the same and in the same order.
#[must_use]
pub fn cases() -> Vec<Case> {
    kinds()
        .iter()
        .flat_map(|kind| {
            let seeds = seeds(kind);
            let mut cases: Vec<Case> = seeds
                .iter()
                .enumerate()
                .map(|(index, seed)| Case {
                    name: format!("{} seed {index}", kind.name),
                    plural: &kind.plural,
                    manifest: seed.clone(),
                    refused_at: None,
                })
                .collect();
            cases.extend(
                spots(kind, &seeds)
                    .iter()
                    .flat_map(|spot| bounds::cases(kind, spot)),
            );
            cases.extend(relations::cases(kind, &seeds));
            cases
        })
        .collect()
}

/// Valid manifests from which the cases of a kind are made.
fn seeds(kind: &Kind) -> Vec<Value> {
    let text = match kind.name.as_str() {
        "AppPlatform" => include_str!("app_platform.yaml"),
        "AppService" => include_str!("app_service.yaml"),
        "BrokerTier" => include_str!("broker_tier.yaml"),
        "CacheTier" => include_str!("cache_tier.yaml"),
        "DatabaseTier" => include_str!("database_tier.yaml"),
        "WorkerPool" => include_str!("worker_pool.yaml"),
        other => unreachable!("{other} has seeds"),
    };
    serde_saphyr::from_multiple(text).expect("valid YAML")
}

/// The first value of each field of the spec.
fn spots<'a>(kind: &'a Kind, seeds: &'a [Value]) -> Vec<Spot<'a>> {
    let (mut seen, mut spots) = (BTreeSet::new(), Vec::new());
    for seed in seeds {
        spot::collect(&kind.schema, seed, &mut seen, &mut spots);
    }
    spots
}

#[cfg(test)]
mod tests;

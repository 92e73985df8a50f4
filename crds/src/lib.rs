//! The kinds of Orlop (group `orlop.dev`, version `v1alpha1`).
//!
//! Everything a developer may write is a type here, with its bounds and its rules: the generated
//! schema is what the API server enforces and what `orlop` enforces without a cluster, so both give
//! one verdict. Defaults are methods (`replicas()`), never written into a stored spec: what a
//! reader sees in the cluster is what its author wrote.
//!
//! This crate knows no client, no clock and no cluster.

pub mod api;
pub mod app_platform;
pub mod app_service;
pub mod broker_tier;
pub mod cache_tier;
pub mod condition;
pub mod database_tier;
mod definition;
pub mod duration;
pub mod pod;
pub mod prune;
pub mod quantity;
pub mod reason;
pub mod release;
mod rules;
pub mod schema;
pub mod tier;
pub mod worker_pool;

pub use api::Api;
pub use app_platform::{AppPlatform, AppPlatformSpec, AppPlatformStatus};
pub use app_service::{AppService, AppServiceSpec, AppServiceStatus};
pub use broker_tier::{BrokerTier, BrokerTierSpec, BrokerTierStatus};
pub use cache_tier::{CacheTier, CacheTierSpec, CacheTierStatus};
pub use condition::ConditionType;
pub use database_tier::{DatabaseTier, DatabaseTierSpec, DatabaseTierStatus};
pub use duration::Duration;
pub use prune::PruneRecord;
pub use quantity::Quantity;
pub use reason::Reason;
pub use tier::{BindingReference, DeletionPolicy};
pub use worker_pool::{WorkerPool, WorkerPoolSpec, WorkerPoolStatus};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// API group of every kind.
pub const GROUP: &str = "orlop.dev";
/// The one served version.
pub const VERSION: &str = "v1alpha1";

/// All definitions, in the order in which they are installed.
#[must_use]
pub fn definitions() -> Vec<CustomResourceDefinition> {
    [
        AppPlatform::crd(),
        AppService::crd(),
        BrokerTier::crd(),
        CacheTier::crd(),
        DatabaseTier::crd(),
        WorkerPool::crd(),
    ]
    .map(definition::strict)
    .into()
}

//! The kinds that have a controller of their own.

use std::fmt::Debug;

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::Condition};
use kube::Resource;
use orlop_crds::{
    AppPlatform, AppPlatformStatus, AppService, AppServiceStatus, BrokerTier, BrokerTierStatus,
    CacheTier, CacheTierStatus, ConditionType, DatabaseTier, DatabaseTierStatus, WorkerPool,
    WorkerPoolStatus,
};
use orlop_plan::Reconcile;
use serde::de::DeserializeOwned;

use crate::cache::{Caches, Store};

/// A kind that has a controller of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PrimaryKind {
    AppPlatform,
    AppService,
    BrokerTier,
    CacheTier,
    DatabaseTier,
    WorkerPool,
}

impl PrimaryKind {
    pub(crate) const ALL: &'static [Self] = &[
        Self::AppPlatform,
        Self::AppService,
        Self::BrokerTier,
        Self::CacheTier,
        Self::DatabaseTier,
        Self::WorkerPool,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::AppPlatform => "AppPlatform",
            Self::AppService => "AppService",
            Self::BrokerTier => "BrokerTier",
            Self::CacheTier => "CacheTier",
            Self::DatabaseTier => "DatabaseTier",
            Self::WorkerPool => "WorkerPool",
        }
    }

    /// Name of the controller: the kind in small letters, as controller-runtime has it.
    pub(crate) const fn controller(self) -> &'static str {
        match self {
            Self::AppPlatform => "appplatform",
            Self::AppService => "appservice",
            Self::BrokerTier => "brokertier",
            Self::CacheTier => "cachetier",
            Self::DatabaseTier => "databasetier",
            Self::WorkerPool => "workerpool",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }
}

/// What the controller must know of a kind beyond what the plan knows.
pub(crate) trait Primary:
    Reconcile
    + Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    const KIND: PrimaryKind;

    fn store(caches: &Caches) -> &Store<Self>;

    fn conditions(status: &Self::Status) -> &[Condition];

    /// The condition `Ready` of a status.
    fn ready(status: &Self::Status) -> Option<&Condition> {
        let ready = ConditionType::Ready.as_str();
        Self::conditions(status)
            .iter()
            .find(|condition| condition.type_ == ready)
    }

    fn is_ready(&self) -> bool {
        let ready = self.recorded_status().and_then(Self::ready);
        ready.is_some_and(|condition| condition.status == "True")
    }
}

impl Primary for AppPlatform {
    const KIND: PrimaryKind = PrimaryKind::AppPlatform;

    fn store(caches: &Caches) -> &Store<Self> {
        &caches.app_platforms
    }

    fn conditions(status: &AppPlatformStatus) -> &[Condition] {
        &status.conditions
    }
}

impl Primary for AppService {
    const KIND: PrimaryKind = PrimaryKind::AppService;

    fn store(caches: &Caches) -> &Store<Self> {
        &caches.app_services
    }

    fn conditions(status: &AppServiceStatus) -> &[Condition] {
        &status.conditions
    }
}

impl Primary for BrokerTier {
    const KIND: PrimaryKind = PrimaryKind::BrokerTier;

    fn store(caches: &Caches) -> &Store<Self> {
        &caches.broker_tiers
    }

    fn conditions(status: &BrokerTierStatus) -> &[Condition] {
        &status.conditions
    }
}

impl Primary for CacheTier {
    const KIND: PrimaryKind = PrimaryKind::CacheTier;

    fn store(caches: &Caches) -> &Store<Self> {
        &caches.cache_tiers
    }

    fn conditions(status: &CacheTierStatus) -> &[Condition] {
        &status.conditions
    }
}

impl Primary for DatabaseTier {
    const KIND: PrimaryKind = PrimaryKind::DatabaseTier;

    fn store(caches: &Caches) -> &Store<Self> {
        &caches.database_tiers
    }

    fn conditions(status: &DatabaseTierStatus) -> &[Condition] {
        &status.conditions
    }
}

impl Primary for WorkerPool {
    const KIND: PrimaryKind = PrimaryKind::WorkerPool;

    fn store(caches: &Caches) -> &Store<Self> {
        &caches.worker_pools
    }

    fn conditions(status: &WorkerPoolStatus) -> &[Condition] {
        &status.conditions
    }
}

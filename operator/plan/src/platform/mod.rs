//! AppPlatform: one object per declared component, and the edge in front of those with routes.

mod children;
mod component;
mod edge;
mod nginx;
mod status;
mod validate;

use std::collections::BTreeSet;

use jiff::Timestamp;
use orlop_crds::{AppPlatform, AppPlatformStatus};

use self::validate::ValidatedPlatform;
use crate::{
    Failure, Kind, Object, ObjectName, Observed, Plan, Reconcile, Settings, difference, fence,
    prune,
};

/// Name of the edge among the components; no component may be called so.
pub(crate) const EDGE: &str = "edge";

impl Reconcile for AppPlatform {
    type Status = AppPlatformStatus;

    const FIELD_MANAGER: &'static str = "orlop-appplatform";
    const CHILDREN: &'static [Kind] = &[
        Kind::AppService,
        Kind::BrokerTier,
        Kind::CacheTier,
        Kind::DatabaseTier,
        Kind::WorkerPool,
        Kind::ConfigMap,
        Kind::Deployment,
        Kind::Service,
        Kind::PodDisruptionBudget,
    ];

    fn recorded_status(&self) -> Option<&AppPlatformStatus> {
        self.status.as_ref()
    }

    /// What a component uses is part of the same application, and checked with its schema.
    fn references(&self) -> Vec<ObjectName> {
        Vec::new()
    }

    fn plan(
        &self,
        observed: &Observed,
        settings: &Settings,
        now: Timestamp,
    ) -> Plan<AppPlatformStatus> {
        if fence::is_behind(&self.metadata, observed) {
            return Plan::nothing(self.status.clone().unwrap_or_default());
        }
        match validate::validate(self, settings) {
            Ok(platform) => plan(&platform, self.status.as_ref(), observed, now),
            Err(invalid) => status::invalid(self, &invalid, now),
        }
    }

    fn failed(
        &self,
        planned: AppPlatformStatus,
        failure: &Failure,
        now: Timestamp,
    ) -> AppPlatformStatus {
        status::failed(self, planned, failure, now)
    }
}

fn plan(
    platform: &ValidatedPlatform,
    recorded: Option<&AppPlatformStatus>,
    observed: &Observed,
    now: Timestamp,
) -> Plan<AppPlatformStatus> {
    // Components before the edge that refers to them.
    let mut objects = children::objects(platform);
    objects.extend(edge::objects(platform));
    let keep: BTreeSet<ObjectName> = objects.iter().map(Object::name).collect();
    let recorded_pruning = recorded
        .map(|status| status.pruning.as_slice())
        .unwrap_or_default();
    let pruning = prune::prune(recorded_pruning, &keep, observed);
    let written = difference::writes(objects, &pruning, observed, platform.version.as_deref());
    status::report(platform, recorded, observed, written, pruning.record, now)
}

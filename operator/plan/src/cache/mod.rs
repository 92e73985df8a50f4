//! CacheTier: a Valkey Cluster of `shards x (1 + replicasPerShard)` nodes, each a StatefulSet of one
//! pod.

pub mod action;
mod build;
pub mod cause;
mod config;
mod formation;
pub mod machine;
pub mod reading;
pub mod shape;
pub mod slots;
mod status;
mod topology;
mod validate;

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use orlop_crds::{CacheTier, CacheTierStatus};

pub use action::Action;
pub use cause::Cause;
pub use machine::{Step, is_still_due, step};
pub use reading::Reading;
pub use shape::{Formation, Shape, ZoneRule};

pub(crate) use self::validate::NAME_CHARS_MAX;
use self::{
    build::Access,
    config::{ADMIN_USER, PORT},
    status::View,
    validate::ValidatedCache,
};
use crate::{
    Failure, Kind, Object, ObjectName, Observed, Password, Plan, Reconcile, Settings, Sources,
    ValkeyErrand, ValkeyNode, ValkeySource, Write, cause as pods,
    difference::{self, Writes},
    fence, prune,
};

/// What the API server copies from a node onto its pods (KEP-4742).
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

impl Reconcile for CacheTier {
    type Status = CacheTierStatus;

    const FIELD_MANAGER: &'static str = "orlop-cachetier";
    const CHILDREN: &'static [Kind] = &[
        Kind::ConfigMap,
        Kind::PodDisruptionBudget,
        Kind::Secret,
        Kind::Service,
        Kind::StatefulSet,
    ];

    fn recorded_status(&self) -> Option<&CacheTierStatus> {
        self.status.as_ref()
    }

    fn references(&self) -> Vec<ObjectName> {
        Vec::new()
    }

    fn secrets(&self) -> Vec<String> {
        self.metadata
            .name
            .as_deref()
            .map(build::secrets)
            .unwrap_or_default()
    }

    fn sources(&self, observed: &Observed, settings: &Settings) -> Sources {
        Sources {
            valkey: validate::validate(self, settings)
                .ok()
                .and_then(|cache| source(&cache, observed)),
            ..Sources::default()
        }
    }

    fn plan(
        &self,
        observed: &Observed,
        settings: &Settings,
        now: Timestamp,
    ) -> Plan<CacheTierStatus> {
        if fence::is_behind(&self.metadata, observed) {
            return Plan::nothing(self.status.clone().unwrap_or_default());
        }
        match validate::validate(self, settings) {
            Ok(cache) => plan(&cache, self.status.as_ref(), observed, now),
            Err(invalid) => status::invalid(self, &invalid, now),
        }
    }

    fn failed(
        &self,
        planned: CacheTierStatus,
        failure: &Failure,
        now: Timestamp,
    ) -> CacheTierStatus {
        status::failed(self, planned, failure, now)
    }
}

fn plan(
    cache: &ValidatedCache,
    recorded: Option<&CacheTierStatus>,
    observed: &Observed,
    now: Timestamp,
) -> Plan<CacheTierStatus> {
    let formation = status::recall(cache, recorded);
    let reading = status::recent(observed.snapshots.valkey.as_ref(), now);
    let step = reading.map(|reading| (reading, step(&cache.shape, reading, formation.as_ref())));
    let step = step.as_ref().map(|(reading, step)| (*reading, step));

    let access = Access::of(cache, observed);
    let objects = build::objects(
        cache,
        &access,
        all_nodes(cache, formation.as_ref(), observed),
    );
    let keep: BTreeSet<ObjectName> = objects.iter().map(Object::name).collect();
    let recorded_pruning = recorded
        .map(|status| status.pruning.as_slice())
        .unwrap_or_default();
    let pruning = prune::prune(recorded_pruning, &keep, observed);
    let version = cache.tier.version.as_deref();
    let mut written = difference::writes(objects, &pruning, observed, version);
    restart_one_by_one(&mut written, observed, step.map(|(_, step)| step));

    let view = View {
        cache,
        observed,
        written: &written,
        step,
        now,
    };
    let status = status::report(&view, recorded, pruning.record);
    let wake_at = status::wake_at(&status, now);
    let actions = actions(cache, observed, step.map(|(_, step)| step));
    status::plan(written.writes, actions, recorded, status, wake_at)
}

/// Whether replicas may be placed: once each shard's first node has its place, which its replicas
/// then avoid.
fn all_nodes(cache: &ValidatedCache, formation: Option<&Formation>, observed: &Observed) -> bool {
    let is_placed = |name: &str| {
        let mut pods = observed.pods.iter();
        pods.find(|pod| pod.metadata.name.as_deref() == Some(name))
            .is_some_and(pods::is_scheduled)
    };
    formation.is_some_and(|formation| formation.formed)
        || (0..cache.shape.shards).all(|shard| is_placed(&cache.shape.pod(shard, 0)))
}

/// A StatefulSet that is updated restarts its pod. Of those that are well one at a time is, and only
/// while the cache is complete, or would be if its nodes had the present password, which they take
/// at their start. Those that are not well have nothing to lose.
fn restart_one_by_one(written: &mut Writes, observed: &Observed, step: Option<&Step>) {
    let complete = step.is_some_and(|step| matches!(step.cause, None | Some(Cause::Refused(_))));
    let mut may_restart = complete
        && observed.stateful_sets().all(|object| {
            let status = object.status.as_ref();
            status.and_then(|status| status.ready_replicas) == Some(1)
                && status.and_then(|status| status.observed_generation)
                    >= object.metadata.generation
        });
    written.writes.retain(|write| {
        let Write::Update {
            object: Object::StatefulSet(object),
            ..
        } = write
        else {
            return true;
        };
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let is_well = observed
            .pods
            .iter()
            .any(|pod| is_pod_of(pod, name) && pods::is_ready(pod));
        !is_well || std::mem::take(&mut may_restart)
    });
}

fn is_pod_of(pod: &Pod, stateful_set: &str) -> bool {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    name.strip_suffix("-0") == Some(stateful_set)
}

fn actions(cache: &ValidatedCache, observed: &Observed, step: Option<&Step>) -> Vec<crate::Action> {
    let (Some(step), Some(source)) = (step, source(cache, observed)) else {
        return Vec::new();
    };
    let errand = |action: &Action| {
        crate::Action::Valkey(Box::new(ValkeyErrand {
            source: source.clone(),
            shape: cache.shape.clone(),
            formation: step.formation.clone(),
            action: action.clone(),
        }))
    };
    step.actions.iter().map(errand).collect()
}

/// Where the nodes are asked, once their credentials are stored: those of a pass are made up until
/// then.
fn source(cache: &ValidatedCache, observed: &Observed) -> Option<ValkeySource> {
    observed.get(Kind::Secret, &cache.tier.object_name("auth"))?;
    let access = Access::of(cache, observed);
    let nodes = cache.shape.homes().map(|(shard, index)| {
        let name = cache.shape.pod(shard, index);
        let pod = observed
            .pods
            .iter()
            .find(|pod| pod.metadata.name.as_deref() == Some(&name));
        ValkeyNode {
            address: pod.and_then(address),
            zone: pod.and_then(|pod| pod.metadata.labels.as_ref()?.get(ZONE_LABEL).cloned()),
            name,
        }
    });
    Some(ValkeySource {
        nodes: nodes.collect(),
        port: PORT,
        user: ADMIN_USER.to_owned(),
        password: Password::new(access.admin_password().to_owned()),
    })
}

/// None for a pod that has ended: its address may be another one's.
fn address(pod: &Pod) -> Option<std::net::IpAddr> {
    let status = pod.status.as_ref()?;
    let ended = matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"));
    status.pod_ip.as_ref().filter(|_| !ended)?.parse().ok()
}

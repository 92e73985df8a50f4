//! What is told of a cache: conditions, its nodes, the root cause.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Condition};
use orlop_crds::{
    BindingReference, CacheTier, CacheTierStatus, ConditionType, PruneRecord, Reason,
    cache_tier::{CacheFormation, CacheNode, CacheRole, FormationPhase},
};

use super::{
    build,
    config::PORT,
    machine::Step,
    reading::{Reading, Replication, State},
    shape::Formation,
    validate::ValidatedCache,
};
use crate::{
    Failure, Observed, Plan, Snapshot, Write,
    cause::{self, Cause},
    condition::{self, conditions, summary},
    difference::Writes,
    labels,
    service::Invalid,
};

/// While nodes start without a known cause, failed probes are asked for so often.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(3);

/// A reading that is older says nothing of now: some polls have failed in a row.
const SILENCE_MAX: SignedDuration = SignedDuration::from_secs(10);

/// What a pass knows of a cache.
pub(super) struct View<'a> {
    pub(super) cache: &'a ValidatedCache,
    pub(super) observed: &'a Observed,
    pub(super) written: &'a Writes,
    /// What its nodes say, and what follows from it; none while nothing recent is known.
    pub(super) step: Option<(&'a Reading, &'a Step)>,
    pub(super) now: Timestamp,
}

pub(super) fn report(
    view: &View<'_>,
    recorded: Option<&CacheTierStatus>,
    pruning: Vec<PruneRecord>,
) -> CacheTierStatus {
    let cache = view.cache;
    let before = before(recorded);
    let generation = cache.tier.generation;
    let verdicts = match view.cause(recorded) {
        Some(Cause { reason, message }) => {
            conditions(before, summary(reason, &message), generation, view.now)
        }
        None => before.to_vec(),
    };
    let nodes = view.nodes(recorded);
    let ready = nodes.iter().filter(|node| node.ready).count();
    CacheTierStatus {
        observed_generation: generation,
        conditions: verdicts,
        pruning,
        summary: Some(format!("{ready}/{}", nodes.len())),
        nodes,
        formation: match view.step {
            Some((_, step)) => step.formation.as_ref().map(record),
            None => recorded.and_then(|status| status.formation.clone()),
        },
        endpoint: Some(format!("redis://{}:{PORT}", build::host(cache))),
        binding: Some(BindingReference::of(&cache.tier.name)),
        effective: Some(cache.effective.clone()),
    }
}

fn before(recorded: Option<&CacheTierStatus>) -> &[Condition] {
    recorded
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default()
}

fn record(formation: &Formation) -> CacheFormation {
    CacheFormation {
        phase: if formation.formed {
            FormationPhase::Formed
        } else {
            FormationPhase::Forming
        },
        primaries: formation
            .primaries
            .iter()
            .map(|index| i32::from(*index))
            .collect(),
    }
}

/// None where none is recorded, or one that does not fit the shards.
pub(super) fn recall(
    cache: &ValidatedCache,
    recorded: Option<&CacheTierStatus>,
) -> Option<Formation> {
    let CacheFormation { phase, primaries } = recorded?.formation.as_ref()?;
    let primaries: Vec<u16> = primaries
        .iter()
        .filter_map(|index| u16::try_from(*index).ok())
        .filter(|index| *index <= cache.shape.replicas_per_shard)
        .collect();
    (primaries.len() == usize::from(cache.shape.shards)).then_some(Formation {
        primaries,
        formed: *phase == FormationPhase::Formed,
    })
}

/// The last reading, if it is recent enough to be acted upon.
pub(super) fn recent(snapshot: Option<&Snapshot<Reading>>, now: Timestamp) -> Option<&Reading> {
    let answer = snapshot?.answer.as_ref()?;
    (now.duration_since(answer.at) <= SILENCE_MAX).then_some(&answer.value)
}

impl View<'_> {
    /// What hinders, or that nothing does. None if nothing is known yet and something was told
    /// before: a restart of the operator, or a pod's new address, is no news.
    fn cause(&self, recorded: Option<&CacheTierStatus>) -> Option<Cause> {
        if let Some(error) = &self.written.error {
            return Some(self.told(Reason::InvalidSpec, &error.to_string(), None));
        }
        let of_cluster = self.step.map(|(_, step)| step);
        if of_cluster.is_some_and(|step| step.cause.is_none()) {
            return Some(self.of_restart().unwrap_or_else(|| self.available()));
        }
        if let Some(Cause { reason, message }) = self.of_pods() {
            return Some(self.told(reason, &message, None));
        }
        match of_cluster.and_then(|step| Some((step, step.cause.as_ref()?))) {
            Some((step, cause)) => {
                let formed = step
                    .formation
                    .as_ref()
                    .is_some_and(|formation| formation.formed);
                Some(self.told(cause.reason(formed), &cause.to_string(), cause.fix()))
            }
            None if before(recorded).is_empty() || !self.all_run() => {
                Some(self.told(Reason::Starting, "the nodes are starting", None))
            }
            None => None,
        }
    }

    /// Why pods do not run, as the cluster tells it.
    fn of_pods(&self) -> Option<Cause> {
        let pods: Vec<&Pod> = self.observed.pods.iter().collect();
        cause::diagnose(None, &pods, self.observed, self.now)
    }

    fn all_run(&self) -> bool {
        let ready = self.observed.pods.iter().filter(|pod| cause::is_ready(pod));
        ready.count() == self.cache.shape.homes().count()
    }

    /// Nodes wait for their new configuration, or take it.
    fn of_restart(&self) -> Option<Cause> {
        let waits = self.observed.stateful_sets().any(|object| {
            let status = object.status.as_ref();
            let seen = status.and_then(|status| status.observed_generation);
            let revisions =
                status.map(|status| (&status.current_revision, &status.update_revision));
            seen < object.metadata.generation
                || revisions.is_some_and(|(current, update)| current != update)
        });
        (waits || !self.written.writes.is_empty()).then(|| {
            self.told(
                Reason::Progressing,
                "nodes take their new configuration",
                None,
            )
        })
    }

    fn available(&self) -> Cause {
        let shape = &self.cache.shape;
        Cause {
            reason: Reason::Available,
            message: format!(
                "{} shards with {} replicas each hold all slots",
                shape.shards, shape.replicas_per_shard
            ),
        }
    }

    /// `<component>/<kind>/<name>: <cause>; <what fixes it>`.
    fn told(&self, reason: Reason, message: &str, fix: Option<&str>) -> Cause {
        let tier = &self.cache.tier;
        let fix = match fix {
            Some(fix) => format!("; {fix}"),
            None if reason.is_transient() => String::new(),
            None => format!("; {}", reason.fix()),
        };
        Cause {
            reason,
            message: format!("{}/CacheTier/{}: {message}{fix}", tier.component, tier.name),
        }
    }

    /// By the word of the nodes themselves; what was told last of those of which nothing is known.
    fn nodes(&self, recorded: Option<&CacheTierStatus>) -> Vec<CacheNode> {
        let shape = &self.cache.shape;
        let homes = shape.homes();
        homes
            .map(|(shard, index)| {
                let name = shape.stateful_set(shard, index);
                let last =
                    recorded.and_then(|status| status.nodes.iter().find(|node| node.name == name));
                let read = self
                    .step
                    .and_then(|(reading, _)| reading.nodes.get(&shape.pod(shard, index)));
                let zone = read.and_then(|node| node.zone.clone());
                let (role, ready) = match read.map(|node| &node.state) {
                    Some(State::Up(view)) => {
                        let has_slots = view.myself().is_some_and(|it| !it.slots.is_empty());
                        match view.replication {
                            Replication::Primary if has_slots => (Some(CacheRole::Primary), true),
                            Replication::Primary => (None, false),
                            Replication::Replica { link_up } => (Some(CacheRole::Replica), link_up),
                        }
                    }
                    Some(_) => (None, false),
                    None => last.map_or((None, false), |last| (last.role, last.ready)),
                };
                CacheNode {
                    shard: i32::from(shard),
                    role,
                    zone: zone.or_else(|| last?.zone.clone()),
                    ready,
                    name,
                }
            })
            .collect()
    }
}

/// When to look again although nothing has changed.
pub(super) fn wake_at(status: &CacheTierStatus, now: Timestamp) -> Option<Timestamp> {
    let ready = condition::find(&status.conditions, ConditionType::Ready)?;
    (ready.reason != Reason::Available.as_str())
        .then(|| now.checked_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX))
}

pub(super) fn plan(
    writes: Vec<Write>,
    actions: Vec<crate::Action>,
    recorded: Option<&CacheTierStatus>,
    status: CacheTierStatus,
    wake_at: Option<Timestamp>,
) -> Plan<CacheTierStatus> {
    let notices = condition::ready_changed(before(recorded), &status.conditions);
    Plan {
        writes,
        actions,
        status,
        wake_at,
        notices: notices.into_iter().collect(),
    }
}

pub(super) fn invalid(
    object: &CacheTier,
    invalid: &Invalid,
    now: Timestamp,
) -> Plan<CacheTierStatus> {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let message = format!(
        "{name}/CacheTier/{name}: {invalid}; {}",
        Reason::InvalidSpec.fix()
    );
    let recorded = object.status.as_ref();
    let generation = object.metadata.generation;
    let verdicts = summary(Reason::InvalidSpec, &message);
    let status = CacheTierStatus {
        observed_generation: generation,
        conditions: conditions(before(recorded), verdicts, generation, now),
        ..recorded.cloned().unwrap_or_default()
    };
    plan(Vec::new(), Vec::new(), recorded, status, None)
}

pub(super) fn failed(
    object: &CacheTier,
    planned: CacheTierStatus,
    failure: &Failure,
    now: Timestamp,
) -> CacheTierStatus {
    let labels = object.metadata.labels.as_ref();
    let component = labels
        .and_then(|labels| labels.get(labels::NAME))
        .or(object.metadata.name.as_ref())
        .map(String::as_str)
        .unwrap_or_default();
    let (reason, message) = failure.told(component);
    let recorded = before(object.status.as_ref());
    let verdicts = summary(reason, &message);
    CacheTierStatus {
        conditions: conditions(recorded, verdicts, object.metadata.generation, now),
        ..planned
    }
}

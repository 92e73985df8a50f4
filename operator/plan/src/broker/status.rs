//! What is told of a broker: conditions, the declared queues, the root cause.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Condition};
use orlop_contract::queue::AMQP_PORT;
use orlop_crds::{
    BindingReference, BrokerTier, BrokerTierStatus, ConditionType, PruneRecord, Reason,
    broker_tier::EffectiveBroker,
};

use super::{
    build,
    reading::{Alarm, Reading},
    topology::Difference,
    validate::ValidatedBroker,
};
use crate::{
    Failure, Kind, Object, ObjectName, Observed, Plan, ReadFailure, Snapshot, Write,
    cause::{self, Cause},
    condition::{self, conditions, summary},
    difference::Writes,
    labels,
    service::Invalid,
};

/// While a node starts without a known cause, failed probes are asked for so often.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(3);

/// A broker may be silent for so long before it is told: longer than it takes to open its
/// interfaces one after another, and than a pause under load.
const SILENCE_MAX: SignedDuration = SignedDuration::from_secs(10);

/// Names in a message; more of them are counted.
const NAMED_MAX: usize = 3;

/// What a pass knows of a broker.
pub(super) struct View<'a> {
    pub(super) broker: &'a ValidatedBroker,
    pub(super) observed: &'a Observed,
    pub(super) written: &'a Writes,
    /// None while nothing recent is known.
    pub(super) difference: Option<&'a Difference>,
    pub(super) now: Timestamp,
}

pub(super) fn report(
    view: &View<'_>,
    recorded: Option<&BrokerTierStatus>,
    pruning: Vec<PruneRecord>,
) -> BrokerTierStatus {
    let broker = view.broker;
    let before = before(recorded);
    let generation = broker.tier.generation;
    let verdicts = match view.cause() {
        Some(Cause { reason, message }) => {
            conditions(before, summary(reason, &message), generation, view.now)
        }
        None => before.to_vec(),
    };
    let host = build::host(broker);
    BrokerTierStatus {
        observed_generation: generation,
        conditions: verdicts,
        pruning,
        queues: view.queues(recorded),
        summary: Some(format!("{}/{}", view.ready(), broker.nodes)),
        endpoint: Some(format!("amqp://{host}:{AMQP_PORT}")),
        binding: Some(BindingReference::of(&broker.tier.name)),
        effective: Some(EffectiveBroker {
            image: broker.image.clone(),
            nodes: broker.nodes,
            storage: broker.storage.clone(),
            deletion: broker.tier.deletion,
        }),
    }
}

fn before(recorded: Option<&BrokerTierStatus>) -> &[Condition] {
    recorded
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default()
}

/// The last reading, if it is recent enough to be acted upon.
pub(super) fn recent(snapshot: Option<&Snapshot<Reading>>, now: Timestamp) -> Option<&Reading> {
    let answer = snapshot?.answer.as_ref()?;
    (now.duration_since(answer.at) <= SILENCE_MAX).then_some(&answer.value)
}

impl View<'_> {
    /// What hinders, or that nothing does. None if the broker was not asked yet and was ready when
    /// this was told last: a restart of the operator is no news.
    fn cause(&self) -> Option<Cause> {
        if let Some(error) = &self.written.error {
            return Some(self.told(Reason::InvalidSpec, &error.to_string()));
        }
        if let Some(cause) = self.hindered_pod() {
            return Some(cause);
        }
        let snapshot = self.observed.snapshots.rabbitmq.as_ref();
        match (recent(snapshot, self.now), self.difference) {
            (Some(reading), Some(difference)) => Some(self.of_broker(reading, difference)),
            _ => self.silence(snapshot),
        }
    }

    /// Nodes that are not there, not ready, or about to be replaced.
    fn hindered_pod(&self) -> Option<Cause> {
        let pods: Vec<&Pod> = self.observed.pods.iter().collect();
        if let Some(Cause { reason, message }) =
            cause::diagnose(None, &pods, self.observed, self.now)
        {
            return Some(self.told(reason, &message));
        }
        let starting = |message: &str| Some(self.told(Reason::Starting, message));
        if self.ready() < self.broker.nodes {
            return starting(&format!(
                "{} of {} nodes are ready",
                self.ready(),
                self.broker.nodes
            ));
        }
        if !self.is_rolled_out() {
            return starting("nodes are replaced by newer ones");
        }
        None
    }

    /// Whether the pods that run are those that are wanted now.
    fn is_rolled_out(&self) -> bool {
        let name = ObjectName::new(Kind::StatefulSet, &self.broker.tier.name);
        let Some(Object::StatefulSet(live)) = self.observed.get(name.kind, &name.name) else {
            return false;
        };
        let is_pending = self
            .written
            .writes
            .iter()
            .any(|write| write.target() == name);
        let updated = live.status.as_ref().is_some_and(|status| {
            status.observed_generation >= live.metadata.generation
                && status.updated_replicas.unwrap_or(0) >= self.broker.nodes
        });
        !is_pending && updated
    }

    fn silence(&self, snapshot: Option<&Snapshot<Reading>>) -> Option<Cause> {
        let asked = snapshot?;
        let failure = asked.failure.as_ref()?;
        if self.is_fresh() {
            return Some(self.told(Reason::Starting, "the management interface is awaited"));
        }
        let reason = match failure {
            ReadFailure::CredentialsRefused(_) => Reason::CredentialsRefused,
            ReadFailure::Unreachable(_) | ReadFailure::Failed(_) => Reason::Unreachable,
        };
        let message = match failure {
            ReadFailure::CredentialsRefused(_) => format!(
                "the broker refuses the operator's password, which stands in Secret '{}'; delete the pod: it takes the password at its start",
                self.broker.tier.object_name("auth")
            ),
            ReadFailure::Unreachable(_) | ReadFailure::Failed(_) => {
                format!("the management interface {failure}")
            }
        };
        Some(self.told(reason, &message))
    }

    /// Whether a node became ready so recently that its interfaces may still be opening.
    fn is_fresh(&self) -> bool {
        self.observed.pods.iter().any(|pod| {
            let conditions = pod.status.iter().flat_map(|status| &status.conditions);
            conditions.flatten().any(|condition| {
                condition.type_ == "Ready"
                    && condition
                        .last_transition_time
                        .as_ref()
                        .is_some_and(|since| self.now.duration_since(since.0) <= SILENCE_MAX)
            })
        })
    }

    fn of_broker(&self, reading: &Reading, difference: &Difference) -> Cause {
        if reading.alarms.contains(&Alarm::Disk) {
            return self.told(
                Reason::DiskFull,
                "the volume is nearly full, and the broker accepts no messages",
            );
        }
        if reading.alarms.contains(&Alarm::Memory) {
            return self.told(
                Reason::MemoryFull,
                "the memory is nearly full, and the broker accepts no messages",
            );
        }
        if let Some((queue, found)) = difference.taken.first_key_value() {
            let message = format!("'{queue}' exists on the broker as {found}");
            return self.told(Reason::NameTaken, &message);
        }
        if !difference.actions.is_empty() {
            return self.told(Reason::Progressing, "queues are being declared");
        }
        Cause {
            reason: Reason::Available,
            message: format!(
                "{} of {} nodes are ready, queues declared: {}{}",
                self.ready(),
                self.broker.nodes,
                self.broker.queues.len(),
                surplus(&difference.surplus)
            ),
        }
    }

    /// `<component>/<kind>/<name>: <cause>; <what fixes it>`.
    fn told(&self, reason: Reason, message: &str) -> Cause {
        let tier = &self.broker.tier;
        // A message of two parts says itself what helps.
        let fix = if reason.is_transient() || message.contains("; ") {
            String::new()
        } else {
            format!("; {}", reason.fix())
        };
        Cause {
            reason,
            message: format!(
                "{}/BrokerTier/{}: {message}{fix}",
                tier.component, tier.name
            ),
        }
    }

    fn ready(&self) -> i32 {
        let ready = self
            .observed
            .pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none() && cause::is_ready(pod));
        i32::try_from(ready.count()).unwrap_or(i32::MAX)
    }

    /// Queues that stand with all that belongs to them; what was known last while nothing recent is.
    fn queues(&self, recorded: Option<&BrokerTierStatus>) -> Vec<String> {
        let Some(difference) = self.difference else {
            return recorded
                .map(|status| status.queues.clone())
                .unwrap_or_default();
        };
        let names = self.broker.queues.iter().map(|queue| &queue.name);
        names
            .filter(|name| difference.stands(name))
            .cloned()
            .collect()
    }
}

fn surplus(names: &BTreeSet<String>) -> String {
    if names.is_empty() {
        return String::new();
    }
    let quoted: Vec<String> = names
        .iter()
        .take(NAMED_MAX)
        .map(|name| format!("'{name}'"))
        .collect();
    let more = match names.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "; not declared any more, and kept: {}{more}",
        quoted.join(", ")
    )
}

/// When to look again although nothing has changed.
pub(super) fn wake_at(status: &BrokerTierStatus, view: &View<'_>) -> Option<Timestamp> {
    let ready = condition::find(&status.conditions, ConditionType::Ready)?;
    let waits = [Reason::Starting, Reason::ProbeFailing]
        .iter()
        .any(|reason| ready.reason == reason.as_str());
    let snapshot = view.observed.snapshots.rabbitmq.as_ref();
    let falls_silent = snapshot.is_some_and(|snapshot| snapshot.failure.is_some());
    (waits || falls_silent).then(|| view.now.checked_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX))
}

pub(super) fn plan(
    writes: Vec<Write>,
    actions: Vec<crate::Action>,
    recorded: Option<&BrokerTierStatus>,
    status: BrokerTierStatus,
    wake_at: Option<Timestamp>,
) -> Plan<BrokerTierStatus> {
    let notices = condition::ready_changed(before(recorded), &status.conditions)
        .into_iter()
        .collect();
    Plan {
        writes,
        actions,
        status,
        wake_at,
        notices,
    }
}

pub(super) fn invalid(
    object: &BrokerTier,
    invalid: &Invalid,
    now: Timestamp,
) -> Plan<BrokerTierStatus> {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let message = format!(
        "{name}/BrokerTier/{name}: {invalid}; {}",
        Reason::InvalidSpec.fix()
    );
    let recorded = object.status.as_ref();
    let generation = object.metadata.generation;
    let verdicts = summary(Reason::InvalidSpec, &message);
    let status = BrokerTierStatus {
        observed_generation: generation,
        conditions: conditions(before(recorded), verdicts, generation, now),
        ..recorded.cloned().unwrap_or_default()
    };
    plan(Vec::new(), Vec::new(), recorded, status, None)
}

pub(super) fn failed(
    object: &BrokerTier,
    planned: BrokerTierStatus,
    failure: &Failure,
    now: Timestamp,
) -> BrokerTierStatus {
    let labels = object.metadata.labels.as_ref();
    let component = labels
        .and_then(|labels| labels.get(labels::NAME))
        .or(object.metadata.name.as_ref())
        .map(String::as_str)
        .unwrap_or_default();
    let (reason, message) = failure.told(component);
    let recorded = before(object.status.as_ref());
    BrokerTierStatus {
        conditions: conditions(
            recorded,
            summary(reason, &message),
            object.metadata.generation,
            now,
        ),
        ..planned
    }
}

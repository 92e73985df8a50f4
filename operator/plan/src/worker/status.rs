//! What is told of a pool: conditions, the last decision, the root cause.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use orlop_contract::worker::{BrokerError, BrokerErrorKind};
use orlop_crds::{
    ConditionType, PruneRecord, Reason, WorkerPool, WorkerPoolStatus,
    broker_tier::Queue,
    release::{HandoverMode, ReleasePhase, ReleaseRecord},
    worker_pool::{EffectivePool, ScalingDecision},
};

use super::{
    Reading, build,
    scaler::{Decision, Sight},
    validate::{Size, ValidatedPool},
};
use crate::{
    Failure, Kind, Notice, NoticeLevel, ObjectName, Observed, Plan, ReadFailure, Write,
    cause::{self, Cause},
    condition::{self, Verdict, conditions, summary},
    labels,
    release::{Policy, Traffic, pods_of, told},
    revision::Revision,
    service::{self, Invalid},
};

/// While pods start without a known cause, failed probes are asked for so often.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(3);

/// What a pass knows of a pool.
pub(super) struct View<'a> {
    pub(super) pool: &'a ValidatedPool,
    /// As it is declared on the broker.
    pub(super) queue: Option<&'a Queue>,
    pub(super) declared: Option<&'a Revision>,
    pub(super) record: &'a ReleaseRecord,
    pub(super) policy: &'a Policy,
    pub(super) decision: &'a Decision,
    pub(super) observed: &'a Observed,
    /// Why an object could not be put into words.
    pub(super) error: Option<&'a serde_json::Error>,
    pub(super) now: Timestamp,
}

pub(super) fn report(
    view: &View<'_>,
    recorded: Option<&WorkerPoolStatus>,
    writes: Vec<Write>,
    pruning: Vec<PruneRecord>,
    wake_at: Option<Timestamp>,
) -> Plan<WorkerPoolStatus> {
    let pool = view.pool;
    let before = before(recorded);
    let cause = view.cause();
    let verdicts = if view.may_tell(&cause, before) {
        let verdicts = view.verdicts(&cause);
        conditions(before, verdicts, pool.identity.generation, view.now)
    } else {
        before.to_vec()
    };
    let counts = view.counts();
    let desired = view.decision.record.desired;
    let (min, max) = pool.bounds();
    let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let status = WorkerPoolStatus {
        observed_generation: pool.identity.generation,
        conditions: verdicts,
        record: told::tell(view.record.clone(), view.policy),
        pruning,
        scaling: Some(view.decision.record.clone()),
        replicas: Some(counts.replicas),
        ready_replicas: Some(counts.ready),
        selector: view.active().map(|active| selector_text(pool, &active)),
        summary: Some(format!("{}/{desired}", counts.ready)),
        effective: Some(EffectivePool {
            image: pool.image.clone(),
            concurrency: pool.concurrency.into(),
            prefetch: pool.prefetch.into(),
            min: number(min),
            max: number(max),
            timeout: pool.handler.timeout,
            drain: pool.drain,
        }),
    };
    let look_again = matches!(cause.reason, Reason::Starting | Reason::ProbeFailing)
        .then(|| view.now.checked_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX));
    Plan {
        writes,
        actions: Vec::new(),
        notices: notices(recorded, &status),
        wake_at: [view.decision.wake_at, look_again, wake_at]
            .into_iter()
            .flatten()
            .min(),
        status,
    }
}

fn before(recorded: Option<&WorkerPoolStatus>) -> &[Condition] {
    recorded
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default()
}

/// Of one revision's Deployment.
#[derive(Clone, Copy, Default)]
struct Counts {
    replicas: i32,
    ready: i32,
    /// Whether the counts speak of what is asked for now.
    settled: bool,
}

/// What only data services and workers can tell, and a restart of the operator makes it forget.
const TOLD_BY_OTHERS: [Reason; 6] = [
    Reason::CredentialsRefused,
    Reason::Unreachable,
    Reason::QueueMissing,
    Reason::HandlerFailing,
    Reason::StatisticsMissing,
    Reason::DependencyNotReady,
];

impl View<'_> {
    /// The worst of what hinders, or that nothing does.
    fn cause(&self) -> Cause {
        if let Some(error) = self.error {
            return self.told(Reason::InvalidSpec, &error.to_string());
        }
        if let Some(missing) = self.missing() {
            return missing;
        }
        let goal = self.goal();
        let pods: Vec<&Pod> = goal
            .iter()
            .flat_map(|goal| pods_of(self.observed, goal))
            .collect();
        let deployment = goal.as_ref().and_then(|goal| self.deployment(goal));
        let of_pods = cause::diagnose(deployment, &pods, self.observed, self.now)
            .map(|Cause { reason, message }| self.told(reason, &message));
        let worst = of_pods
            .into_iter()
            .chain(self.of_workers())
            .chain(self.of_statistics())
            .chain(self.held())
            .min();
        worst.unwrap_or_else(|| self.progress())
    }

    fn held(&self) -> Option<Cause> {
        let identity = &self.pool.identity;
        let object = format!("{}/WorkerPool/{}", identity.component, identity.name);
        let hold = self.record.hold.as_ref()?;
        Some(service::held(hold, &object))
    }

    /// The revision that takes the jobs.
    fn active(&self) -> Option<Revision> {
        Revision::parse(self.record.active_revision.as_deref()?)
    }

    /// The revision that is to take them: the declared one, unless that is held back.
    fn goal(&self) -> Option<Revision> {
        let hold = self.record.hold.as_ref();
        let instead = hold.and_then(|hold| Revision::parse(&hold.instead));
        instead.or_else(|| self.declared.cloned())
    }

    fn deployment(&self, revision: &Revision) -> Option<&Deployment> {
        let name = build::revision_name(self.pool, revision);
        self.observed.deployment(&name)
    }

    /// What is referred to and does not exist.
    fn missing(&self) -> Option<Cause> {
        let pool = self.pool;
        let exists = |kind, name: &str| {
            self.observed
                .existing
                .contains(&ObjectName::new(kind, name))
        };
        if !exists(Kind::BrokerTier, &pool.broker) {
            let message = format!("BrokerTier '{}' does not exist", pool.broker);
            return Some(self.told(Reason::DependencyMissing, &message));
        }
        if self.queue.is_none() {
            let message = format!(
                "queue '{}' is not declared on BrokerTier '{}'",
                pool.queue, pool.broker
            );
            return Some(self.told(Reason::QueueMissing, &message));
        }
        if !exists(Kind::AppService, &pool.handler.service) {
            let message = format!(
                "AppService '{}', which is to do the jobs, does not exist",
                pool.handler.service
            );
            return Some(self.told(Reason::DependencyMissing, &message));
        }
        let binding = build::binding(pool);
        let mut secrets = self.observed.secrets.iter();
        let is_bound = secrets.any(|secret| secret.metadata.name.as_ref() == Some(&binding));
        (!is_bound).then(|| {
            let message = format!("Secret '{binding}' does not exist yet");
            self.told(Reason::BindingMissing, &message)
        })
    }

    fn of_workers(&self) -> Option<Cause> {
        let workers = self.reading()?.workers.values();
        let causes = workers.flat_map(|worker| {
            let broker = worker.broker_error.as_ref();
            let handler = worker.handler_failure.as_ref();
            let broker = broker.map(|error| self.of_broker_error(error));
            let handler = handler.map(|failure| {
                let service = &self.pool.handler.service;
                let message = format!("AppService '{service}' fails at the jobs: {failure}");
                self.told(Reason::HandlerFailing, &message)
            });
            broker.into_iter().chain(handler)
        });
        causes.min()
    }

    fn of_broker_error(&self, BrokerError { kind, message }: &BrokerError) -> Cause {
        let broker = &self.pool.broker;
        let (reason, message) = match kind {
            BrokerErrorKind::AccessRefused => (
                Reason::CredentialsRefused,
                format!(
                    "broker '{broker}' refuses what Secret '{}' holds: {message}",
                    build::binding(self.pool)
                ),
            ),
            BrokerErrorKind::QueueMissing => (
                Reason::QueueMissing,
                format!("a queue does not exist on broker '{broker}': {message}"),
            ),
            BrokerErrorKind::Unreachable => (
                Reason::Unreachable,
                format!("broker '{broker}' does not answer: {message}"),
            ),
            BrokerErrorKind::PublishRefused | BrokerErrorKind::Other => (
                Reason::DependencyNotReady,
                format!("broker '{broker}': {message}"),
            ),
        };
        self.told(reason, &message)
    }

    /// Whether the number of workers can follow the queue.
    fn of_statistics(&self) -> Option<Cause> {
        if matches!(self.pool.size, Size::Fixed(_)) {
            return None;
        }
        let snapshot = self.observed.snapshots.rabbitmq.as_ref()?;
        let failure = snapshot.failure.as_ref().map(ReadFailure::to_string);
        let (broker, queue) = (&self.pool.broker, &self.pool.queue);
        let why = match self.decision.sight {
            Sight::Clear | Sight::Contradictory => return None,
            Sight::Unread if failure.is_none() => {
                let message = format!("queue '{queue}' is not on broker '{broker}' yet");
                return Some(self.told(Reason::DependencyNotReady, &message));
            }
            Sight::Missing => format!("it does not tell how many messages wait in '{queue}'"),
            Sight::Unread | Sight::Stale => {
                let silence = || "it has told nothing for some time".to_owned();
                failure.unwrap_or_else(silence)
            }
        };
        let message = format!("broker '{broker}' gives no statistics: {why}");
        Some(self.told(Reason::StatisticsMissing, &message))
    }

    fn progress(&self) -> Cause {
        let desired = self.decision.record.desired;
        let phase = self.record.release.as_ref().map(|release| release.phase);
        if phase == Some(ReleasePhase::Gated) {
            let message = "a new revision waits to be promoted";
            return self.told(Reason::AwaitingPromotion, message);
        }
        let counts = self.counts_of(self.goal());
        let message = if desired == 0 {
            "no worker is asked for".to_owned()
        } else {
            format!("{} of {desired} workers are ready", counts.ready)
        };
        if self.is_released() && counts.settled && counts.ready >= desired {
            return Cause {
                reason: Reason::Available,
                message,
            };
        }
        let reason = if counts.settled {
            Reason::Starting
        } else {
            Reason::Progressing
        };
        self.told(reason, &message)
    }

    /// Whether nobody else takes jobs any more.
    fn is_released(&self) -> bool {
        let active = self.active();
        let phase = self.record.release.as_ref().map(|release| release.phase);
        active.is_some()
            && active == self.goal()
            && phase.is_none_or(|phase| phase == ReleasePhase::Draining)
    }

    /// After a restart of the operator, what was told by others stands until they were asked again.
    fn may_tell(&self, cause: &Cause, before: &[Condition]) -> bool {
        let snapshots = &self.observed.snapshots;
        let scaled = matches!(self.pool.size, Size::Scaled(_));
        let asked_broker = !scaled || snapshots.rabbitmq.is_some();
        let asked_workers = self.observed.pods.is_empty() || snapshots.workers.is_some();
        if (asked_broker && asked_workers) || cause.reason < Reason::StatisticsMissing {
            return true;
        }
        let ready = condition::find(before, ConditionType::Ready);
        !ready.is_some_and(|ready| {
            let mut told = TOLD_BY_OTHERS.iter();
            told.any(|reason| reason.as_str() == ready.reason)
        })
    }

    fn verdicts(&self, cause: &Cause) -> Vec<Verdict> {
        let mut verdicts = summary(cause.reason, &cause.message);
        let released = self.is_released() && self.record.hold.is_none();
        let (reason, message) = match (&self.record.hold, self.goal()) {
            (Some(hold), _) => (
                Reason::ReleaseHeld,
                format!("revision {} is held back", hold.revision),
            ),
            (None, Some(revision)) if released => (
                Reason::Available,
                format!("revision {revision} takes the jobs"),
            ),
            (None, Some(revision)) => (
                Reason::Progressing,
                format!("workers of revision {revision} are being started"),
            ),
            (None, None) => (cause.reason, cause.message.clone()),
        };
        verdicts.push(Verdict {
            kind: ConditionType::Released,
            status: released,
            reason,
            message,
        });
        verdicts
    }

    /// Of the revision that takes the jobs.
    fn counts(&self) -> Counts {
        self.counts_of(self.active())
    }

    fn counts_of(&self, revision: Option<Revision>) -> Counts {
        let deployment = revision.and_then(|revision| self.deployment(&revision));
        let Some(deployment) = deployment else {
            return Counts::default();
        };
        let asked = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        let status = deployment.status.clone().unwrap_or_default();
        let settled = asked == Some(self.decision.record.desired)
            && status.observed_generation >= deployment.metadata.generation;
        Counts {
            replicas: status.replicas.unwrap_or(0),
            // After a change of size the status still counts pods that are about to go.
            ready: status
                .ready_replicas
                .unwrap_or(0)
                .min(self.decision.record.desired),
            settled,
        }
    }

    fn reading(&self) -> Option<&Reading> {
        let snapshot = self.observed.snapshots.workers.as_ref()?;
        Some(&snapshot.answer.as_ref()?.value)
    }

    /// `<component>/<kind>/<name>: <cause>; <what fixes it>`.
    fn told(&self, reason: Reason, message: &str) -> Cause {
        let identity = &self.pool.identity;
        let fix = if reason.is_transient() {
            String::new()
        } else {
            format!("; {}", reason.fix())
        };
        Cause {
            reason,
            message: format!(
                "{}/WorkerPool/{}: {message}{fix}",
                identity.component, identity.name
            ),
        }
    }
}

/// The selector as autoscalers want it: `key=value,...`.
fn selector_text(pool: &ValidatedPool, revision: &Revision) -> String {
    let pairs = build::selector(pool, revision);
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

/// One event per change that a person would want to know of.
fn notices(recorded: Option<&WorkerPoolStatus>, planned: &WorkerPoolStatus) -> Vec<Notice> {
    let decided = recorded.and_then(|status| status.scaling.as_ref());
    let scaled = decided.zip(planned.scaling.as_ref());
    let scaled = scaled
        .filter(|(before, after)| before.desired != after.desired)
        .map(|(before, after)| Notice {
            level: NoticeLevel::Normal,
            reason: Reason::Progressing,
            action: "Scale",
            message: format!(
                "from {} to {} workers{}",
                before.desired,
                after.desired,
                why(after)
            ),
        });
    let release = planned.record.release.as_ref();
    let phase_before = recorded
        .and_then(|status| status.record.release.as_ref())
        .map(|release| release.phase);
    let released = release
        .filter(|release| phase_before != Some(release.phase))
        .map(|release| Notice {
            level: NoticeLevel::Normal,
            reason: Reason::Progressing,
            action: "Release",
            message: told::transition(release, Traffic::Jobs(HandoverMode::Handover)),
        });
    scaled
        .into_iter()
        .chain(released)
        .chain(condition::ready_changed(
            before(recorded),
            &planned.conditions,
        ))
        .collect()
}

fn why(decision: &ScalingDecision) -> String {
    let numbers = (
        decision.arrivals_per_second.as_ref(),
        decision.backlog,
        decision.service_time,
    );
    let (Some(arrivals), Some(backlog), Some(service_time)) = numbers else {
        return String::new();
    };
    format!(": {arrivals} jobs arrive a second, {backlog} wait, each takes {service_time}")
}

pub(super) fn invalid(
    object: &WorkerPool,
    invalid: &Invalid,
    now: Timestamp,
) -> Plan<WorkerPoolStatus> {
    let recorded = object.status.clone().unwrap_or_default();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let message = format!(
        "{name}/WorkerPool/{name}: {invalid}; {}",
        Reason::InvalidSpec.fix()
    );
    let generation = object.metadata.generation;
    let verdicts = summary(Reason::InvalidSpec, &message);
    let status = WorkerPoolStatus {
        observed_generation: generation,
        conditions: conditions(&recorded.conditions, verdicts, generation, now),
        ..recorded
    };
    Plan {
        notices: notices(object.status.as_ref(), &status),
        ..Plan::nothing(status)
    }
}

pub(super) fn failed(
    object: &WorkerPool,
    planned: WorkerPoolStatus,
    failure: &Failure,
    now: Timestamp,
) -> WorkerPoolStatus {
    let labels = object.metadata.labels.as_ref();
    let component = labels
        .and_then(|labels| labels.get(labels::NAME))
        .or(object.metadata.name.as_ref())
        .map(String::as_str)
        .unwrap_or_default();
    let (reason, message) = failure.told(component);
    let generation = object.metadata.generation;
    let released = condition::find(&planned.conditions, ConditionType::Released).cloned();
    let mut told = conditions(
        before(object.status.as_ref()),
        summary(reason, &message),
        generation,
        now,
    );
    told.extend(released);
    WorkerPoolStatus {
        conditions: told,
        ..planned
    }
}

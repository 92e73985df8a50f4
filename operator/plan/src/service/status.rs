//! What is told of a service: conditions, the release, the root cause.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use orlop_crds::{
    AppService, AppServiceStatus, ConditionType, PruneRecord, Reason,
    app_service::{EffectiveService, Use},
    release::{Hold, ReleasePhase},
};

use super::{
    bindings, build,
    validate::{Invalid, ValidatedService},
};
use crate::{
    Failure, Notice, NoticeLevel, Observed, Plan,
    cause::{self, Cause},
    condition::{self, Verdict, conditions, summary},
    difference::Writes,
    labels,
    release::{Decision, Traffic, pods_of, told},
    revision::Revision,
};

/// While pods start without a known cause, failed probes are asked for so often.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(3);

pub(super) fn report(
    service: &ValidatedService,
    recorded: Option<&AppServiceStatus>,
    decision: &Decision,
    observed: &Observed,
    written: Writes,
    pruning: Vec<PruneRecord>,
    now: Timestamp,
) -> Plan<AppServiceStatus> {
    let view = View::of(service, decision, observed);
    let cause = match &written.error {
        Some(error) => Cause {
            reason: Reason::InvalidSpec,
            message: error.to_string(),
        },
        None => view.cause(service, observed, now),
    };
    let look_again = (cause.reason == Reason::Starting || cause.reason == Reason::ProbeFailing)
        .then(|| now.checked_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX));
    let before = recorded
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let status = AppServiceStatus {
        observed_generation: service.generation,
        conditions: conditions(
            before,
            view.verdicts(service, &cause),
            service.generation,
            now,
        ),
        record: told::tell(decision.record.clone(), &service.policy),
        pruning,
        replicas: Some(view.active_replicas),
        ready_replicas: Some(view.active_ready),
        selector: Some(selector_text(service, &decision.select)),
        summary: Some(format!("{}/{}", view.active_ready, view.wanted)),
        endpoint: Some(format!(
            "http://{}",
            build::host(&service.name, &service.namespace, &service.cluster_domain)
        )),
        effective: Some(EffectiveService {
            replicas: service.spec.template.replicas(),
            drain: service.release.pace.drain(),
        }),
    };
    let notices = notices(recorded, &status);
    let wake_at = [decision.wake_at, look_again].into_iter().flatten().min();
    Plan {
        writes: written.writes,
        actions: Vec::new(),
        status,
        wake_at,
        notices,
    }
}

/// The numbers from which the status is told.
struct View {
    wanted: i32,
    /// Of the revision that is to be served.
    ready: i32,
    exists: bool,
    active_replicas: i32,
    active_ready: i32,
    /// Whether that one is served.
    served: bool,
    phase: Option<ReleasePhase>,
    active: Revision,
    /// The declared revision, unless that is held back.
    goal: Revision,
    hold: Option<Hold>,
}

impl View {
    fn of(service: &ValidatedService, decision: &Decision, observed: &Observed) -> Self {
        let counts = |revision: &Revision| {
            let name = build::revision_name(&service.name, revision);
            let deployment = observed.deployment(&name)?;
            let status = deployment.status.as_ref();
            let replicas = status.and_then(|status| status.replicas).unwrap_or(0);
            Some((
                replicas,
                status.and_then(|status| status.ready_replicas).unwrap_or(0),
            ))
        };
        let hold = decision.record.hold.clone();
        let instead = hold
            .as_ref()
            .and_then(|hold| Revision::parse(&hold.instead));
        let goal = instead.unwrap_or_else(|| service.revision.clone());
        let of_goal = counts(&goal);
        let active = counts(&decision.select).unwrap_or_default();
        let selected = observed
            .service(&service.name)
            .and_then(|object| {
                object
                    .spec
                    .as_ref()?
                    .selector
                    .as_ref()?
                    .get(labels::REVISION)
            })
            .is_some_and(|revision| revision == goal.as_str());
        Self {
            wanted: service.spec.template.replicas(),
            ready: of_goal.unwrap_or_default().1,
            exists: of_goal.is_some(),
            active_replicas: active.0,
            active_ready: active.1,
            served: selected && decision.select == goal,
            goal,
            phase: decision.record.release.as_ref().map(|it| it.phase),
            active: decision.select.clone(),
            hold,
        }
    }

    fn cause(&self, service: &ValidatedService, observed: &Observed, now: Timestamp) -> Cause {
        let name = build::revision_name(&service.name, &self.goal);
        if let Some(missing) = missing_use(service, observed) {
            return missing;
        }
        let object = format!("{}/AppService/{}", service.component, service.name);
        let held = self.hold.as_ref().map(|hold| held(hold, &object));
        if self.served && self.exists && self.ready >= self.wanted {
            let message = format!("{} of {} replicas are ready", self.ready, self.wanted);
            return held.unwrap_or(Cause {
                reason: Reason::Available,
                message,
            });
        }
        let pods: Vec<&Pod> = pods_of(observed, &self.goal).collect();
        let root = cause::diagnose(observed.deployment(&name), &pods, observed, now);
        let Cause { reason, message } = root.unwrap_or_else(|| self.starting());
        let fix = if reason.is_transient() {
            String::new()
        } else {
            format!("; {}", reason.fix())
        };
        let goes_on = if !self.served && self.active != self.goal && self.active_ready > 0 {
            format!("; revision {} goes on being served", self.active)
        } else {
            String::new()
        };
        let cause = Cause {
            reason,
            message: format!(
                "{}/Deployment/{name}: {message}{fix}{goes_on}",
                service.component
            ),
        };
        held.into_iter().fold(cause, Cause::min)
    }

    fn starting(&self) -> Cause {
        if self.phase == Some(ReleasePhase::Gated) {
            return Cause {
                reason: Reason::AwaitingPromotion,
                message: "it is ready and waits to be promoted".to_owned(),
            };
        }
        if self.exists && self.ready >= self.wanted {
            let message = "replicas are ready, requests are about to reach them".to_owned();
            return Cause {
                reason: Reason::Progressing,
                message,
            };
        }
        let message = format!("{} of {} replicas are ready", self.ready, self.wanted);
        Cause {
            reason: Reason::Starting,
            message,
        }
    }

    fn verdicts(&self, service: &ValidatedService, cause: &Cause) -> Vec<Verdict> {
        let mut verdicts = summary(cause.reason, &cause.message);
        let drains = [ReleasePhase::Verifying, ReleasePhase::Draining];
        if self.phase.is_some_and(|phase| drains.contains(&phase))
            && cause.reason == Reason::Available
        {
            for verdict in &mut verdicts {
                if verdict.kind == ConditionType::Reconciling {
                    verdict.status = true;
                    verdict.reason = Reason::Draining;
                    "the previous revision finishes its open requests"
                        .clone_into(&mut verdict.message);
                }
            }
        }
        let (reason, message) = if let Some(hold) = &self.hold {
            (
                Reason::ReleaseHeld,
                format!("revision {} is held back", hold.revision),
            )
        } else if self.served {
            (
                Reason::Available,
                format!("revision {} is served", self.active),
            )
        } else if self.active == service.revision {
            (
                Reason::Progressing,
                format!("revision {} is about to be served", self.active),
            )
        } else {
            let message = format!(
                "revision {} is served, {} is declared",
                self.active, service.revision
            );
            (cause.reason, message)
        };
        verdicts.push(Verdict {
            kind: ConditionType::Released,
            status: self.served && self.hold.is_none(),
            reason,
            message,
        });
        verdicts
    }
}

/// Why what is declared does not run, although nothing hinders what does.
pub(crate) fn held(hold: &Hold, object: &str) -> Cause {
    let Hold {
        revision,
        instead,
        reason: _,
        message,
        since: _,
    } = hold;
    Cause {
        reason: Reason::ReleaseHeld,
        message: format!(
            "{object}: revision {revision} is held back, because {message}; revision {instead} is served; {}",
            Reason::ReleaseHeld.fix()
        ),
    }
}

fn missing_use(service: &ValidatedService, observed: &Observed) -> Option<Cause> {
    let used = service.spec.uses.iter().filter_map(Use::target);
    let of_api = service.spec.api.iter().flat_map(bindings::targets_of_api);
    let missing = used
        .chain(of_api)
        .map(bindings::object_name)
        .find(|name| !observed.existing.contains(name))?;
    Some(Cause {
        reason: Reason::DependencyMissing,
        message: format!(
            "{}/AppService/{}: {} '{}', which it uses, does not exist; {}",
            service.component,
            service.name,
            missing.kind,
            missing.name,
            Reason::DependencyMissing.fix()
        ),
    })
}

/// The selector as autoscalers want it: `key=value,...`.
fn selector_text(service: &ValidatedService, revision: &Revision) -> String {
    let pairs = build::selector(&service.name, revision);
    pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// One event per change that a person would want to know of.
fn notices(recorded: Option<&AppServiceStatus>, planned: &AppServiceStatus) -> Vec<Notice> {
    let mut notices = Vec::new();
    let release = |status: &AppServiceStatus| status.record.release.as_ref().map(|it| it.phase);
    if let Some(release_now) = &planned.record.release
        && recorded.and_then(release) != Some(release_now.phase)
    {
        let message = told::transition(release_now, Traffic::Requests);
        let reason = Reason::Progressing;
        notices.push(Notice {
            level: NoticeLevel::Normal,
            reason,
            action: "Release",
            message,
        });
    }
    let before = recorded
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    notices.extend(condition::ready_changed(before, &planned.conditions));
    notices
}

pub(super) fn invalid(
    object: &AppService,
    invalid: &Invalid,
    now: Timestamp,
) -> Plan<AppServiceStatus> {
    let recorded = object.status.clone().unwrap_or_default();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let message = format!(
        "{name}/AppService/{name}: {invalid}; {}",
        Reason::InvalidSpec.fix()
    );
    let generation = object.metadata.generation;
    let verdicts = summary(Reason::InvalidSpec, &message);
    let status = AppServiceStatus {
        observed_generation: generation,
        conditions: conditions(&recorded.conditions, verdicts, generation, now),
        ..recorded
    };
    let notices = notices(object.status.as_ref(), &status);
    Plan {
        writes: Vec::new(),
        actions: Vec::new(),
        status,
        wake_at: None,
        notices,
    }
}

pub(super) fn failed(
    object: &AppService,
    planned: AppServiceStatus,
    failure: &Failure,
    now: Timestamp,
) -> AppServiceStatus {
    let recorded = object
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice());
    let component = object
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(labels::NAME))
        .or(object.metadata.name.as_ref())
        .map(String::as_str)
        .unwrap_or_default();
    let (reason, message) = failure.told(component);
    let generation = object.metadata.generation;
    let released = condition::find(&planned.conditions, ConditionType::Released).cloned();
    let mut told = conditions(
        recorded.unwrap_or_default(),
        summary(reason, &message),
        generation,
        now,
    );
    told.extend(released);
    AppServiceStatus {
        conditions: told,
        ..planned
    }
}

//! AppService: one Deployment a revision, and a Service that selects exactly one of them.

mod api;
mod bindings;
mod build;
mod pod;
mod release;
mod status;
mod validate;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use orlop_crds::{AppService, AppServiceStatus, PruneRecord, app_service::Use};

pub(crate) use build::{SERVICE_PORT, host};
pub use validate::Invalid;

use self::{
    release::{Decision, Memory, Run, Seen, Wanted},
    validate::ValidatedService,
};
use crate::{
    Failure, Kind, Object, ObjectName, Observed, Plan, Reconcile, Settings, cause,
    difference::{self, Writes},
    fence,
    frozen::{self, Template},
    prune,
    revision::Revision,
};

impl Reconcile for AppService {
    type Status = AppServiceStatus;

    const FIELD_MANAGER: &'static str = "orlop-appservice";
    const CHILDREN: &'static [Kind] = &[
        Kind::ControllerRevision,
        Kind::Deployment,
        Kind::Service,
        Kind::PodDisruptionBudget,
    ];

    fn recorded_status(&self) -> Option<&AppServiceStatus> {
        self.status.as_ref()
    }

    fn references(&self) -> Vec<ObjectName> {
        let used = self.spec.uses.iter().filter_map(Use::target);
        let of_api = self.spec.api.iter().flat_map(bindings::targets_of_api);
        used.chain(of_api).map(bindings::object_name).collect()
    }

    fn plan(
        &self,
        observed: &Observed,
        settings: &Settings,
        now: Timestamp,
    ) -> Plan<AppServiceStatus> {
        if fence::is_behind(&self.metadata, observed) {
            return Plan::nothing(self.status.clone().unwrap_or_default());
        }
        match validate::validate(self, settings) {
            Ok(service) => plan(&service, self.status.as_ref(), observed, now),
            Err(invalid) => status::invalid(self, &invalid, now),
        }
    }

    fn failed(
        &self,
        planned: AppServiceStatus,
        failure: &Failure,
        now: Timestamp,
    ) -> AppServiceStatus {
        status::failed(self, planned, failure, now)
    }
}

fn plan(
    service: &ValidatedService,
    recorded: Option<&AppServiceStatus>,
    observed: &Observed,
    now: Timestamp,
) -> Plan<AppServiceStatus> {
    let memory = memory(recorded);
    let wanted = Wanted {
        revision: service.revision.clone(),
        replicas: service.spec.template.replicas(),
        drain: service.spec.template.drain(),
    };
    let recorded_pruning = recorded
        .map(|status| status.pruning.as_slice())
        .unwrap_or_default();
    let seen = seen(service, observed, recorded_pruning);
    let decision = release::step(&wanted, &seen, &memory, now);
    let templates = templates(service, observed, &decision);
    let objects = build::objects(service, &decision, &templates);
    let keep = keep(&objects, observed);
    let recorded_pruning = recorded
        .map(|status| status.pruning.as_slice())
        .unwrap_or_default();
    let pruning = prune::prune(recorded_pruning, &keep, observed);

    let written = if decision.memory == memory {
        difference::writes(objects, &pruning, observed, service.version.as_deref())
    } else {
        // The decision is recorded first; the next pass acts on it.
        Writes::default()
    };
    status::report(
        service,
        recorded,
        &decision,
        observed,
        written,
        pruning.record,
        now,
    )
}

fn memory(recorded: Option<&AppServiceStatus>) -> Memory {
    let Some(status) = recorded else {
        return Memory::default();
    };
    Memory {
        active: status.active_revision.as_deref().and_then(Revision::parse),
        release: status.release.clone(),
    }
}

/// What runs, and what could run again because its template is kept. A Deployment whose deletion is
/// recorded runs no more, whatever its pods say: nothing may be switched to it.
fn seen(service: &ValidatedService, observed: &Observed, pruning: &[PruneRecord]) -> Seen {
    let is_going = |object: &Deployment| {
        let uid = object.metadata.uid.as_deref();
        object.metadata.deletion_timestamp.is_some()
            || pruning
                .iter()
                .any(|record| Some(record.uid.as_str()) == uid)
    };
    let kept = observed
        .controller_revisions()
        .filter_map(|object| revision_of(service, &object.metadata))
        .map(|revision| (revision, Run::default()));
    let running = observed
        .deployments()
        .filter(|object| !is_going(object))
        .filter_map(|object| Some((revision_of(service, &object.metadata)?, run(object))));
    let selected = build::selected(service, observed);
    Seen {
        selected,
        runs: kept.chain(running).collect(),
    }
}

/// From the name, which nobody can take away as a label.
fn revision_of(service: &ValidatedService, object: &ObjectMeta) -> Option<Revision> {
    let suffix = object.name.as_deref()?.strip_prefix(&service.name)?;
    Revision::parse(suffix.strip_prefix('-')?)
}

fn run(deployment: &Deployment) -> Run {
    let status = deployment.status.as_ref();
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let ready = status.and_then(|status| status.ready_replicas).unwrap_or(0);
    let completed = cause::deployment_condition(deployment, "Progressing")
        .is_some_and(|condition| condition.reason.as_deref() == Some("NewReplicaSetAvailable"));
    Run {
        replicas,
        // After a change of size the status still counts pods that are about to go.
        ready: replicas.map_or(ready, |replicas| ready.min(replicas)),
        settled: status.and_then(|status| status.observed_generation)
            >= deployment.metadata.generation,
        stillborn: !completed,
    }
}

/// The frozen template of every revision that is to run. A revision of which nothing is left but
/// its name cannot run any more and is left out.
fn templates(
    service: &ValidatedService,
    observed: &Observed,
    decision: &Decision,
) -> BTreeMap<Revision, Template> {
    let template = |revision: &Revision| {
        let name = build::revision_name(&service.name, revision);
        let is_declared = *revision == service.revision;
        Template::kept(&name, observed)
            .or_else(|| is_declared.then(|| Template::new(pod::template(service), observed)))
            .or_else(|| Template::running(&name, observed))
    };
    decision
        .run
        .keys()
        .filter_map(|revision| Some((revision.clone(), template(revision)?)))
        .collect()
}

/// What is wanted now, and the newest kept revisions.
fn keep(objects: &[Object], observed: &Observed) -> BTreeSet<ObjectName> {
    let wanted = objects.iter().map(Object::name);
    wanted.chain(frozen::history(observed)).collect()
}

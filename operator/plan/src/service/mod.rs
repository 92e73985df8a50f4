//! AppService: one Deployment a revision, and a Service that selects exactly one of them.

mod api;
mod bindings;
mod build;
mod checks;
mod pod;
mod sight;
mod status;
mod validate;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use orlop_crds::{AppService, AppServiceStatus, app_service::Use, release::ReleaseRecord};

pub(crate) use build::{SERVICE_PORT, host};
pub(crate) use status::held;
pub use validate::Invalid;

use self::validate::ValidatedService;
use crate::{
    Failure, Kind, Object, ObjectName, Observed, Plan, Reconcile, Settings, Sources,
    difference::{self, Writes},
    fence,
    frozen::{self, Template},
    prune,
    release::{self, Decision, Wanted},
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

    fn releases(status: &AppServiceStatus) -> Option<&ReleaseRecord> {
        Some(&status.record)
    }

    fn references(&self) -> Vec<ObjectName> {
        let used = self.spec.uses.iter().filter_map(Use::target);
        let of_api = self.spec.api.iter().flat_map(bindings::targets_of_api);
        used.chain(of_api).map(bindings::object_name).collect()
    }

    fn sources(&self, observed: &Observed, settings: &Settings) -> Sources {
        let Some(record) = self.status.as_ref().map(|status| &status.record) else {
            return Sources::default();
        };
        if release::under_way(record).is_none() {
            return Sources::default();
        }
        let service = validate::validate(self, settings);
        Sources {
            questions: service
                .ok()
                .and_then(|service| checks::questions(&service, record, observed)),
            ..Sources::default()
        }
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
    let known = release::forget_words(&service.record);
    let wanted = Wanted {
        revision: service.revision.clone(),
        replicas: service.spec.template.replicas(),
        policy: service.policy.clone(),
        command: service.command.clone(),
    };
    let recorded_pruning = recorded
        .map(|status| status.pruning.as_slice())
        .unwrap_or_default();
    let seen = sight::seen(service, observed, recorded_pruning);
    let decision = release::step(&wanted, &seen, &known, now);
    let templates = templates(service, observed, &decision);
    let objects = build::objects(service, &decision, &templates, observed);
    let keep = keep(service, &objects, observed);
    let pruning = prune::prune(recorded_pruning, &keep, observed);

    let written = if decision.record == known {
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
            .or_else(|| is_declared.then(|| Template::new(&name, pod::template(service), observed)))
            .or_else(|| Template::running(&name, observed))
    };
    decision
        .run
        .keys()
        .filter_map(|revision| Some((revision.clone(), template(revision)?)))
        .collect()
}

/// What is wanted now, and the templates that can be gone back to.
fn keep(
    service: &ValidatedService,
    objects: &[Object],
    observed: &Observed,
) -> BTreeSet<ObjectName> {
    let previous = release::previous(&service.record)
        .map(|revision| build::revision_name(&service.name, &revision));
    let history = frozen::history(observed, service.release.pace.history(), previous);
    objects.iter().map(Object::name).chain(history).collect()
}

//! The objects of a service, as values.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{Service, ServicePort, ServiceSpec},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::validate::ValidatedService;
use crate::{
    Object, Observed,
    frozen::Template,
    labels,
    meta::{self, Owner},
    release::Decision,
    revision::Revision,
};

/// Port of every Service, so that an address needs no port.
pub(crate) const SERVICE_PORT: i32 = 80;
const PORT_NAME: &str = "http";

/// All objects, in the order in which they are applied: what is referred to comes first.
pub(super) fn objects(
    service: &ValidatedService,
    decision: &Decision,
    templates: &BTreeMap<Revision, Template>,
    observed: &Observed,
) -> Vec<Object> {
    let mut objects: Vec<Object> = Vec::new();
    for (revision, template) in templates {
        let metadata = revision_metadata(service, revision);
        objects.push(template.controller_revision(metadata).into());
    }
    for (revision, template) in templates {
        let replicas = decision.run.get(revision).copied().unwrap_or(0);
        let mut deployment = deployment(service, revision, template, replicas);
        let fresh = decision.fresh.as_ref().filter(|(of, _)| of == revision);
        refresh(&mut deployment, fresh.map(|(_, since)| *since), observed);
        objects.push(deployment.into());
    }
    objects.push(selecting(service, service.name.clone(), &decision.select).into());
    let preview = decision.preview.as_ref().map(|revision| {
        let name = preview_name(&service.name);
        Object::from(selecting(service, name, revision))
    });
    objects.extend(preview);
    objects.extend(disruption_budget(service, &decision.select).map(Object::from));
    objects
}

/// The revision that the Service selects, if it selects exactly one.
pub(super) fn selected(service: &ValidatedService, observed: &Observed) -> Option<Revision> {
    let live = observed
        .service(&service.name)?
        .spec
        .as_ref()?
        .selector
        .as_ref()?;
    let revision = Revision::parse(live.get(labels::REVISION)?)?;
    (*live == selector(&service.name, &revision)).then_some(revision)
}

pub(super) fn revision_name(service: &str, revision: &Revision) -> String {
    format!("{service}-{revision}")
}

/// Name of the Service that leads to a revision before it is promoted.
pub(super) fn preview_name(service: &str) -> String {
    format!("{service}-preview")
}

/// Labels that select the pods of one revision.
pub(super) fn selector(service: &str, revision: &Revision) -> BTreeMap<String, String> {
    BTreeMap::from([
        (labels::OWNER_KIND.to_owned(), "AppService".to_owned()),
        (labels::OWNER_NAME.to_owned(), service.to_owned()),
        (labels::REVISION.to_owned(), revision.to_string()),
    ])
}

/// DNS name of a service.
pub(crate) fn host(service: &str, namespace: &str, cluster_domain: &str) -> String {
    format!("{service}.{namespace}.svc.{cluster_domain}")
}

fn deployment(
    service: &ValidatedService,
    revision: &Revision,
    template: &Template,
    replicas: i32,
) -> Deployment {
    Deployment {
        metadata: revision_metadata(service, revision),
        spec: Some(DeploymentSpec {
            replicas: Some(replicas),
            // A revision's template never changes; a release is a new Deployment.
            revision_history_limit: Some(0),
            selector: LabelSelector {
                match_labels: Some(selector(&service.name, revision)),
                ..LabelSelector::default()
            },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::String("25%".to_owned())),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: template.pod.clone(),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

/// Has the pods replaced by new ones, once, if they are to be newer than that. An earlier mark
/// stays: taking it away would replace them again.
fn refresh(deployment: &mut Deployment, since: Option<Timestamp>, observed: &Observed) {
    let name = deployment.metadata.name.as_deref().unwrap_or_default();
    let live = observed.deployment(name).and_then(|live| {
        let annotations = live.spec.as_ref()?.template.metadata.as_ref()?;
        annotations.annotations.as_ref()?.get(labels::FRESH_SINCE)
    });
    let mark = since.map(|since| since.to_string()).or(live.cloned());
    if let (Some(mark), Some(spec)) = (mark, &mut deployment.spec) {
        let metadata = spec.template.metadata.get_or_insert_default();
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(labels::FRESH_SINCE.to_owned(), mark);
    }
}

/// A Service that selects one revision.
fn selecting(service: &ValidatedService, name: String, revision: &Revision) -> Service {
    Service {
        metadata: metadata(service, name),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(selector(&service.name, revision)),
            ports: Some(vec![ServicePort {
                name: Some(PORT_NAME.to_owned()),
                port: SERVICE_PORT,
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::String(PORT_NAME.to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Voluntary disruptions take one pod at a time. With a single replica a budget would only make
/// its node impossible to drain.
fn disruption_budget(
    service: &ValidatedService,
    revision: &Revision,
) -> Option<PodDisruptionBudget> {
    (service.spec.template.replicas() > 1).then(|| PodDisruptionBudget {
        metadata: metadata(service, service.name.clone()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(selector(&service.name, revision)),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}

/// Labels of everything that belongs to the service.
pub(super) fn common_labels(service: &ValidatedService) -> BTreeMap<String, String> {
    meta::labels(
        &owner(service),
        &service.component,
        service.part_of.as_deref(),
    )
}

pub(super) fn port_name() -> String {
    PORT_NAME.to_owned()
}

fn owner(service: &ValidatedService) -> Owner<'_> {
    Owner {
        kind: "AppService",
        name: &service.name,
        uid: &service.uid,
    }
}

fn metadata(service: &ValidatedService, name: String) -> ObjectMeta {
    meta::child(
        &owner(service),
        name,
        &service.namespace,
        common_labels(service),
    )
}

fn revision_metadata(service: &ValidatedService, revision: &Revision) -> ObjectMeta {
    let mut metadata = metadata(service, revision_name(&service.name, revision));
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(labels::REVISION.to_owned(), revision.to_string());
    metadata
}

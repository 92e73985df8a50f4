//! The raw object becomes a validated one. Nobody looks at the raw one afterwards.

use std::fmt;

use orlop_crds::{
    AppService, AppServiceSpec,
    release::{self, CheckTime, Release, ReleaseRecord},
};

use super::api::ShippedApi;
use crate::{Settings, labels, release::Policy, revision::Revision};

/// A service that can be run.
#[derive(Clone, Debug)]
pub(crate) struct ValidatedService {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) generation: Option<i64>,
    pub(crate) version: Option<String>,
    /// Name of the component in its application; the service's own name if it stands alone.
    pub(crate) component: String,
    /// The application, if it belongs to one.
    pub(crate) part_of: Option<String>,
    pub(crate) revision: Revision,
    pub(crate) workload: Workload,
    pub(crate) release: Release,
    pub(crate) policy: Policy,
    /// What is remembered of its releases.
    pub(crate) record: ReleaseRecord,
    /// What somebody commands of its release.
    pub(crate) command: Option<String>,
    /// Path at which a replica that is ready answers.
    pub(crate) ready_path: String,
    pub(crate) spec: AppServiceSpec,
    pub(crate) cluster_domain: String,
}

/// What the pods run.
#[derive(Clone, Debug)]
pub(crate) enum Workload {
    /// An image of the author's.
    Container { image: String, port: i32 },
    /// The API that Orlop ships.
    Api(Box<ShippedApi>),
}

/// A field whose value means nothing that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    pub field: String,
    pub message: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.field, self.message)
    }
}

/// The API server has checked the schema, unless the definition was newer or older than this
/// program when the object was stored: what would do harm is checked again.
pub(crate) fn validate(
    object: &AppService,
    settings: &Settings,
) -> Result<ValidatedService, Invalid> {
    let name = crate::names::service_name(object.metadata.name.as_deref())?;
    let spec = object.spec.clone();
    if spec.template.replicas() < 0 {
        return Err(invalid("spec.replicas", "must be at least 0"));
    }
    let revision = Revision::of(&spec).map_err(|error| invalid("spec", &error.to_string()))?;
    let label = |key: &str| {
        object
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(key))
    };
    // A revision is frozen with these names for ever: they must not depend on labels that somebody
    // may have taken away a moment ago.
    let application = application(object);
    let component = application.and_then(|application| {
        let component = name.strip_prefix(application)?.strip_prefix('-')?;
        Some(component.to_owned())
    });
    let component = label(labels::NAME)
        .cloned()
        .or(component)
        .unwrap_or_else(|| name.clone());
    let release = spec.template.release.clone().unwrap_or_default();
    let annotations = object.metadata.annotations.as_ref();
    let command = annotations.and_then(|annotations| annotations.get(release::COMMAND));
    Ok(ValidatedService {
        workload: workload(&spec, &component, settings)?,
        policy: policy(&release),
        release,
        record: object
            .status
            .as_ref()
            .map(|status| status.record.clone())
            .unwrap_or_default(),
        command: command.cloned(),
        ready_path: ready_path(&spec),
        component,
        part_of: label(labels::PART_OF)
            .cloned()
            .or_else(|| application.map(str::to_owned)),
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        generation: object.metadata.generation,
        version: object.metadata.resource_version.clone(),
        cluster_domain: settings.cluster_domain.clone(),
        name,
        revision,
        spec,
    })
}

fn workload(
    spec: &AppServiceSpec,
    component: &str,
    settings: &Settings,
) -> Result<Workload, Invalid> {
    match (&spec.image, &spec.api) {
        (Some(image), None) => {
            let port = spec.port.unwrap_or_default();
            if !(1..=65_535).contains(&port) {
                return Err(invalid("spec.port", "must be at least 1 and at most 65535"));
            }
            if image.trim().is_empty() {
                return Err(invalid("spec.image", "must not be empty"));
            }
            Ok(Workload::Container {
                image: image.clone(),
                port,
            })
        }
        (None, Some(api)) => {
            let api = ShippedApi::new(api, spec, component, settings)?;
            Ok(Workload::Api(Box::new(api)))
        }
        _ => Err(invalid("spec", "must have exactly one of `image`, `api`")),
    }
}

fn policy(release: &Release) -> Policy {
    let checks = |time| release.checks.iter().any(|check| check.when() == time);
    Policy::of_service(
        &release.pace,
        checks(CheckTime::BeforeSwitch),
        checks(CheckTime::AfterSwitch),
    )
}

/// What the readiness probe asks for. The answer's status is not looked at: a path that does not
/// exist is answered too.
fn ready_path(spec: &AppServiceSpec) -> String {
    let probes = spec.container.probes.as_ref();
    let readiness = probes.and_then(|probes| probes.readiness.as_ref());
    let request = readiness.and_then(|probe| probe.http_get.as_ref());
    request.map_or_else(|| "/".to_owned(), |request| request.path.clone())
}

/// Name of the AppPlatform that owns the service.
fn application(object: &AppService) -> Option<&str> {
    let mut owners = object.metadata.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.kind == "AppPlatform")?;
    Some(&owner.name)
}

fn invalid(field: &str, message: &str) -> Invalid {
    Invalid {
        field: field.to_owned(),
        message: message.to_owned(),
    }
}

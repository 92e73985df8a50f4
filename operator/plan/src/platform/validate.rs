//! The raw object becomes a validated one. Nobody looks at the raw one afterwards.

use std::collections::BTreeSet;

use orlop_crds::{
    AppPlatform,
    app_platform::{Edge, ServiceComponent},
};

use super::EDGE;
use crate::{Settings, names, service::Invalid};

/// An application that can be run.
#[derive(Clone, Debug)]
pub(crate) struct ValidatedPlatform {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) generation: Option<i64>,
    pub(crate) version: Option<String>,
    pub(crate) services: Vec<ServiceComponent>,
    /// The edge, if anything is to be reached through it.
    pub(crate) edge: Option<Edge>,
    pub(crate) edge_image: String,
    pub(crate) cluster_domain: String,
}

impl ValidatedPlatform {
    /// Name of a component's objects.
    pub(crate) fn object_name(&self, component: &str) -> String {
        format!("{}-{component}", self.name)
    }
}

/// The API server has checked the schema, unless the definition was newer or older than this
/// program when the object was stored: what would do harm is checked again.
pub(crate) fn validate(
    object: &AppPlatform,
    settings: &Settings,
) -> Result<ValidatedPlatform, Invalid> {
    let name = names::platform_name(object.metadata.name.as_deref())?;
    let spec = &object.spec;
    unique(
        spec.services.iter().map(|service| service.name.as_str()),
        "spec.services[].name",
    )?;
    if spec.services.iter().any(|service| service.name == EDGE) {
        return Err(invalid("spec.services[].name", "must not be 'edge'"));
    }
    let paths = spec
        .services
        .iter()
        .flat_map(|service| &service.routes)
        .map(|route| &*route.path);
    unique(paths, "spec.services[].routes[].path")?;
    let edge = spec
        .has_routes()
        .then(|| spec.edge.clone().unwrap_or_default());
    if edge.is_some() && settings.images.edge.is_empty() {
        return Err(invalid(
            "spec.services[].routes",
            "must be empty: this operator was installed without an image for the edge",
        ));
    }
    Ok(ValidatedPlatform {
        name,
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        generation: object.metadata.generation,
        version: object.metadata.resource_version.clone(),
        services: spec.services.clone(),
        edge,
        edge_image: settings.images.edge.clone(),
        cluster_domain: settings.cluster_domain.clone(),
    })
}

fn unique<'a>(values: impl Iterator<Item = &'a str>, field: &str) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    for value in values {
        if !seen.insert(value) {
            return Err(invalid(
                field,
                &format!("must be unique, but '{value}' occurs twice"),
            ));
        }
    }
    Ok(())
}

fn invalid(field: &str, message: &str) -> Invalid {
    Invalid {
        field: field.to_owned(),
        message: message.to_owned(),
    }
}

//! The raw object becomes a validated one. Nobody looks at the raw one afterwards.

use std::collections::BTreeSet;

use orlop_contract::types::Publish;
use orlop_crds::{
    AppPlatform, AppPlatformSpec,
    app_platform::{BrokerComponent, Edge, Route},
};

use super::EDGE;
use crate::{Kind, Settings, cache, names, service::Invalid};

/// An application that can be run: component names are unique, and what one says of another holds.
#[derive(Clone, Debug)]
pub(crate) struct ValidatedPlatform {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) generation: Option<i64>,
    pub(crate) version: Option<String>,
    pub(crate) spec: AppPlatformSpec,
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

    /// Name of each component and kind of its object, in the order of their use.
    pub(crate) fn components(&self) -> Vec<(&str, Kind)> {
        components(&self.spec)
    }

    pub(crate) fn kind_of(&self, component: &str) -> Option<Kind> {
        let mut components = self.components().into_iter();
        components.find_map(|(name, kind)| (name == component).then_some(kind))
    }

    /// Components with routes, and those.
    pub(crate) fn routed(&self) -> Vec<(&str, &[Route])> {
        routed(&self.spec)
            .filter(|(_, routes)| !routes.is_empty())
            .collect()
    }

    /// The broker that is published to.
    pub(crate) fn broker_of(&self, publish: &Publish) -> Option<&BrokerComponent> {
        broker_of(&self.spec, publish)
    }
}

/// The API server has checked the schema, unless the definition was newer or older than this
/// program when the object was stored: what would do harm is checked again. What events say of
/// queues is checked here only: it would cost the API server too much.
pub(crate) fn validate(
    object: &AppPlatform,
    settings: &Settings,
) -> Result<ValidatedPlatform, Invalid> {
    let name = names::platform_name(object.metadata.name.as_deref())?;
    let spec = &object.spec;
    let components = components(spec);
    unique(
        components.iter().map(|(name, _)| *name),
        "spec: `name` of a component",
    )?;
    if components.iter().any(|(name, _)| *name == EDGE) {
        return Err(invalid("name", "must not be 'edge'"));
    }
    let paths = routed(spec)
        .flat_map(|(_, routes)| routes)
        .map(|route| route.path.as_str());
    unique(paths, "routes[].path")?;
    cache_names(&name, spec)?;
    references(spec, &components)?;
    events(spec)?;
    let edge = spec
        .has_routes()
        .then(|| spec.edge.clone().unwrap_or_default());
    if edge.is_some() && settings.images.edge.is_empty() {
        return Err(invalid(
            "routes",
            "must be empty: this operator was installed without an image for the edge",
        ));
    }
    Ok(ValidatedPlatform {
        name,
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        uid: object.metadata.uid.clone().unwrap_or_default(),
        generation: object.metadata.generation,
        version: object.metadata.resource_version.clone(),
        spec: spec.clone(),
        edge,
        edge_image: settings.images.edge.clone(),
        cluster_domain: settings.cluster_domain.clone(),
    })
}

fn components(spec: &AppPlatformSpec) -> Vec<(&str, Kind)> {
    let databases = spec.databases.iter().map(|it| &it.name);
    let caches = spec.caches.iter().map(|it| &it.name);
    let brokers = spec.brokers.iter().map(|it| &it.name);
    let apis = spec.apis.iter().map(|it| &it.name);
    let services = spec.services.iter().map(|it| &it.name);
    let workers = spec.workers.iter().map(|it| &it.name);
    databases
        .map(|name| (name.as_str(), Kind::DatabaseTier))
        .chain(caches.map(|name| (name.as_str(), Kind::CacheTier)))
        .chain(brokers.map(|name| (name.as_str(), Kind::BrokerTier)))
        .chain(
            apis.chain(services)
                .map(|name| (name.as_str(), Kind::AppService)),
        )
        .chain(workers.map(|name| (name.as_str(), Kind::WorkerPool)))
        .collect()
}

fn routed(spec: &AppPlatformSpec) -> impl Iterator<Item = (&str, &[Route])> {
    let apis = spec.apis.iter();
    let services = spec.services.iter();
    apis.map(|it| (it.name.as_str(), it.routes.as_slice()))
        .chain(services.map(|it| (it.name.as_str(), it.routes.as_slice())))
}

/// A cache's own objects leave its name less room than those of other kinds do.
fn cache_names(platform: &str, spec: &AppPlatformSpec) -> Result<(), Invalid> {
    let room = cache::NAME_CHARS_MAX.saturating_sub(platform.len() + 1);
    let mut names = spec.caches.iter().map(|cache| cache.name.as_str());
    names.find(|name| name.len() > room).map_or(Ok(()), |name| {
        let message = format!(
            "must be at most {room} characters in an application of this name, but is '{name}'"
        );
        Err(invalid("caches[].name", &message))
    })
}

/// What has an address or a binding.
const USABLE: [Kind; 4] = [
    Kind::AppService,
    Kind::DatabaseTier,
    Kind::CacheTier,
    Kind::BrokerTier,
];

/// What components say of each other by name.
fn references(spec: &AppPlatformSpec, components: &[(&str, Kind)]) -> Result<(), Invalid> {
    let exists = |field: String, name: &str, wanted: &[Kind]| {
        let found = components
            .iter()
            .any(|(known, kind)| *known == name && wanted.contains(kind));
        if found {
            return Ok(());
        }
        let kinds: Vec<_> = wanted.iter().map(|kind| kind.as_str()).collect();
        let kinds = kinds.join(" or ");
        Err(invalid(
            &field,
            &format!("must name a component that is a {kinds}, but is '{name}'"),
        ))
    };
    for service in &spec.services {
        for used in &service.uses {
            let field = format!("services[{}].uses[].name", service.name);
            exists(field, &used.name, &USABLE)?;
        }
    }
    for api in &spec.apis {
        let field = |name: &str| format!("apis[{}].{name}", api.name);
        exists(field("database"), &api.api.database, &[Kind::DatabaseTier])?;
        if let Some(cache) = &api.api.cache {
            exists(field("cache"), cache, &[Kind::CacheTier])?;
        }
    }
    for worker in &spec.workers {
        let field = |name: &str| format!("workers[{}].{name}", worker.name);
        let source = &worker.spec.source.rabbitmq;
        let broker = field("source.rabbitmq.broker");
        exists(broker, &source.broker, &[Kind::BrokerTier])?;
        let handler = field("handler.http.service");
        let service = &worker.spec.handler.http.service;
        exists(handler, service, &[Kind::AppService])?;
    }
    Ok(())
}

/// Each event is published to a queue that is declared.
fn events(spec: &AppPlatformSpec) -> Result<(), Invalid> {
    for api in &spec.apis {
        for declared in &api.api.types {
            for event in &declared.events {
                let field = format!(
                    "apis[{}].types[{}].events[{}].publish",
                    api.name, declared.name, event.name
                );
                let Some(broker) = broker_of(spec, &event.publish) else {
                    return Err(invalid(
                        &format!("{field}.broker"),
                        "must be the name of a broker of this application",
                    ));
                };
                let queue = &event.publish.queue;
                let mut queues = broker.spec.rabbitmq.queues.iter();
                if queues.all(|declared| declared.name != *queue) {
                    return Err(invalid(
                        &format!("{field}.queue"),
                        &format!(
                            "must be a queue that is declared on '{}', but is '{queue}'",
                            broker.name
                        ),
                    ));
                }
            }
        }
    }
    Ok(())
}

/// The one that is named, or the only one.
fn broker_of<'a>(spec: &'a AppPlatformSpec, publish: &Publish) -> Option<&'a BrokerComponent> {
    match (&publish.broker, spec.brokers.as_slice()) {
        (Some(name), brokers) => brokers.iter().find(|broker| broker.name == *name),
        (None, [only]) => Some(only),
        (None, _) => None,
    }
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
        field: format!("spec.{field}"),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_name_of_a_cache_has_room_beside_that_of_its_application() {
        let spec: AppPlatformSpec = serde_json::from_value(json!({
            "caches": [{"name": "c".repeat(20), "valkey": {}}],
        }))
        .unwrap();
        assert!(cache_names(&"a".repeat(26), &spec).is_ok());
        let refused = cache_names(&"a".repeat(27), &spec).unwrap_err();
        assert_eq!(refused.field, "spec.caches[].name");
        assert!(refused.message.starts_with("must be at most 19 characters"));
    }
}

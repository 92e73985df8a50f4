//! Whom Services address, as the controller of endpoints keeps it.

use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        discovery::v1::{Endpoint, EndpointConditions, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use orlop_plan::{Kind, labels};

use crate::{
    cluster::{at, is_ready},
    world::{Body, Resource, World},
};

const SERVICES: Resource = Resource::Of(Kind::Service);

/// The endpoints of a Service, with the labels of the Service.
pub(crate) fn follow(world: &mut World, service: &str, now: i64) {
    let Some(stored) = world.get(SERVICES, service).cloned() else {
        return;
    };
    let Some(selector) = stored.body.selector().filter(|it| !it.is_empty()) else {
        return;
    };
    if stored.body.is_going() {
        return;
    }
    let is_selected = |body: &&Body| {
        let mut pairs = selector.iter();
        pairs.all(|(key, value)| body.label(key) == Some(value))
    };
    let pods = world.list(Resource::Pod).map(|stored| &stored.body);
    let endpoints: Vec<Endpoint> = pods.filter(is_selected).map(endpoint).collect();
    let mut labels = stored.body.meta().labels.clone().unwrap_or_default();
    labels.insert(labels::SERVICE_NAME.to_owned(), service.to_owned());
    let name = name_of(service);
    let live = world.get(Resource::EndpointSlice, &name).cloned();
    if let Some(live) = live {
        if live.body.belongs_to(stored.body.uid()) {
            world.edit(Resource::EndpointSlice, &name, |body| {
                if let Body::EndpointSlice(slice) = body {
                    slice.metadata.labels = Some(labels);
                    slice.endpoints = Some(endpoints);
                }
            });
            return;
        }
        // Of a Service of the same name that is gone.
        world.remove(Resource::EndpointSlice, &name);
    }
    let slice = EndpointSlice {
        metadata: ObjectMeta {
            name: Some(name),
            labels: Some(labels),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Service".to_owned(),
                name: service.to_owned(),
                uid: stored.body.uid().to_owned(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        address_type: "IPv4".to_owned(),
        endpoints: Some(endpoints),
        ..EndpointSlice::default()
    };
    let body = Body::EndpointSlice(Box::new(slice));
    world.create(body, at(now)).unwrap();
}

pub(crate) fn name_of(service: &str) -> String {
    format!("{service}-endpoints")
}

fn endpoint(pod: &Body) -> Endpoint {
    Endpoint {
        addresses: vec!["192.0.2.9".to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(is_ready(pod)),
            ..EndpointConditions::default()
        }),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            name: Some(pod.name().to_owned()),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    }
}

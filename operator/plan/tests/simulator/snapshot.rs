//! The end state of a run, without what may differ between two ways that lead to it.

use std::collections::BTreeMap;

use orlop_crds::release::COMMAND;
use orlop_plan::{Kind, labels};
use serde_json::{Map, Value};

use crate::world::{Body, Resource, World};

/// Objects by kind and name: what is declared of them and, of our kinds, what is told.
///
/// Left out are UIDs, versions, times and generations; counts that the cluster reports; revisions
/// that are only kept to be gone back to, and the position of a revision in that history.
pub(crate) fn snapshot(world: &World) -> BTreeMap<String, Value> {
    let uids: BTreeMap<&str, String> = world
        .all()
        .map(|stored| {
            let body = &stored.body;
            (
                body.uid(),
                format!("uid of {:?} {}", body.resource(), body.name()),
            )
        })
        .collect();
    let reported = [Resource::EndpointSlice, Resource::Pod];
    let kept = |body: &&Body| !reported.contains(&body.resource()) && !is_history(world, body);
    let objects = world.all().map(|stored| &stored.body).filter(kept);
    objects
        .map(|body| {
            let mut value = value_of(body);
            normalise(&mut value);
            forget_defaults(&mut value);
            name_uids(&mut value, &uids);
            (format!("{:?} {}", body.resource(), body.name()), value)
        })
        .collect()
}

/// The first difference between two snapshots, for people.
pub(crate) fn difference(
    is: &BTreeMap<String, Value>,
    should: &BTreeMap<String, Value>,
) -> Option<String> {
    let names = is.keys().chain(should.keys());
    names
        .filter(|name| is.get(*name) != should.get(*name))
        .map(|name| match (is.get(name), should.get(name)) {
            (Some(is), Some(should)) => format!("{name}: {}", first_difference("", is, should)),
            (Some(_), None) => format!("{name} should not be there"),
            _ => format!("{name} is missing"),
        })
        .next()
}

fn first_difference(path: &str, is: &Value, should: &Value) -> String {
    if let (Value::Object(a), Value::Object(b)) = (is, should) {
        let mut keys = a.keys().chain(b.keys());
        if let Some(key) = keys.find(|key| a.get(*key) != b.get(*key)) {
            let path = format!("{path}.{key}");
            let nothing = Value::Null;
            return first_difference(
                &path,
                a.get(key).unwrap_or(&nothing),
                b.get(key).unwrap_or(&nothing),
            );
        }
    }
    format!("{path} is {is}, should be {should}")
}

fn is_history(world: &World, body: &Body) -> bool {
    let mut services = world.list(Resource::Of(Kind::AppService));
    let is_active = services.any(|stored| {
        let status = stored
            .body
            .app_service()
            .and_then(|service| service.status.as_ref());
        let active = status.and_then(|status| status.record.active_revision.as_deref());
        active.is_some_and(|active| body.name() == format!("{}-{active}", stored.body.name()))
    });
    body.resource() == Resource::Of(Kind::ControllerRevision) && !is_active
}

fn value_of(body: &Body) -> Value {
    match body {
        Body::AppPlatform(platform) => serde_json::to_value(platform).unwrap(),
        Body::Object(object) => object.to_value().unwrap(),
        Body::EndpointSlice(slice) => serde_json::to_value(slice).unwrap(),
        Body::Pod(pod) => serde_json::to_value(pod).unwrap(),
    }
}

fn normalise(value: &mut Value) {
    let kind = value["kind"].as_str().and_then(Kind::parse);
    let Value::Object(fields) = value else {
        return;
    };
    if let Some(Value::Object(meta)) = fields.get_mut("metadata") {
        for field in ["uid", "resourceVersion", "generation", "creationTimestamp"] {
            meta.remove(field);
        }
        if let Some(Value::Object(annotations)) = meta.get_mut("annotations") {
            annotations.retain(|key, _| !key.starts_with("orlop.dev/") && key != COMMAND);
        }
        meta.retain(|_, value| *value != Value::Object(Map::new()));
    }
    match kind {
        Some(Kind::AppService) | None => {
            if let Some(status) = fields.get_mut("status") {
                without_times(status);
                without_the_past(status);
            }
        }
        Some(Kind::ControllerRevision) => {
            fields.remove("revision");
        }
        Some(_) => {
            fields.remove("status");
        }
    }
}

/// What was commanded, and served, before.
fn without_the_past(status: &mut Value) {
    if let Value::Object(fields) = status {
        fields.retain(|key, _| key != "command" && key != "previousRevision");
    }
}

/// A revision whose record was deleted is recorded anew from what runs, and there the API server has
/// filled in its defaults: they say the same. One that was gone back to bears the mark of the pods
/// that it was kept warm with.
fn forget_defaults(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(forget_defaults),
        Value::Object(fields) => {
            fields.remove("restartPolicy");
            if let Some(Value::Object(annotations)) = fields.get_mut("annotations") {
                annotations.remove(labels::FRESH_SINCE);
                if annotations.is_empty() {
                    fields.remove("annotations");
                }
            }
            fields.values_mut().for_each(forget_defaults);
        }
        _ => {}
    }
}

fn without_times(status: &mut Value) {
    if let Value::Object(fields) = status {
        fields.remove("observedGeneration");
    }
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        if let Value::Object(fields) = condition {
            fields.remove("lastTransitionTime");
            fields.remove("observedGeneration");
        }
    }
}

fn name_uids(value: &mut Value, uids: &BTreeMap<&str, String>) {
    match value {
        Value::String(text) => {
            if let Some(name) = uids.get(text.as_str()) {
                text.clone_from(name);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| name_uids(item, uids)),
        Value::Object(fields) => fields.values_mut().for_each(|field| name_uids(field, uids)),
        _ => {}
    }
}

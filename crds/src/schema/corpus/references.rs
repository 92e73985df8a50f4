//! Fields that name a component of the same application: what they name is renamed with them.

use serde_json::Value;

use super::spot::Spot;

/// Such a field, and where the lists are in which it may be named. `*` stands for each entry.
const REFERENCES: [(&str, &[&str]); 6] = [
    (
        "spec.services[].uses[].name",
        &["/spec/services", "/spec/databases"],
    ),
    ("spec.apis[].database", &["/spec/databases"]),
    ("spec.apis[].cache", &["/spec/caches"]),
    ("spec.workers[].source.rabbitmq.broker", &["/spec/brokers"]),
    (QUEUE, &["/spec/brokers/*/rabbitmq/queues"]),
    ("spec.workers[].handler.http.service", &["/spec/services"]),
];

/// The one that names no component, but a queue of one.
const QUEUE: &str = "spec.workers[].source.rabbitmq.queue";

/// The list whose length the number of the other components bounds before `maxItems` does.
const BOUNDED_BY_OTHERS: &str = "spec.services[].uses";

/// Longest name of a component. A field that names one is as long as the name of an object, since
/// the kind that stands alone has the same field.
const COMPONENT_CHARS_MAX: usize = 20;

pub(super) fn is_bounded_by_others(schema_path: &str) -> bool {
    schema_path == BOUNDED_BY_OTHERS
}

/// Whether no component can have the name that the field could hold.
pub(super) fn is_beyond_components(spot: &Spot<'_>, value: &Value) -> bool {
    let path = spot.schema_path();
    let is_reference = path != QUEUE && REFERENCES.iter().any(|(reference, _)| *reference == path);
    is_reference
        && value
            .as_str()
            .is_some_and(|text| text.chars().count() > COMPONENT_CHARS_MAX)
}

/// The seed with another value at `spot`; where that is a reference, what it names is renamed too.
pub(super) fn rename_target(spot: &Spot<'_>, value: &Value) -> Value {
    let old = spot.value().clone();
    let mut manifest = spot.replaced(value.clone());
    let path = spot.schema_path();
    let targets = REFERENCES
        .iter()
        .find(|(reference, _)| *reference == path)
        .map_or(&[][..], |(_, targets)| *targets);
    for target in targets {
        for list in lists(&mut manifest, target) {
            for entry in list.iter_mut().filter(|entry| entry["name"] == old) {
                entry["name"] = value.clone();
            }
        }
    }
    manifest
}

fn lists<'a>(manifest: &'a mut Value, pointer: &str) -> Vec<&'a mut Vec<Value>> {
    let Some((outer, inner)) = pointer.split_once("/*") else {
        let list = manifest.pointer_mut(pointer).and_then(Value::as_array_mut);
        return list.into_iter().collect();
    };
    let entries = manifest.pointer_mut(outer).and_then(Value::as_array_mut);
    entries
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.pointer_mut(inner)?.as_array_mut())
        .collect()
}

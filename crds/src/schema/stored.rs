//! What the API server makes of a manifest before it judges and stores it.

use serde_json::{Map, Value};

use super::tree::{Schema, Shape};

/// The manifest as it is stored: without `status`, which is not its author's to write, without the
/// fields and map entries that are null, which count as left out, and with `1.0` as `1` where an
/// integer is due.
///
/// Source: `PruneNonNullableNullsWithoutDefaults` of apiextensions-apiserver, which leaves the
/// entries of lists as they are; and Go's way of writing a float.
pub(super) fn stored(schema: &Schema, manifest: &Value) -> Value {
    let mut stored = manifest.clone();
    if let (Shape::Object(root), Some(fields)) = (&schema.shape, stored.as_object_mut()) {
        fields.remove("status");
        if let (Some(schema), Some(spec)) = (root.fields.get("spec"), fields.get_mut("spec")) {
            settle(schema, spec);
        }
        fields.retain(|_, value| !value.is_null());
    }
    stored
}

/// Depth is bounded by the schema: what it does not know is not walked.
fn settle(schema: &Schema, value: &mut Value) {
    match (&schema.shape, value) {
        (Shape::Object(object), Value::Object(found)) => {
            retain_set(found, |name| object.fields.contains_key(name));
            for (name, value) in found {
                if let Some(schema) = object.fields.get(name) {
                    settle(schema, value);
                }
            }
        }
        (Shape::Map { values, .. }, Value::Object(found)) => {
            retain_set(found, |_| true);
            for value in found.values_mut() {
                settle(values, value);
            }
        }
        (Shape::List(list), Value::Array(found)) => {
            for value in found {
                settle(&list.items, value);
            }
        }
        (Shape::Integer(_) | Shape::IntOrString(_), value) => {
            if let Some(integer) = value.as_f64().filter(|_| value.is_f64()).and_then(whole) {
                *value = integer.into();
            }
        }
        _ => {}
    }
}

fn whole(float: f64) -> Option<i64> {
    (float.fract() == 0.0).then(|| format!("{float:.0}").parse().ok())?
}

fn retain_set(fields: &mut Map<String, Value>, known: impl Fn(&str) -> bool) {
    fields.retain(|name, value| !(value.is_null() && known(name)));
}

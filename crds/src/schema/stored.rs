//! What the API server makes of a manifest before it judges and stores it.

use serde_json::{Map, Value};

use super::tree::{Schema, Shape};

/// The manifest as it is stored: without `status`, which is not its author's to write, and without
/// the fields and map entries that are null, which count as left out.
///
/// Source: `PruneNonNullableNullsWithoutDefaults` of apiextensions-apiserver; it leaves the
/// entries of lists as they are.
pub(super) fn stored(schema: &Schema, manifest: &Value) -> Value {
    let mut stored = manifest.clone();
    if let (Shape::Object(root), Some(fields)) = (&schema.shape, stored.as_object_mut()) {
        fields.remove("status");
        if let (Some(schema), Some(spec)) = (root.fields.get("spec"), fields.get_mut("spec")) {
            drop_nulls(schema, spec);
        }
        fields.retain(|_, value| !value.is_null());
    }
    stored
}

/// Depth is bounded by the schema: what it does not know is not walked.
fn drop_nulls(schema: &Schema, value: &mut Value) {
    match (&schema.shape, value) {
        (Shape::Object(object), Value::Object(found)) => {
            retain_set(found, |name| object.fields.contains_key(name));
            for (name, value) in found {
                if let Some(schema) = object.fields.get(name) {
                    drop_nulls(schema, value);
                }
            }
        }
        (Shape::Map { values, .. }, Value::Object(found)) => {
            retain_set(found, |_| true);
            for value in found.values_mut() {
                drop_nulls(values, value);
            }
        }
        (Shape::List(list), Value::Array(found)) => {
            for value in found {
                drop_nulls(&list.items, value);
            }
        }
        _ => {}
    }
}

fn retain_set(fields: &mut Map<String, Value>, known: impl Fn(&str) -> bool) {
    fields.retain(|name, value| !(value.is_null() && known(name)));
}

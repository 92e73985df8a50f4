//! Each field by itself: type, presence, bounds, pattern, names of list entries.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{
    Violation, ViolationKind,
    tree::{IntOrString, Integer, List, Object, Schema, Shape, Text, join},
    words,
};

/// Fields that every object has besides those of its schema.
const COMMON: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Judges all of a manifest but its metadata and status.
pub(super) fn document(schema: &Schema, manifest: &Value) -> Vec<Violation> {
    let mut violations = Vec::new();
    if let (Shape::Object(root), Value::Object(found)) = (&schema.shape, manifest) {
        let mut known: Vec<&str> = root.fields.keys().map(String::as_str).collect();
        known.extend(COMMON);
        unknown_fields(&known, found, "", &mut violations);
        missing_fields(root, found, "", &mut violations);
        if let (Some(schema), Some(spec)) = (root.fields.get("spec"), found.get("spec")) {
            value(schema, spec, "spec", &mut violations);
        }
    }
    violations
}

/// Depth is bounded by the schema: what it does not know is not walked.
fn value(schema: &Schema, found: &Value, field: &str, out: &mut Vec<Violation>) {
    if found.is_null() {
        out.push(Violation::invalid(field, words::NULL));
        return;
    }
    match (&schema.shape, found) {
        (Shape::Object(expected), Value::Object(found)) => object(expected, found, field, out),
        (
            Shape::Map {
                values,
                max_entries,
            },
            Value::Object(found),
        ) => {
            length_between(field, found.len(), None, *max_entries, words::ENTRIES, out);
            for (key, entry) in found {
                value(values, entry, &join(field, key), out);
            }
        }
        (Shape::List(expected), Value::Array(found)) => list(expected, found, field, out),
        (Shape::Text(expected), Value::String(found)) => text(expected, found, field, out),
        (Shape::Integer(expected), found) if whole_number(found).is_some() => {
            integer(*expected, found, field, out);
        }
        (Shape::IntOrString(expected), Value::String(found)) => {
            text(&expected.text, found, field, out);
        }
        (Shape::IntOrString(IntOrString { min, .. }), found) if whole_number(found).is_some() => {
            integer(
                Integer {
                    min: *min,
                    max: None,
                },
                found,
                field,
                out,
            );
        }
        (Shape::Boolean, Value::Bool(_)) => {}
        (shape, found) => out.push(Violation::invalid(
            field,
            words::wrong_type(words::shape(shape), found),
        )),
    }
}

fn object(expected: &Object, found: &Map<String, Value>, field: &str, out: &mut Vec<Violation>) {
    let known: Vec<&str> = expected.fields.keys().map(String::as_str).collect();
    unknown_fields(&known, found, field, out);
    missing_fields(expected, found, field, out);
    for (name, schema) in &expected.fields {
        if let Some(found) = found.get(name) {
            value(schema, found, &join(field, name), out);
        }
    }
}

pub(super) fn unknown_fields(
    known: &[&str],
    found: &Map<String, Value>,
    field: &str,
    out: &mut Vec<Violation>,
) {
    for name in found.keys().filter(|name| !known.contains(&name.as_str())) {
        out.push(Violation {
            field: join(field, name),
            message: words::unknown_field(name, known),
            kind: ViolationKind::UnknownField,
        });
    }
}

fn missing_fields(
    expected: &Object,
    found: &Map<String, Value>,
    field: &str,
    out: &mut Vec<Violation>,
) {
    for name in expected
        .required
        .iter()
        .filter(|name| !found.contains_key(*name))
    {
        out.push(Violation::invalid(&join(field, name), words::REQUIRED));
    }
}

fn list(expected: &List, found: &[Value], field: &str, out: &mut Vec<Violation>) {
    length_between(
        field,
        found.len(),
        expected.min_items,
        expected.max_items,
        words::ENTRIES,
        out,
    );
    for (index, entry) in found.iter().enumerate() {
        value(&expected.items, entry, &format!("{field}[{index}]"), out);
    }
    if !expected.keys.is_empty() {
        repeated_entries(&expected.keys, found, field, out);
    }
    if expected.is_set {
        repeated_values(found, field, out);
    }
}

fn repeated_values(found: &[Value], field: &str, out: &mut Vec<Violation>) {
    for (index, value) in found.iter().enumerate() {
        if let Some(first) = found[..index].iter().position(|other| other == value) {
            out.push(Violation::invalid(
                &format!("{field}[{index}]"),
                words::repeated_value(value, &format!("{field}[{first}]")),
            ));
        }
    }
}

/// Entries of which a key is missing are judged by their own schema.
fn repeated_entries(keys: &[String], found: &[Value], field: &str, out: &mut Vec<Violation>) {
    let mut first_index = HashMap::new();
    for (index, entry) in found.iter().enumerate() {
        let Some(name) = keys
            .iter()
            .map(|key| entry.get(key).map(ToString::to_string))
            .collect::<Option<Vec<_>>>()
        else {
            continue;
        };
        if let Some(first) = first_index.get(&name) {
            out.push(Violation::invalid(
                &format!("{field}[{index}]"),
                words::repeated(keys, &name, &format!("{field}[{first}]")),
            ));
        } else {
            first_index.insert(name, index);
        }
    }
}

fn text(expected: &Text, found: &str, field: &str, out: &mut Vec<Violation>) {
    if !expected.values.is_empty() && !expected.values.iter().any(|value| value == found) {
        let found = Value::String(found.to_owned());
        out.push(Violation::invalid(
            field,
            words::one_of(&expected.values, Some(&found)),
        ));
        return;
    }
    let (min, max) = (expected.min_length, expected.max_length);
    let length = found.chars().count();
    if length_between(field, length, min, max, words::CHARACTERS, out)
        && let Some(pattern) = &expected.pattern
        && !pattern.is_match(found)
    {
        out.push(Violation::invalid(
            field,
            words::mismatch(pattern.as_str(), found),
        ));
    }
}

fn whole_number(found: &Value) -> Option<i128> {
    let number = found.as_number()?;
    let signed = number.as_i64().map(i128::from);
    signed.or_else(|| number.as_u64().map(i128::from))
}

fn integer(expected: Integer, found: &Value, field: &str, out: &mut Vec<Violation>) {
    let Some(number) = whole_number(found) else {
        return;
    };
    let below = expected.min.is_some_and(|min| number < i128::from(min));
    let above = expected.max.is_some_and(|max| number > i128::from(max));
    if below || above {
        out.push(Violation::invalid(
            field,
            words::out_of_range(expected.min, expected.max, found),
        ));
    }
}

/// Whether the length is right.
fn length_between(
    field: &str,
    length: usize,
    min: Option<u64>,
    max: Option<u64>,
    unit: words::Unit,
    out: &mut Vec<Violation>,
) -> bool {
    let fits =
        min.is_none_or(|min| length as u64 >= min) && max.is_none_or(|max| length as u64 <= max);
    if !fits {
        out.push(Violation::invalid(
            field,
            words::wrong_length(min, max, unit, length),
        ));
    }
    fits
}

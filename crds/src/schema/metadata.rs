//! What the API server asks of every object's metadata, as far as a person writes it.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::{Violation, check::unknown_fields, tree::join, words};
use crate::rules;

/// Fields of `ObjectMeta`, of apimachinery's `meta/v1`.
const FIELDS: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Longest DNS name, in bytes.
const DNS_NAME_LIMIT: usize = 253;
/// Longest label value, and part of a DNS name.
const LABEL_LIMIT: usize = 63;
/// All keys and values together, in bytes: `TotalAnnotationSizeLimitB` of apimachinery.
const ANNOTATIONS_LIMIT: usize = 256 << 10;

pub(super) fn check(metadata: Option<&Value>) -> Vec<Violation> {
    let mut violations = Vec::new();
    match metadata {
        None => violations.push(Violation::invalid("metadata.name", words::REQUIRED)),
        Some(Value::Object(metadata)) => {
            unknown_fields(&FIELDS, metadata, "metadata", &mut violations);
            name(metadata.get("name"), &mut violations);
            namespace(metadata.get("namespace"), &mut violations);
            labels(metadata.get("labels"), &mut violations);
            annotations(metadata.get("annotations"), &mut violations);
        }
        Some(other) => violations.push(Violation::invalid(
            "metadata",
            words::wrong_type("an object", other),
        )),
    }
    violations
}

/// `generateName` does not help: what is applied again and again needs a name of its own.
fn name(found: Option<&Value>, out: &mut Vec<Violation>) {
    match found {
        None | Some(Value::Null) => out.push(Violation::invalid("metadata.name", words::REQUIRED)),
        Some(found) => bounded_text(found, "metadata.name", &SUBDOMAIN, DNS_NAME_LIMIT, out),
    }
}

fn namespace(found: Option<&Value>, out: &mut Vec<Violation>) {
    if let Some(found) = found.filter(|found| !found.is_null()) {
        bounded_text(found, "metadata.namespace", &NAMESPACE, LABEL_LIMIT, out);
    }
}

fn labels(found: Option<&Value>, out: &mut Vec<Violation>) {
    for (key, value) in entries(found, "metadata.labels", out) {
        let field = join("metadata.labels", key);
        label_key(key, &field, out);
        bounded_text(value, &field, &LABEL_VALUE, LABEL_LIMIT, out);
    }
}

fn annotations(found: Option<&Value>, out: &mut Vec<Violation>) {
    let mut size = 0;
    for (key, value) in entries(found, "metadata.annotations", out) {
        let field = join("metadata.annotations", key);
        // The case of the DNS name does not matter here: `ValidateAnnotations` of apimachinery.
        label_key(&key.to_lowercase(), &field, out);
        match value {
            Value::String(text) => size += key.len() + text.len(),
            other => out.push(not_a_string(&field, other)),
        }
    }
    if size > ANNOTATIONS_LIMIT {
        out.push(Violation::invalid(
            "metadata.annotations",
            format!("must have at most {ANNOTATIONS_LIMIT} bytes, but has {size}"),
        ));
    }
}

fn entries<'a>(
    found: Option<&'a Value>,
    field: &str,
    out: &mut Vec<Violation>,
) -> Vec<(&'a String, &'a Value)> {
    match found {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(found)) => found.iter().collect(),
        Some(other) => {
            out.push(Violation::invalid(
                field,
                words::wrong_type("an object", other),
            ));
            Vec::new()
        }
    }
}

fn label_key(key: &str, field: &str, out: &mut Vec<Violation>) {
    let prefix = key.split_once('/').map_or("", |(prefix, _)| prefix);
    if prefix.len() > DNS_NAME_LIMIT || !LABEL_KEY.is_match(key) {
        out.push(Violation::invalid(
            field,
            words::mismatch(LABEL_KEY.as_str(), key),
        ));
    }
}

fn bounded_text(
    found: &Value,
    field: &str,
    pattern: &Regex,
    limit: usize,
    out: &mut Vec<Violation>,
) {
    match found {
        Value::String(text) if text.len() > limit => out.push(Violation::invalid(
            field,
            words::wrong_length(None, Some(limit as u64), words::CHARACTERS, text.len()),
        )),
        Value::String(text) if !pattern.is_match(text) => out.push(Violation::invalid(
            field,
            words::mismatch(pattern.as_str(), text),
        )),
        Value::String(_) => {}
        other => out.push(not_a_string(field, other)),
    }
}

fn not_a_string(field: &str, found: &Value) -> Violation {
    Violation::invalid(field, words::wrong_type("a string", found))
}

static SUBDOMAIN: LazyLock<Regex> = LazyLock::new(|| constant(rules::SUBDOMAIN));
static NAMESPACE: LazyLock<Regex> = LazyLock::new(|| constant(rules::NAMESPACE));
static LABEL_KEY: LazyLock<Regex> = LazyLock::new(|| constant(rules::QUALIFIED_NAME));
static LABEL_VALUE: LazyLock<Regex> = LazyLock::new(|| constant(rules::LABEL_VALUE));

#[expect(
    clippy::expect_used,
    reason = "each pattern is a constant of this crate"
)]
fn constant(pattern: &str) -> Regex {
    Regex::new(pattern).expect("valid pattern")
}

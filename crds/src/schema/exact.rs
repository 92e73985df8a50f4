//! Integers that must not be written with a fraction.
//!
//! Elsewhere `1.0` is an integer to the API server. But it reads the scaled field as Go's `int64`,
//! and hands a rule the number as it was written, so that a rule about an integer meets a float and
//! fails.

use std::{collections::BTreeSet, sync::LazyLock};

use regex::Regex;
use serde_json::Value;

use super::{
    Violation,
    tree::{Schema, Shape, join},
    words,
};

/// Schema paths of the integers that rules of their own object speak of: `spec.scale.min`.
pub(super) fn ruled(root: &Schema) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    collect(root, "", &mut paths);
    paths
}

/// Depth is bounded by the types from which the schema is derived.
fn collect(schema: &Schema, path: &str, out: &mut BTreeSet<String>) {
    match &schema.shape {
        Shape::Object(object) => {
            let mentioned = mentioned(schema);
            for (name, field) in &object.fields {
                let path = join(path, name);
                if matches!(field.shape, Shape::Integer(_)) && mentioned.contains(name) {
                    out.insert(path.clone());
                }
                collect(field, &path, out);
            }
        }
        Shape::List(list) => collect(&list.items, &format!("{path}[]"), out),
        Shape::Map { values, .. } => collect(values, &format!("{path}{{}}"), out),
        _ => {}
    }
}

/// Fields that the rules of the object read, rules about a change aside. To ask whether a field is
/// there reads it too; but where that is one side of `&&` or `||`, the failure is forgotten when the
/// other side decides, as it does in every rule of ours that a valid object meets.
fn mentioned(schema: &Schema) -> BTreeSet<String> {
    static FIELD: LazyLock<Regex> = LazyLock::new(|| pattern(r"\bself\.(\w+)"));
    static LEFT: LazyLock<Regex> = LazyLock::new(|| pattern(r"\bhas\(self\.\w+\)\s*(&&|\|\|)"));
    static RIGHT: LazyLock<Regex> = LazyLock::new(|| pattern(r"(&&|\|\|)\s*!?has\(self\.\w+\)"));
    let mut fields = BTreeSet::new();
    for rule in &schema.rules {
        if !rule.rule.contains("oldSelf") {
            let read = LEFT.replace_all(&rule.rule, "$1");
            let read = RIGHT.replace_all(&read, "$1");
            let found = FIELD.captures_iter(&read);
            fields.extend(found.map(|found| found[1].to_owned()));
        }
    }
    fields
}

#[expect(clippy::expect_used, reason = "the patterns are constants")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("valid pattern")
}

/// Judges the manifest as it was written. `paths` are schema paths.
pub(super) fn check(schema: &Schema, manifest: &Value, paths: &BTreeSet<String>) -> Vec<Violation> {
    let mut violations = Vec::new();
    visit(schema, manifest, ("", ""), paths, &mut violations);
    violations
}

/// `at` are the schema path and the path of the value.
fn visit(
    schema: &Schema,
    found: &Value,
    at: (&str, &str),
    paths: &BTreeSet<String>,
    out: &mut Vec<Violation>,
) {
    let (path, field) = at;
    match (&schema.shape, found) {
        (Shape::Object(object), Value::Object(found)) => {
            for (name, schema) in &object.fields {
                if let Some(found) = found.get(name) {
                    let at = (join(path, name), join(field, name));
                    visit(schema, found, (&at.0, &at.1), paths, out);
                }
            }
        }
        (Shape::List(list), Value::Array(found)) => {
            for (index, found) in found.iter().enumerate() {
                let at = (format!("{path}[]"), format!("{field}[{index}]"));
                visit(&list.items, found, (&at.0, &at.1), paths, out);
            }
        }
        // A true fraction is no integer at all, which is told elsewhere.
        (Shape::Integer(_), Value::Number(number))
            if number.is_f64()
                && number.as_f64().is_some_and(|float| float.fract() == 0.0)
                && paths.contains(path) =>
        {
            out.push(Violation::invalid(field, words::fraction(found)));
        }
        _ => {}
    }
}

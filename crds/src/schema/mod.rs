//! The API server's verdict on a manifest, without an API server.
//!
//! The generated definitions are read into a tree ([`Schema`]) that knows only the forms that the
//! kinds use. The same tree judges manifests here, yields the corpus of good and bad manifests with
//! which this verdict is held against the API server's, and is what the reference is written from.

mod cel;
mod check;
#[cfg(any(test, feature = "corpus"))]
pub mod corpus;
mod exact;
mod metadata;
mod stored;
mod tree;
mod words;

use std::{collections::BTreeSet, fmt, sync::LazyLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

pub use tree::{IntOrString, Integer, List, Object, Rule, Schema, Shape, Text};
pub use words::meaning as pattern_meaning;

/// One thing that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field: `spec.services[0].port`.
    pub field: String,
    /// What is allowed, and what was found.
    pub message: String,
    pub kind: ViolationKind,
}

/// Who refuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViolationKind {
    /// The API server, always.
    Invalid,
    /// The API server for strict clients; for others it drops the field with a warning.
    UnknownField,
}

impl Violation {
    fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            message: message.into(),
            kind: ViolationKind::Invalid,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Everything for which the API server would refuse the manifest to a strict client, in the order
/// of the schema. Empty when it would be stored.
///
/// `status` is not looked at: the API server ignores what a writer of the spec says there.
#[must_use]
pub fn validate(manifest: &Value) -> Vec<Violation> {
    match kind_of(manifest) {
        Ok(kind) => kind.validate(manifest),
        Err(violations) => violations,
    }
}

/// The kind that a manifest says it is.
///
/// # Errors
///
/// What is wrong with `apiVersion` or `kind`.
pub fn kind_of(manifest: &Value) -> Result<&'static Kind, Vec<Violation>> {
    let Some(fields) = manifest.as_object() else {
        return Err(vec![Violation::invalid(
            "",
            words::wrong_type("an object", manifest),
        )]);
    };
    let api_version = format!("{}/{}", crate::GROUP, crate::VERSION);
    let found = kinds()
        .iter()
        .find(|kind| fields.get("kind").and_then(Value::as_str) == Some(&kind.name));
    let mut violations = Vec::new();
    if fields.get("apiVersion").and_then(Value::as_str) != Some(&api_version) {
        violations.push(Violation::invalid(
            "apiVersion",
            words::one_of(&[api_version], fields.get("apiVersion")),
        ));
    }
    match found {
        Some(kind) if violations.is_empty() => Ok(kind),
        Some(_) => Err(violations),
        None => {
            let names: Vec<_> = kinds().iter().map(|kind| kind.name.clone()).collect();
            violations.push(Violation::invalid(
                "kind",
                words::one_of(&names, fields.get("kind")),
            ));
            Err(violations)
        }
    }
}

/// All kinds, in the order in which their definitions are installed.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "the definitions are constants of this crate, and a test reads them all"
)]
pub fn kinds() -> &'static [Kind] {
    static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
        crate::definitions()
            .iter()
            .map(|definition| Kind::read(definition).expect("definitions use known forms only"))
            .collect()
    });
    &KINDS
}

/// One kind with its schema, ready to judge manifests.
#[derive(Debug)]
pub struct Kind {
    pub name: String,
    pub plural: String,
    /// Root of the schema: `spec` and `status`.
    pub schema: Schema,
    /// Integers that must be written without a fraction.
    exact: BTreeSet<String>,
    rules: cel::Rules,
}

impl Kind {
    fn read(definition: &CustomResourceDefinition) -> Result<Self, tree::Unsupported> {
        let version = definition.spec.versions.first();
        let scaled = version
            .and_then(|version| version.subresources.as_ref()?.scale.as_ref())
            .map(|scale| scale.spec_replicas_path.trim_start_matches('.').to_owned());
        let root = version
            .and_then(|version| version.schema.as_ref())
            .and_then(|schema| schema.open_api_v3_schema.as_ref())
            .ok_or_else(|| tree::Unsupported::new("", "a definition without a schema"))?;
        let schema = Schema::read(root, "")?;
        let mut exact = exact::ruled(&schema);
        exact.extend(scaled);
        Ok(Self {
            name: definition.spec.names.kind.clone(),
            plural: definition.spec.names.plural.clone(),
            schema,
            exact,
            rules: cel::Rules::compile(root),
        })
    }

    /// As [`validate`], for a manifest that is known to be of this kind.
    ///
    /// Rules between fields are asked only when each field is right by itself, as the API server
    /// does: a rule may then rely on types and bounds.
    #[must_use]
    pub fn validate(&self, manifest: &Value) -> Vec<Violation> {
        let mut violations = exact::check(&self.schema, manifest, &self.exact);
        let manifest = &self.stored(manifest);
        violations.extend(metadata::check(manifest.get("metadata")));
        violations.extend(check::document(&self.schema, manifest));
        if violations
            .iter()
            .all(|violation| violation.kind == ViolationKind::UnknownField)
        {
            violations.extend(self.rules.check(manifest));
        }
        violations
    }

    /// The manifest as the API server would store it: without `status`, and without fields that
    /// are null, which count as left out. Entries of lists that are null stay, and are refused.
    /// Integers are written without a fraction.
    #[must_use]
    pub fn stored(&self, manifest: &Value) -> Value {
        stored::stored(&self.schema, manifest)
    }
}

#[cfg(test)]
mod tests;

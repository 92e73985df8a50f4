//! Rules between fields, written in CEL.

use std::fmt;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kube_cel::{CompiledSchema, Validator, compile_schema};
use serde_json::Value;

use super::Violation;

/// The compiled rules of one kind.
pub(super) struct Rules {
    compiled: CompiledSchema,
    validator: Validator,
}

impl Rules {
    /// A rule that does not compile refuses every manifest; a test compiles them all.
    #[expect(
        clippy::expect_used,
        reason = "a definition is plain data: it came from JSON and goes back to it"
    )]
    pub(super) fn compile(root: &JSONSchemaProps) -> Self {
        let schema = serde_json::to_value(root).expect("schema is plain data");
        Self {
            compiled: compile_schema(&schema),
            validator: Validator::new(),
        }
    }

    /// Asks each rule of each value that is there. Rules about a change are silent.
    pub(super) fn check(&self, manifest: &Value) -> Vec<Violation> {
        self.violations(manifest, None)
    }

    /// As [`Self::check`], with the rules about the change from `before`.
    #[cfg(test)]
    pub(super) fn check_change(&self, manifest: &Value, before: &Value) -> Vec<Violation> {
        self.violations(manifest, Some(before))
    }

    fn violations(&self, manifest: &Value, before: Option<&Value>) -> Vec<Violation> {
        let verdict = self
            .validator
            .validate_compiled(&self.compiled, manifest, before);
        verdict
            .err()
            .into_iter()
            .flatten()
            .map(|error| {
                // Rules of the root speak of the only metadata they may see.
                let field = match error.field_path.as_str() {
                    "" => "metadata.name",
                    path => path,
                };
                Violation::invalid(field, error.message)
            })
            .collect()
    }

    #[cfg(test)]
    pub(super) fn compiled(&self) -> &CompiledSchema {
        &self.compiled
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").finish_non_exhaustive()
    }
}

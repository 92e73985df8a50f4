use kube_cel::{CompiledSchema, ScopeContext, WarningKind, analyze_rule};
use serde_json::json;

use super::*;

fn service(spec: &Value) -> Value {
    json!({
        "apiVersion": "orlop.dev/v1alpha1",
        "kind": "AppService",
        "metadata": {"name": "web"},
        "spec": spec,
    })
}

fn told(manifest: &Value) -> Vec<String> {
    validate(manifest).iter().map(ToString::to_string).collect()
}

#[test]
fn a_message_names_the_field_what_is_allowed_and_what_was_found() {
    for (spec, message) in [
        (
            json!({"image": "web", "port": 70000}),
            "spec.port: must be at least 1 and at most 65535, but is 70000",
        ),
        (
            json!({"image": "web", "port": "80"}),
            "spec.port: must be a whole number, but is the string '80'",
        ),
        (
            json!({"image": "web"}),
            "spec: `port` must be set with `image`, and only with it",
        ),
        (
            json!({"image": "web", "port": null}),
            "spec: `port` must be set with `image`, and only with it",
        ),
        (
            json!({"image": "web", "port": 80, "args": [null]}),
            "spec.args[0]: must not be null: leave it out instead",
        ),
        (
            json!({"image": "web", "port": 80, "relicas": 2}),
            "spec.relicas: is not a known field; did you mean 'replicas'?",
        ),
        (
            json!({"image": "a b", "port": 80}),
            "spec.image: must be an image reference such as registry.example/shop/web:1.4, without spaces, but is 'a b'",
        ),
        (
            json!({"image": "web", "port": 80, "env": [{"name": "A", "value": "b"}, {"name": "A", "value": "c"}]}),
            "spec.env[1]: must have a name of its own, but 'A' is already used by spec.env[0]",
        ),
        (
            json!({"image": "web", "port": 80, "env": [{"name": "A"}]}),
            "spec.env[0]: exactly one of `value`, `secretKeyRef`, `configMapKeyRef` must be set",
        ),
        (
            json!({"image": "web", "port": 80, "tolerations": [{"operator": "exists"}]}),
            "spec.tolerations[0].operator: must be one of Exists, Equal, but is 'exists'",
        ),
        (
            json!({"image": "web", "port": 80, "release": {"drain": "20"}}),
            "spec.release.drain: must be a duration: one to four numbers of up to five digits with unit h, m, s or ms, such as 1h30m or 500ms, but is '20'",
        ),
    ] {
        assert_eq!(told(&service(&spec)), [message], "{spec}");
    }
}

#[test]
fn a_dangling_reference_is_told() {
    let manifest = json!({
        "apiVersion": "orlop.dev/v1alpha1",
        "kind": "AppPlatform",
        "metadata": {"name": "shop"},
        "spec": {"services": [
            {"name": "api", "image": "api", "port": 80},
            {"name": "web", "image": "web", "port": 80, "uses": [{"name": "apo"}]},
        ]},
    });
    assert_eq!(
        told(&manifest),
        [
            "spec.services: `uses[].name` must be the name of a database, a cache, a broker, an API or another service of this application"
        ]
    );
}

#[test]
fn a_manifest_of_another_kind_is_refused_with_the_known_ones() {
    assert_eq!(
        told(&json!({"apiVersion": "v1", "kind": "Pod"})),
        [
            "apiVersion: must be orlop.dev/v1alpha1, but is 'v1'",
            "kind: must be one of AppPlatform, AppService, BrokerTier, CacheTier, DatabaseTier, WorkerPool, but is 'Pod'",
        ]
    );
    assert_eq!(told(&json!([])), [": must be an object, but is a list"]);
}

#[test]
fn every_text_number_list_and_map_of_a_spec_is_bounded() {
    for kind in kinds() {
        let Shape::Object(root) = &kind.schema.shape else {
            unreachable!("a root is an object");
        };
        unbounded(&root.fields["spec"], "spec");
    }
}

fn unbounded(schema: &Schema, field: &str) {
    assert!(
        !schema.description.is_empty() || field.ends_with(']') || field.ends_with('}'),
        "{field} is not described"
    );
    match &schema.shape {
        Shape::Object(object) => {
            for (name, schema) in &object.fields {
                unbounded(schema, &tree::join(field, name));
            }
        }
        Shape::Map {
            values,
            max_entries,
        } => {
            assert!(max_entries.is_some(), "{field} has no maxProperties");
            unbounded(values, &format!("{field}{{}}"));
        }
        Shape::List(list) => {
            assert!(list.max_items.is_some(), "{field} has no maxItems");
            unbounded(&list.items, &format!("{field}[]"));
        }
        Shape::Text(text) => bounded_text(text, field),
        Shape::Integer(Integer { min, max }) => {
            assert!(min.is_some() && max.is_some(), "{field} has no bounds");
        }
        Shape::IntOrString(either) => {
            assert!(either.min.is_some(), "{field} has no minimum");
            bounded_text(&either.text, field);
        }
        Shape::Boolean => {}
    }
}

fn bounded_text(text: &Text, field: &str) {
    assert!(
        text.max_length.is_some() || !text.values.is_empty(),
        "{field} has no maxLength"
    );
    if let Some(pattern) = &text.pattern {
        assert!(
            words::meaning(pattern.as_str()).is_some(),
            "{field}: the pattern {pattern} is not told in words"
        );
    }
}

#[test]
fn every_rule_compiles_and_iterates_only_over_bounded_lists() {
    for kind in kinds() {
        // Only the spec and the root have rules: a status is written by the operator.
        let root = kind.rules.compiled();
        analyse(root, "");
        analyse(&root.properties["spec"], "spec");
    }
}

fn analyse(schema: &CompiledSchema, field: &str) {
    assert!(
        schema.compilation_errors().is_empty(),
        "{field}: {:?}",
        schema.compilation_errors()
    );
    for rule in schema.validations.iter().flatten() {
        // The other warnings are too coarse: loop variables count as unknown ones, and nested lists
        // by the bound of the outermost. The API server's word on scope and cost is its taking the
        // definitions, and the largest manifest of the corpus.
        let warnings: Vec<_> = analyze_rule(&rule.rule.rule, schema, ScopeContext::CrdValidation)
            .into_iter()
            .filter(|warning| warning.kind == WarningKind::MissingBounds)
            .collect();
        assert!(warnings.is_empty(), "{field}: {warnings:?}");
    }
    for (name, property) in &schema.properties {
        if name != "status" {
            analyse(property, &tree::join(field, name));
        }
    }
    for nested in schema.items.iter().chain(&schema.additional_properties) {
        analyse(nested, &format!("{field}[]"));
    }
}

#[test]
fn what_is_fixed_at_creation_cannot_be_changed_and_the_default_is_what_was_said() {
    for (kind, before, after, refused) in [
        (
            "CacheTier",
            json!({"valkey": {}}),
            json!({"valkey": {"shards": 4}}),
            true,
        ),
        (
            "CacheTier",
            json!({"valkey": {}}),
            json!({"valkey": {"shards": 3}}),
            false,
        ),
        (
            "CacheTier",
            json!({"valkey": {"replicasPerShard": 0}}),
            json!({"valkey": {}}),
            true,
        ),
        (
            "CacheTier",
            json!({"valkey": {"storage": "1024Mi"}}),
            json!({"valkey": {}}),
            false,
        ),
        (
            "BrokerTier",
            json!({"rabbitmq": {"storage": "1Gi"}}),
            json!({"rabbitmq": {"storage": "2Gi"}}),
            true,
        ),
        (
            "DatabaseTier",
            json!({"postgres": {}}),
            json!({"postgres": {"version": "17"}}),
            false,
        ),
        (
            "DatabaseTier",
            json!({"postgres": {}}),
            json!({"postgres": {"storage": "2Gi"}}),
            true,
        ),
        (
            "DatabaseTier",
            json!({"postgres": {}}),
            json!({"external": {"secretName": "a"}}),
            true,
        ),
    ] {
        let found = kinds().iter().find(|found| found.name == kind).unwrap();
        let manifest = |spec| json!({"metadata": {"name": "a"}, "spec": spec});
        let violations = found
            .rules
            .check_change(&manifest(after.clone()), &manifest(before.clone()));
        assert_eq!(
            violations.iter().any(|it| it.message.contains("cannot be")),
            refused,
            "{kind}: from {before} to {after}: {violations:?}"
        );
    }
}

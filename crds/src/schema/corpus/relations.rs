//! Cases about what lies between fields: references, rules, the object's own metadata.

use serde_json::{Value, json};

use super::{Case, application, tiers};
use crate::schema::Kind;

pub(super) fn cases(kind: &'static Kind, seeds: &[Value]) -> Vec<Case> {
    let mut relations: Vec<_> = of_seed(0, identity()).collect();
    match kind.name.as_str() {
        "AppPlatform" => {
            relations.extend(of_seed(0, name_lengths(30)));
            relations.extend(of_seed(0, application::references()));
            relations.extend(of_seed(0, application::routes()));
            for (pointer, field) in [
                ("/spec/services/0/resources", "spec.services[0].resources"),
                ("/spec/edge/resources", "spec.edge.resources"),
            ] {
                relations.extend(of_seed(0, resources(pointer, field)));
            }
            relations.extend(of_seed(
                0,
                pod_options("/spec/services/0", "spec.services[0]"),
            ));
            relations.extend(of_seed(0, application::largest()));
            relations.extend(of_seed(2, application::components()));
        }
        "AppService" => {
            relations.extend(of_seed(0, name_lengths(52)));
            relations.extend(of_seed(0, resources("/spec/resources", "spec.resources")));
            relations.extend(of_seed(0, pod_options("/spec", "spec")));
            relations.extend(of_seed(0, tiers::image_or_api()));
            relations.extend(of_seed(0, promotion()));
        }
        "BrokerTier" => {
            relations.extend(of_seed(0, name_lengths(52)));
            relations.extend(of_seed(
                0,
                resources("/spec/rabbitmq/resources", "spec.rabbitmq.resources"),
            ));
            relations.extend(of_seed(0, pod_options("/spec", "spec")));
            relations.extend(of_seed(0, tiers::retry()));
        }
        "CacheTier" => {
            relations.extend(of_seed(0, name_lengths(47)));
            relations.extend(of_seed(
                0,
                resources("/spec/valkey/resources", "spec.valkey.resources"),
            ));
            relations.extend(of_seed(0, pod_options("/spec", "spec")));
        }
        "DatabaseTier" => {
            relations.extend(of_seed(0, name_lengths(52)));
            relations.extend(of_seed(
                0,
                resources("/spec/postgres/resources", "spec.postgres.resources"),
            ));
            relations.extend(of_seed(0, pod_options("/spec", "spec")));
            relations.extend(of_seed(2, tiers::external()));
        }
        "WorkerPool" => {
            relations.extend(of_seed(0, name_lengths(52)));
            relations.extend(of_seed(0, resources("/spec/resources", "spec.resources")));
            relations.extend(of_seed(0, pod_options("/spec", "spec")));
            relations.extend(of_seed(0, tiers::workers()));
            relations.extend(of_seed(0, promotion()));
        }
        other => unreachable!("{other} has relations"),
    }
    relations
        .into_iter()
        .map(|(seed, (what, edits, refused_at))| Case {
            name: format!("{}: {what}", kind.name),
            plural: &kind.plural,
            manifest: edited(&seeds[seed], &edits),
            refused_at: refused_at.map(str::to_owned),
        })
        .collect()
}

fn of_seed(
    seed: usize,
    relations: Vec<Relation<'_>>,
) -> impl Iterator<Item = (usize, Relation<'_>)> {
    relations.into_iter().map(move |relation| (seed, relation))
}

/// What it is, values to set by JSON pointer (`null` removes), and where it must be refused.
pub(super) type Relation<'a> = (String, Vec<(String, Value)>, Option<&'a str>);

/// What is promoted by hand is not promoted by the clock.
fn promotion() -> Vec<Relation<'static>> {
    let promote = |mode: &str, refused_at| {
        let value = json!({"mode": mode, "after": "5s"});
        (
            format!("promoted {mode} after a time"),
            vec![("/spec/release/promote".to_owned(), value)],
            refused_at,
        )
    };
    vec![
        promote("Automatic", None),
        promote("Manual", Some("spec.release.promote")),
    ]
}

fn identity() -> Vec<Relation<'static>> {
    let bad = |what: &str, pointer: &str, value: Value, field| {
        (
            what.to_owned(),
            vec![(pointer.to_owned(), value)],
            Some(field),
        )
    };
    let mut relations = vec![
        bad("no apiVersion", "/apiVersion", Value::Null, "apiVersion"),
        bad(
            "another version",
            "/apiVersion",
            json!("orlop.dev/v9"),
            "apiVersion",
        ),
        bad("no kind", "/kind", Value::Null, "kind"),
        bad("another kind", "/kind", json!("AppThing"), "kind"),
        bad("no metadata", "/metadata", Value::Null, "metadata.name"),
        bad("no spec", "/spec", Value::Null, "spec"),
        bad(
            "an unknown field",
            "/unknownField",
            json!(1),
            "unknownField",
        ),
        bad(
            "an unknown field of metadata",
            "/metadata/unknownField",
            json!(1),
            "metadata.unknownField",
        ),
        bad("no name", "/metadata/name", Value::Null, "metadata.name"),
        bad(
            "a label with a space",
            "/metadata/labels/team",
            json!("a b"),
            "metadata.labels.team",
        ),
        bad(
            "a long label",
            "/metadata/labels/team",
            json!("a".repeat(64)),
            "metadata.labels.team",
        ),
        bad(
            "a number as label",
            "/metadata/labels/team",
            json!(1),
            "metadata.labels.team",
        ),
        bad(
            "a label key with a space",
            "/metadata/labels/a b",
            json!("c"),
            "metadata.labels.a b",
        ),
        bad(
            "a label key ending with a dash",
            "/metadata/labels/a-",
            json!("c"),
            "metadata.labels.a-",
        ),
        bad(
            "an annotation key with a space",
            "/metadata/annotations/a b",
            json!("c"),
            "metadata.annotations.a b",
        ),
        bad(
            "huge annotations",
            "/metadata/annotations/note",
            json!("a".repeat(256 << 10)),
            "metadata.annotations",
        ),
    ];
    for name in ["", "A", "a b", "1a", "a-", "-a", "a.b", "a_b", "ä"] {
        relations.push(bad(
            &format!("the name {name:?}"),
            "/metadata/name",
            json!(name),
            "metadata.name",
        ));
    }
    relations.push((
        "a long label value and an annotation key with capitals".to_owned(),
        vec![
            ("/metadata/labels/team".to_owned(), json!("a".repeat(63))),
            (
                "/metadata/annotations/Example.com~1Note".to_owned(),
                json!("any text, even ä"),
            ),
        ],
        None,
    ));
    relations
}

fn name_lengths(max: usize) -> Vec<Relation<'static>> {
    let named = |length| vec![("/metadata/name".to_owned(), json!("a".repeat(length)))];
    vec![
        ("the longest name".to_owned(), named(max), None),
        (
            "a name one too long".to_owned(),
            named(max + 1),
            Some("metadata.name"),
        ),
        (
            "a name of 254 characters".to_owned(),
            named(254),
            Some("metadata.name"),
        ),
    ]
}

fn resources<'a>(pointer: &str, field: &'a str) -> Vec<Relation<'a>> {
    let set = |name: &str, request: Value, limit: Value| {
        vec![(
            pointer.to_owned(),
            json!({"requests": {name: request}, "limits": {name: limit}}),
        )]
    };
    [
        ("cpu", json!("500m"), json!("0.5"), None),
        ("cpu", json!(1), json!("1000m"), None),
        ("cpu", json!("501m"), json!("0.5"), Some(field)),
        ("cpu", json!(2), json!(1), Some(field)),
        ("memory", json!("1Gi"), json!("1024Mi"), None),
        ("memory", json!("1000M"), json!("1Gi"), None),
        ("memory", json!("1Gi"), json!("1000M"), Some(field)),
        ("memory", json!("65Mi"), json!("64Mi"), Some(field)),
    ]
    .into_iter()
    .map(|(name, request, limit, refused_at)| {
        let what = format!("{field}: {name} {request} requested of {limit}");
        (what, set(name, request, limit), refused_at)
    })
    .collect()
}

/// What is alike in every kind that runs a container.
fn pod_options<'a>(pointer: &str, field: &'a str) -> Vec<Relation<'a>> {
    let (toleration, selector) = match field {
        "spec" => ("spec.tolerations[0]", "spec.nodeSelector"),
        _ => (
            "spec.services[0].tolerations[0]",
            "spec.services[0].nodeSelector",
        ),
    };
    let tolerate = |value: Value| vec![(format!("{pointer}/tolerations"), json!([value]))];
    let select = |key: &str| vec![(format!("{pointer}/nodeSelector"), json!({key: "a"}))];
    let long_prefix = format!("{}/{}", "a".repeat(253), "b".repeat(63));
    [
        (
            "tolerates everything",
            tolerate(json!({"operator": "Exists"})),
            None,
        ),
        (
            "tolerates a key",
            tolerate(json!({"key": "a", "operator": "Exists"})),
            None,
        ),
        (
            "tolerates an empty value",
            tolerate(json!({"key": "a", "value": ""})),
            None,
        ),
        (
            "Exists with a value",
            tolerate(json!({"key": "a", "operator": "Exists", "value": "b"})),
            Some(toleration),
        ),
        (
            "neither key nor Exists",
            tolerate(json!({"value": "b"})),
            Some(toleration),
        ),
        ("an empty toleration", tolerate(json!({})), Some(toleration)),
        (
            "seconds without effect",
            tolerate(json!({"key": "a", "tolerationSeconds": 1})),
            Some(toleration),
        ),
        (
            "seconds with NoSchedule",
            tolerate(json!({"key": "a", "effect": "NoSchedule", "tolerationSeconds": 1})),
            Some(toleration),
        ),
        ("the longest node label", select(&long_prefix), None),
        (
            "a node label with a long name",
            select(&"a".repeat(64)),
            Some(selector),
        ),
        ("a node label with a space", select("a b"), Some(selector)),
        ("a node label without name", select("a/"), Some(selector)),
        ("an empty node label", select(""), Some(selector)),
    ]
    .into_iter()
    .map(|(what, edits, refused_at)| (format!("{field}: {what}"), edits, refused_at))
    .collect()
}

fn edited(seed: &Value, edits: &[(String, Value)]) -> Value {
    let mut manifest = seed.clone();
    for (pointer, value) in edits {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer starts with '/'");
        let name = name.replace("~1", "/");
        match manifest.pointer_mut(parent) {
            Some(Value::Object(fields)) if value.is_null() => {
                fields.remove(&name);
            }
            Some(Value::Object(fields)) => {
                fields.insert(name, value.clone());
            }
            Some(Value::Array(entries)) => {
                let index: usize = name.parse().expect("an index of the list");
                entries[index] = value.clone();
            }
            _ => unreachable!("the seed has {parent}"),
        }
    }
    manifest
}

//! Cases about what lies between fields: references, rules, the object's own metadata.

use serde_json::{Value, json};

use super::{Case, spot::Spot};
use crate::schema::Kind;

/// The field that names another service of the application, and the services that it may name.
const REFERENCE: (&str, &str) = ("spec.services[].uses[].name", "/spec/services");
/// The list whose length the number of the other services bounds before `maxItems` does.
const BOUNDED_BY_OTHERS: &str = "spec.services[].uses";

pub(super) fn is_bounded_by_others(schema_path: &str) -> bool {
    schema_path == BOUNDED_BY_OTHERS
}

/// The seed with another value at `spot`; where that is a reference, what it names is renamed too.
pub(super) fn rename_target(spot: &Spot<'_>, value: &Value) -> Value {
    let old = spot.value().clone();
    let mut manifest = spot.replaced(value.clone());
    let (reference, targets) = REFERENCE;
    if spot.schema_path() == reference
        && let Some(Value::Array(targets)) = manifest.pointer_mut(targets)
    {
        for target in targets.iter_mut().filter(|target| target["name"] == old) {
            target["name"] = value.clone();
        }
    }
    manifest
}

pub(super) fn cases(kind: &'static Kind, seed: &Value) -> Vec<Case> {
    let case = |(what, edits, refused_at): Relation<'_>| Case {
        name: format!("{}: {what}", kind.name),
        plural: &kind.plural,
        manifest: edited(seed, &edits),
        refused_at: refused_at.map(str::to_owned),
    };
    let mut relations = identity();
    match kind.name.as_str() {
        "AppPlatform" => {
            relations.extend(name_lengths(30));
            relations.extend(references());
            relations.extend(routes());
            relations.extend(resources(
                "/spec/services/0/resources",
                "spec.services[0].resources",
            ));
            relations.extend(resources("/spec/edge/resources", "spec.edge.resources"));
            relations.extend(pod_options("/spec/services/0", "spec.services[0]"));
            relations.extend(largest());
        }
        "AppService" => {
            relations.extend(name_lengths(52));
            relations.extend(resources("/spec/resources", "spec.resources"));
            relations.extend(pod_options("/spec", "spec"));
        }
        other => unreachable!("{other} has relations"),
    }
    relations.into_iter().map(case).collect()
}

/// What it is, values to set by JSON pointer (`null` removes), and where it must be refused.
type Relation<'a> = (String, Vec<(String, Value)>, Option<&'a str>);

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

fn references() -> Vec<Relation<'static>> {
    let uses = |name: &str| vec![("/spec/services/0/uses/0/name".to_owned(), json!(name))];
    vec![
        ("another service is used".to_owned(), uses("third"), None),
        (
            "no such service is used".to_owned(),
            uses("nobody"),
            Some("spec.services"),
        ),
        (
            "a service uses itself".to_owned(),
            uses("web"),
            Some("spec.services"),
        ),
        (
            "a service uses the edge".to_owned(),
            uses("edge"),
            Some("spec.services"),
        ),
        (
            "services use each other".to_owned(),
            vec![("/spec/services/1/uses".to_owned(), json!([{"name": "web"}]))],
            None,
        ),
        (
            "a service is called as the edge".to_owned(),
            vec![("/spec/services/2/name".to_owned(), json!("edge"))],
            Some("spec.services[2].name"),
        ),
    ]
}

fn routes() -> Vec<Relation<'static>> {
    let routes = |service, paths: &[&str]| {
        let routes: Vec<_> = paths
            .iter()
            .enumerate()
            .map(|(index, path)| json!({"name": format!("r{index}"), "path": path}))
            .collect();
        (format!("/spec/services/{service}/routes"), json!(routes))
    };
    vec![
        (
            "routes of one name in two services".to_owned(),
            vec![routes(0, &["/a"]), routes(1, &["/b"])],
            None,
        ),
        (
            "a path in two services".to_owned(),
            vec![routes(0, &["/a"]), routes(1, &["/a"])],
            Some("spec.services"),
        ),
        (
            "a path in the last of two routes".to_owned(),
            vec![routes(0, &["/a", "/b"]), routes(1, &["/c", "/b"])],
            Some("spec.services"),
        ),
        (
            "a path twice in a service".to_owned(),
            vec![routes(0, &["/a", "/a"])],
            Some("spec.services[0].routes"),
        ),
        (
            "a path twice in a service and in another".to_owned(),
            vec![routes(0, &["/a", "/a"]), routes(1, &["/a"])],
            Some("spec.services[0].routes"),
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

/// As many services, routes and uses as there can be at once: what the rules cost at most.
fn largest() -> Vec<Relation<'static>> {
    const SERVICES: usize = 24;
    const ROUTES: usize = 8;
    let long = |index: usize| format!("{}{index:02}", "s".repeat(18));
    let services: Vec<_> = (0..SERVICES)
        .map(|service| {
            let uses: Vec<_> = (0..SERVICES)
                .filter(|other| *other != service)
                .map(|other| json!({"name": long(other)}))
                .collect();
            let routes: Vec<_> = (0..ROUTES)
                .map(|route| {
                    let path = format!("/{}{service:02}{route}", "p".repeat(124));
                    json!({"name": format!("r{route}"), "path": path})
                })
                .collect();
            json!({"name": long(service), "image": "web", "port": 1, "uses": uses, "routes": routes})
        })
        .collect();
    let mut clashing = services.clone();
    clashing[SERVICES - 1]["routes"][ROUTES - 1]["path"] = services[0]["routes"][0]["path"].clone();
    let set = |services: Vec<Value>| vec![("/spec/services".to_owned(), json!(services))];
    vec![
        ("the largest application".to_owned(), set(services), None),
        (
            "the largest application, one path twice".to_owned(),
            set(clashing),
            Some("spec.services"),
        ),
    ]
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

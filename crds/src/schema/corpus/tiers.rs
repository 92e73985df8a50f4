//! Cases about what the fields of a tier, a pool of workers or an API say of each other.

use serde_json::{Value, json};

use super::relations::Relation;

/// One edit of the seed.
fn edit<'a>(what: &str, pointer: &str, value: Value, refused_at: Option<&'a str>) -> Relation<'a> {
    (
        what.to_owned(),
        vec![(pointer.to_owned(), value)],
        refused_at,
    )
}

pub(super) fn image_or_api() -> Vec<Relation<'static>> {
    let api = json!({"database": "db", "types": [{"name": "Buoy"}]});
    let spec = |what: &str, value: Value, refused_at| edit(what, "/spec", value, refused_at);
    vec![
        spec("only an image", json!({"image": "web", "port": 80}), None),
        spec("only an API", json!({"api": api}), None),
        spec(
            "an image and an API",
            json!({"image": "web", "port": 80, "api": api}),
            Some("spec"),
        ),
        spec("neither image nor API", json!({}), Some("spec")),
        spec(
            "an image without a port",
            json!({"image": "web"}),
            Some("spec"),
        ),
        spec(
            "an API with a port",
            json!({"api": api, "port": 80}),
            Some("spec"),
        ),
        spec(
            "an API with a command",
            json!({"api": api, "command": ["/bin/serve"]}),
            Some("spec"),
        ),
        spec(
            "an API that uses something",
            json!({"api": api, "uses": [{"name": "db", "database": {"name": "db"}}]}),
            Some("spec"),
        ),
        spec(
            "an image with classes",
            json!({
                "image": "web",
                "port": 80,
                "classes": [{"name": "boat", "prefix": "boat:", "ttl": "1m"}]
            }),
            Some("spec"),
        ),
    ]
}

pub(super) fn retry() -> Vec<Relation<'static>> {
    const FIELD: &str = "spec.rabbitmq.queues[0].retry";
    let retry = |what: &str, value: Value, refused_at| {
        edit(what, "/spec/rabbitmq/queues/0/retry", value, refused_at)
    };
    vec![
        retry(
            "one backoff",
            json!({"backoff": "1m", "maxBackoff": "60s"}),
            None,
        ),
        retry(
            "a backoff over the longest",
            json!({"backoff": "61s", "maxBackoff": "1m"}),
            Some(FIELD),
        ),
        retry(
            "a backoff over the default",
            json!({"backoff": "6m"}),
            Some(FIELD),
        ),
        retry(
            "a longest below the default",
            json!({"maxBackoff": "1s"}),
            Some(FIELD),
        ),
        retry("no backoffs", json!({}), None),
    ]
}

pub(super) fn external() -> Vec<Relation<'static>> {
    vec![
        edit(
            "an external database that is deleted",
            "/spec/deletion",
            json!("Delete"),
            Some("spec"),
        ),
        edit(
            "an external database with a node selector",
            "/spec/nodeSelector",
            json!({"disk": "ssd"}),
            None,
        ),
    ]
}

pub(super) fn workers() -> Vec<Relation<'static>> {
    let scale = |what: &str, value: Value, refused_at| edit(what, "/spec/scale", value, refused_at);
    vec![
        edit(
            "replicas beside a scale",
            "/spec/replicas",
            json!(1),
            Some("spec"),
        ),
        edit(
            "fewer jobs taken than done",
            "/spec/concurrency",
            json!(256),
            None,
        ),
        (
            "fewer jobs taken than are done at once".to_owned(),
            vec![
                ("/spec/concurrency".to_owned(), json!(8)),
                ("/spec/prefetch".to_owned(), json!(7)),
            ],
            Some("spec"),
        ),
        (
            "fewer jobs taken than are done at once by default".to_owned(),
            vec![
                ("/spec/concurrency".to_owned(), Value::Null),
                ("/spec/prefetch".to_owned(), json!(3)),
            ],
            Some("spec"),
        ),
        scale(
            "as many at least as at most",
            json!({"min": 5, "max": 5}),
            None,
        ),
        scale(
            "more at least than at most",
            json!({"min": 6, "max": 5}),
            Some("spec.scale"),
        ),
        scale("only a most", json!({"max": 1}), None),
    ]
}

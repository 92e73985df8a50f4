//! Cases about what the components of an application say of each other.

use serde_json::{Value, json};

use super::relations::Relation;

pub(super) fn references() -> Vec<Relation<'static>> {
    let uses = |name: &str| vec![("/spec/services/0/uses/0/name".to_owned(), json!(name))];
    vec![
        ("another service is used".to_owned(), uses("third"), None),
        ("a database is used".to_owned(), uses("db"), None),
        ("a cache is used".to_owned(), uses("cache"), None),
        ("a broker is used".to_owned(), uses("mq"), None),
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

pub(super) fn routes() -> Vec<Relation<'static>> {
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

/// On a seed in which a worker has a broker, a queue and a handler of its own, and an API a database
/// and a cache.
pub(super) fn components() -> Vec<Relation<'static>> {
    const SOURCE: &str = "workers/0/source/rabbitmq";
    const HANDLER: &str = "workers/0/handler/http/service";
    let route = json!([{"name": "other", "path": "/boats"}]);
    let services = Some("spec.services");
    let (apis, workers) = (Some("spec.apis"), Some("spec.workers"));
    let broker = &format!("{SOURCE}/broker");
    let queue = &format!("{SOURCE}/queue");
    [
        (
            "an API is used",
            "services/1/uses/0/name",
            json!("boats"),
            None,
        ),
        (
            "a worker is used",
            "services/1/uses/0/name",
            json!("post"),
            services,
        ),
        ("no such database", "apis/0/database", json!("nobody"), apis),
        (
            "a cache in place of a database",
            "apis/0/database",
            json!("cache"),
            apis,
        ),
        ("no such cache", "apis/0/cache", json!("nobody"), apis),
        ("no such broker", broker, json!("nobody"), workers),
        ("no such queue", queue, json!("nothing"), workers),
        ("a queue of another broker", queue, json!("emails"), workers),
        ("no such handler", HANDLER, json!("nobody"), workers),
        ("an API as handler", HANDLER, json!("boats"), workers),
        ("no databases", "databases", Value::Null, apis),
        ("no brokers", "brokers", Value::Null, workers),
        (
            "a path of an API in a service",
            "services/0/routes",
            route.clone(),
            services,
        ),
        ("a path in two APIs", "apis/1/routes", route, apis),
        (
            "a name in two lists",
            "workers/1/name",
            json!("helper"),
            Some("spec"),
        ),
        (
            "a worker is called as the edge",
            "workers/0/name",
            json!("edge"),
            Some("spec.workers[0].name"),
        ),
    ]
    .into_iter()
    .map(|(what, field, value, refused_at)| {
        let edits = vec![(format!("/spec/{field}"), value)];
        (what.to_owned(), edits, refused_at)
    })
    .collect()
}

/// As many services, routes and uses as there can be at once: what the rules cost at most.
pub(super) fn largest() -> Vec<Relation<'static>> {
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

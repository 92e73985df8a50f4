//! Patterns, bounds and rules that several kinds share.

use serde_json::{Value, json};

/// RFC 1035 label: what a Kubernetes Service may be called.
pub(crate) const LABEL: &str = "^[a-z]([-a-z0-9]*[a-z0-9])?$";
/// RFC 1123 label: namespaces.
pub(crate) const NAMESPACE: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// RFC 1123 subdomain: Secrets, ConfigMaps, ServiceAccounts.
pub(crate) const SUBDOMAIN: &str =
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// Name of an environment variable that every shell can read.
pub(crate) const ENV_NAME: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
/// Key inside a Secret or ConfigMap: neither `.` nor `..` with anything after it, since it becomes
/// a file name.
pub(crate) const DATA_KEY: &str = "^\\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$";
/// Image reference without white space; the registry judges the rest.
pub(crate) const IMAGE: &str = "^[a-zA-Z0-9][-a-zA-Z0-9._/:@+]*$";
/// Absolute URL path of unreserved characters: safe to render into a proxy's configuration.
pub(crate) const URL_PATH: &str = "^/[-a-zA-Z0-9._~/]*$";
/// Address of a server that speaks plain HTTP, with an optional port and path.
pub(crate) const HTTP_ADDRESS: &str =
    "^http://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?(/[-a-zA-Z0-9._~/]*)?$";
/// Decimal number.
pub(crate) const DECIMAL: &str = "^-?[0-9]{1,12}([.][0-9]{1,6})?$";
/// URL path of whole segments of lowercase letters, digits and dashes.
pub(crate) const BASE_PATH: &str = "^(/[a-z0-9-]+)+$";
/// Key of a label or taint, with an optional DNS prefix.
pub(crate) const QUALIFIED_NAME: &str = concat!(
    "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?",
    "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
);
/// Value of a label.
pub(crate) const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
/// CEL: every key of a map of node labels is a [`QUALIFIED_NAME`].
pub(crate) const NODE_LABELS: &str = concat!(
    "self.all(key, key.size() <= 317 && key.matches('",
    "^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?",
    "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))"
);
/// First part of a cache's keys: no `{`, which would move keys to another slot, and no white space.
pub(crate) const KEY_PREFIX: &str = "^[-a-zA-Z0-9_.:/]+$";

/// CEL rule on the name of a component.
pub(crate) fn not_the_edge() -> Value {
    json!([{
        "rule": "self != 'edge'",
        "message": "must not be 'edge': the edge of the application has this name",
    }])
}

/// CEL rule on the routes of one component.
pub(crate) fn unique_paths() -> Value {
    json!([{
        "rule": "self.all(r, self.exists_one(q, q.path == r.path))",
        "message": "`path` must be unique within the component",
    }])
}

/// The lists of an application's components.
const COMPONENTS: [&str; 6] = [
    "databases",
    "caches",
    "brokers",
    "apis",
    "services",
    "workers",
];
/// Those of them that can be used.
const USABLE: [&str; 5] = ["databases", "caches", "brokers", "apis", "services"];

/// CEL rules on an application: what one component says of another.
pub(crate) fn application() -> Value {
    let rule = |field: &str, rule: String, message: &str| json!({"rule": rule, "fieldPath": format!(".{field}"), "message": message});
    let usable: Vec<_> = USABLE.map(|list| has_named(list, "u.name")).into();
    json!([
        {
            "rule": unique_names(),
            "message": "`name` must be unique among all components of the application",
        },
        rule(
            "services",
            format!(
                "!has(self.services) || self.services.all(s, !has(s.uses) || s.uses.all(u, u.name != s.name && ({})))",
                usable.join(" || ")
            ),
            "`uses[].name` must be the name of a database, a cache, a broker, an API or another service of this application",
        ),
        rule("services", unique_path("services", "apis"), "`routes[].path` must be unique within the application"),
        rule("apis", unique_path("apis", "services"), "`routes[].path` must be unique within the application"),
        rule(
            "apis",
            format!("!has(self.apis) || self.apis.all(a, {})", has_named("databases", "a.database")),
            "`database` must be the name of a database of this application",
        ),
        rule(
            "apis",
            format!(
                "!has(self.apis) || self.apis.all(a, !has(a.cache) || ({}))",
                has_named("caches", "a.cache")
            ),
            "`cache` must be the name of a cache of this application",
        ),
        rule(
            "workers",
            "!has(self.workers) || self.workers.all(w, has(self.brokers) && self.brokers.exists(b, b.name == w.source.rabbitmq.broker && has(b.rabbitmq.queues) && b.rabbitmq.queues.exists(q, q.name == w.source.rabbitmq.queue)))".to_owned(),
            "`source.rabbitmq` must name a broker of this application and a queue that is declared on it",
        ),
        rule(
            "workers",
            format!(
                "!has(self.workers) || self.workers.all(w, {})",
                has_named("services", "w.handler.http.service")
            ),
            "`handler.http.service` must be the name of a service of this application",
        ),
    ])
}

/// Entries of one list have names of their own already. Pairs of lists, since a list made of all of
/// them has no bound that the API server could count with.
fn unique_names() -> String {
    let mut pairs = Vec::new();
    for (index, first) in COMPONENTS.iter().enumerate() {
        for second in &COMPONENTS[index + 1..] {
            pairs.push(format!(
                "(!has(self.{first}) || !has(self.{second}) || !self.{first}.exists(a, self.{second}.exists(b, a.name == b.name)))"
            ));
        }
    }
    pairs.join(" && ")
}

/// One level of nesting less than comparing each route with each: the API server bounds the cost.
fn unique_path(list: &str, other: &str) -> String {
    format!(
        "!has(self.{list}) || self.{list}.all(s, !has(s.routes) || s.routes.all(r, \
         self.{list}.exists_one(t, has(t.routes) && t.routes.exists(q, q.path == r.path)) && \
         !(has(self.{other}) && self.{other}.exists(t, has(t.routes) && t.routes.exists(q, q.path == r.path)))))"
    )
}

fn has_named(list: &str, name: &str) -> String {
    format!("(has(self.{list}) && self.{list}.exists(t, t.name == {name}))")
}

/// CEL rule on a duration: at least `min` and at most `max`.
pub(crate) fn duration_between(min: &str, max: &str) -> Value {
    json!([{
        "rule": format!("duration(self) >= duration('{min}') && duration(self) <= duration('{max}')"),
        "message": format!("must be at least {min} and at most {max}"),
    }])
}

/// CEL rule on a quantity: at least `min` and at most `max`.
pub(crate) fn quantity_between(min: &str, max: &str) -> Value {
    json!([{
        "rule": format!(
            "quantity(string(self)).compareTo(quantity('{min}')) >= 0 && quantity(string(self)).compareTo(quantity('{max}')) <= 0"
        ),
        "message": format!("must be at least {min} and at most {max}"),
    }])
}

/// CEL rule on an object: a field keeps its value for ever, where not saying it means `default`,
/// which is written in CEL.
pub(crate) fn immutable(field: &str, default: &str, why: &str) -> Value {
    json!({
        "rule": format!(
            "(has(self.{field}) ? self.{field} : {default}) == (has(oldSelf.{field}) ? oldSelf.{field} : {default})"
        ),
        "message": format!("`{field}` cannot be changed: {why}"),
    })
}

/// As [`immutable`], for a quantity: `1Gi` is the same as `1024Mi`.
pub(crate) fn immutable_quantity(field: &str, default: &str, why: &str) -> Value {
    let amount = |object: &str| {
        format!("quantity(has({object}.{field}) ? string({object}.{field}) : '{default}')")
    };
    json!({
        "rule": format!("{}.compareTo({}) == 0", amount("self"), amount("oldSelf")),
        "message": format!("`{field}` cannot be changed: {why}"),
    })
}

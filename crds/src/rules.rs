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

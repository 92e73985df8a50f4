//! Whether what is wanted already stands: the reason why a pass over an unchanged world sends nothing.
//!
//! The live object carries defaults, status and other writers' fields, so equality is the wrong
//! question. An object stands as wanted when (a) its [`INTENT`](crate::labels::INTENT) annotation
//! is the fingerprint of what is wanted now, so nothing that was applied before is left over, and
//! (b) every wanted field has the wanted value. Asking the API server by a dry run would answer
//! the same, at the price of a request per object and pass.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::{Object, Observed, Write, fence, labels, prune::Pruning};

/// The writes of one pass.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    pub(crate) writes: Vec<Write>,
    /// An object that could not be put into words ends the list before it.
    pub(crate) error: Option<serde_json::Error>,
}

/// In order; deletions last, so that a failure before them keeps what is still in use. A name
/// under which something is being deleted waits until it is free.
pub(crate) fn writes(
    objects: Vec<Object>,
    pruning: &Pruning,
    observed: &Observed,
    owner_version: Option<&str>,
) -> Writes {
    let mut writes = Vec::new();
    for object in objects {
        if pruning.busy.contains(&object.name()) {
            continue;
        }
        match write(object, observed, owner_version) {
            Ok(write) => writes.extend(write),
            Err(error) => {
                return Writes {
                    writes,
                    error: Some(error),
                };
            }
        }
    }
    writes.extend(pruning.deletions.iter().cloned());
    Writes {
        writes,
        error: None,
    }
}

/// What must be written so that `wanted` stands; nothing if it does.
fn write(
    wanted: Object,
    observed: &Observed,
    owner_version: Option<&str>,
) -> Result<Option<Write>, serde_json::Error> {
    let name = wanted.name();
    let mut wanted = stamped(wanted)?;
    let Some(live) = observed.get(name.kind, &name.name) else {
        fence::stamp(&mut wanted, owner_version);
        return Ok(Some(Write::Create(wanted)));
    };
    // What is on its way out is left alone, and made anew when it is gone.
    let is_going = live.metadata().deletion_timestamp.is_some();
    if is_going || stands(&wanted.to_value()?, &live.to_value()?) {
        return Ok(None);
    }
    fence::stamp(&mut wanted, owner_version);
    let resource_version = live.metadata().resource_version.clone().unwrap_or_default();
    Ok(Some(Write::Update {
        object: wanted,
        resource_version,
    }))
}

/// The object with its fingerprint in the intent annotation.
fn stamped(mut object: Object) -> Result<Object, serde_json::Error> {
    let hash = fingerprint(&object.to_value()?);
    object
        .metadata_mut()
        .annotations
        .get_or_insert_default()
        .insert(labels::INTENT.to_owned(), hash);
    Ok(object)
}

/// 16 hexadecimal digits of SHA-256 over the canonical JSON (sorted keys, no white space).
pub(crate) fn fingerprint(value: &Value) -> String {
    let digest = Sha256::digest(value.to_string().as_bytes());
    let head = digest
        .iter()
        .take(8)
        .fold(0_u64, |head, byte| (head << 8) | u64::from(*byte));
    format!("{head:016x}")
}

fn stands(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => map_stands(wanted, live),
        _ => false,
    }
}

/// Maps that the API treats as one value: an additional key in one changes its meaning.
const ATOMIC_MAPS: [&str; 4] = ["selector", "matchLabels", "nodeSelector", "labelSelector"];

fn map_stands(wanted: &Map<String, Value>, live: &Map<String, Value>) -> bool {
    wanted.iter().all(|(key, value)| match live.get(key) {
        Some(live) => field_stands(key, value, live),
        None => is_empty(value),
    })
}

fn field_stands(key: &str, wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            (!ATOMIC_MAPS.contains(&key) || wanted.len() == live.len()) && map_stands(wanted, live)
        }
        (Value::Array(wanted), Value::Array(live)) => list_stands(key, wanted, live),
        (Value::String(a), Value::String(b)) => a == b || same_quantity(a, b),
        (a, b) => a == b,
    }
}

/// Lists whose items have a key: other writers may own further items. All other lists are atomic.
fn item_key(list: &str) -> Option<&'static str> {
    match list {
        "containers" | "initContainers" | "env" | "ports" | "volumes" | "imagePullSecrets" => {
            Some("name")
        }
        "topologySpreadConstraints" => Some("topologyKey"),
        "volumeMounts" => Some("mountPath"),
        "ownerReferences" => Some("uid"),
        _ => None,
    }
}

fn list_stands(key: &str, wanted: &[Value], live: &[Value]) -> bool {
    if let Some(id) = item_key(key) {
        return wanted.iter().all(|item| {
            live.iter()
                .any(|other| other.get(id) == item.get(id) && field_stands(key, item, other))
        });
    }
    wanted.len() == live.len()
        && wanted
            .iter()
            .zip(live)
            .all(|(item, other)| field_stands("", item, other))
}

/// The API leaves out what is empty.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Quantities come back normalised: `1000m` as `1`, `1024Mi` as `1Gi`.
fn same_quantity(a: &str, b: &str) -> bool {
    match (quantity(a), quantity(b)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// Thousandths of the unit; none for text that is not a quantity or too large for one.
fn quantity(text: &str) -> Option<u128> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let scale: u128 = match suffix {
        "m" => 1,
        "" => 1_000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "P" => 1_000_000_000_000_000_000,
        "Ki" => 1_000 << 10,
        "Mi" => 1_000 << 20,
        "Gi" => 1_000 << 30,
        "Ti" => 1_000 << 40,
        "Pi" => 1_000 << 50,
        _ => return None,
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let denominator = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let numerator: u128 = format!("{whole}{fraction}").parse().ok()?;
    Some(numerator.checked_mul(scale)?.div_ceil(denominator))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_and_foreign_fields_are_no_difference() {
        let wanted = json!({"spec": {"replicas": 3, "containers": [{"name": "a", "image": "x"}]}});
        let live = json!({
            "spec": {
                "replicas": 3,
                "strategy": {"type": "RollingUpdate"},
                "containers": [{"name": "sidecar"}, {"name": "a", "image": "x", "stdin": false}],
            },
            "status": {},
        });
        assert!(stands(&wanted, &live));
    }

    #[test]
    fn a_changed_or_missing_field_is_a_difference() {
        let wanted = json!({"spec": {"replicas": 3, "paused": false}});
        assert!(!stands(
            &wanted,
            &json!({"spec": {"replicas": 2, "paused": false}})
        ));
        assert!(!stands(&wanted, &json!({"spec": {"replicas": 3}})));
    }

    #[test]
    fn a_further_key_in_a_selector_is_a_difference() {
        let wanted = json!({"spec": {"selector": {"app": "a"}}});
        assert!(!stands(
            &wanted,
            &json!({"spec": {"selector": {"app": "a", "extra": "b"}}})
        ));
    }

    #[test]
    fn a_further_item_of_an_atomic_list_is_a_difference() {
        assert!(!stands(
            &json!({"args": ["a"]}),
            &json!({"args": ["a", "b"]})
        ));
        assert!(!stands(
            &json!({"args": ["a", "b"]}),
            &json!({"args": ["b", "a"]})
        ));
    }

    #[test]
    fn quantities_are_compared_by_amount() {
        for (a, b) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1k", "1000"),
        ] {
            assert!(same_quantity(a, b), "{a} {b}");
        }
        assert!(!same_quantity("1", "2"));
        assert!(!same_quantity("a", "b"));
    }
}

//! Server-side apply on JSON values, as far as one manager's fields and other writers' go.

use serde_json::{Map, Value};

/// Maps that are one value: written whole.
const ATOMIC: [&str; 3] = ["selector", "labelSelector", "nodeSelector"];

/// `live` with `wanted` applied over it by the manager whose previous request was `last`: what that
/// one named and this one does not is removed.
pub(crate) fn apply(live: &mut Value, last: &Value, wanted: &Value) {
    if let (Value::Object(live), Value::Object(wanted)) = (live, wanted) {
        let nothing = Map::new();
        map(live, last.as_object().unwrap_or(&nothing), wanted);
    }
}

fn map(live: &mut Map<String, Value>, last: &Map<String, Value>, wanted: &Map<String, Value>) {
    for (key, old) in last.iter().filter(|(key, _)| !wanted.contains_key(*key)) {
        remove(live, key, old);
    }
    for (key, value) in wanted {
        match live.get_mut(key) {
            Some(slot) => field(key, slot, last.get(key), value),
            None => {
                live.insert(key.clone(), value.clone());
            }
        }
    }
}

fn field(key: &str, live: &mut Value, last: Option<&Value>, wanted: &Value) {
    match (&mut *live, wanted) {
        (Value::Object(live), Value::Object(wanted)) if !ATOMIC.contains(&key) => {
            let nothing = Map::new();
            map(
                live,
                last.and_then(Value::as_object).unwrap_or(&nothing),
                wanted,
            );
        }
        (Value::Array(live), Value::Array(wanted)) if !item_keys(key).is_empty() => {
            list(item_keys(key), live, last, wanted);
        }
        _ => *live = wanted.clone(),
    }
}

fn list(keys: &[&str], live: &mut Vec<Value>, last: Option<&Value>, wanted: &[Value]) {
    let same = |a: &Value, b: &Value| keys.iter().all(|key| a.get(key) == b.get(key));
    let nothing = Vec::new();
    let last = last.and_then(Value::as_array).unwrap_or(&nothing);
    live.retain(|item| {
        let ours = last.iter().any(|old| same(old, item));
        !ours || wanted.iter().any(|new| same(new, item))
    });
    for item in wanted {
        let before = last.iter().find(|old| same(old, item));
        match live.iter_mut().find(|other| same(other, item)) {
            Some(slot) => field("", slot, before, item),
            None => live.push(item.clone()),
        }
    }
}

/// What the manager named before goes; what others put beside it stays.
fn remove(live: &mut Map<String, Value>, key: &str, old: &Value) {
    let emptied = match (live.get_mut(key), old) {
        (Some(Value::Object(live)), Value::Object(old)) if !ATOMIC.contains(&key) => {
            for (key, old) in old {
                remove(live, key, old);
            }
            live.is_empty()
        }
        (Some(Value::Array(live)), Value::Array(_)) if !item_keys(key).is_empty() => {
            list(item_keys(key), live, Some(old), &[]);
            live.is_empty()
        }
        _ => true,
    };
    if emptied {
        live.remove(key);
    }
}

/// Fields that tell the items of a list apart; none for lists that are one value.
fn item_keys(list: &str) -> &'static [&'static str] {
    match list {
        "containers" | "env" | "volumes" | "imagePullSecrets" | "services" | "uses" | "routes" => {
            &["name"]
        }
        "ports" => &["containerPort", "port", "protocol"],
        "volumeMounts" => &["mountPath"],
        "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
        "ownerReferences" => &["uid"],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_are_no_longer_sent_go_and_those_of_others_stay() {
        let mut live = json!({"labels": {"mine": "1", "theirs": "2"}, "replicas": 3});
        let last = json!({"labels": {"mine": "1"}, "replicas": 3});
        apply(&mut live, &last, &json!({"labels": {"new": "4"}}));
        assert_eq!(live, json!({"labels": {"theirs": "2", "new": "4"}}));
    }

    #[test]
    fn items_of_keyed_lists_are_merged_and_selectors_are_replaced() {
        let mut live = json!({
            "selector": {"a": "1", "extra": "2"},
            "containers": [{"name": "sidecar"}, {"name": "main", "image": "x", "stdin": false}],
        });
        let wanted =
            json!({"selector": {"a": "1"}, "containers": [{"name": "main", "image": "y"}]});
        apply(&mut live, &json!({}), &wanted);
        let merged = json!({
            "selector": {"a": "1"},
            "containers": [{"name": "sidecar"}, {"name": "main", "image": "y", "stdin": false}],
        });
        assert_eq!(live, merged);
    }
}

//! The objects that the operator made, in a form that can be compared.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams, TypeMeta},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Map, Value};

use crate::TestNamespace;

/// Carries the UID of the object for which another was made.
const OWNER_LABEL: &str = "orlop.dev/owner";
/// Group, version and kind of all that the operator makes.
const KINDS: [Kind; 12] = [
    ("orlop.dev", "v1alpha1", "AppService"),
    ("orlop.dev", "v1alpha1", "BrokerTier"),
    ("orlop.dev", "v1alpha1", "CacheTier"),
    ("orlop.dev", "v1alpha1", "DatabaseTier"),
    ("orlop.dev", "v1alpha1", "WorkerPool"),
    ("", "v1", "ConfigMap"),
    ("apps", "v1", "ControllerRevision"),
    ("apps", "v1", "Deployment"),
    ("policy", "v1", "PodDisruptionBudget"),
    ("", "v1", "Secret"),
    ("", "v1", "Service"),
    ("apps", "v1", "StatefulSet"),
];

/// Annotations that say when something was written, not what.
const CIRCUMSTANCES: [&str; 2] = [
    "deployment.kubernetes.io/revision",
    "orlop.dev/owner-version",
];

type Kind = (&'static str, &'static str, &'static str);

/// Kind and name: unique in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    kind: Kind,
    pub name: String,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind(), self.name)
    }
}

impl Identity {
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind.2
    }

    /// The objects of this kind in a namespace.
    #[must_use]
    pub fn api(&self, namespace: &TestNamespace) -> Api<DynamicObject> {
        api(namespace, self.kind)
    }
}

fn api(namespace: &TestNamespace, (group, version, kind): Kind) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    Api::namespaced_with(namespace.client(), namespace.name(), &resource)
}

/// Everything in the namespace that carries the operator's mark.
///
/// # Errors
/// When the API server does not answer.
pub async fn made(namespace: &TestNamespace) -> Result<BTreeMap<Identity, DynamicObject>> {
    let list = ListParams::default().labels(OWNER_LABEL);
    let mut made = BTreeMap::new();
    for kind in KINDS {
        for mut object in api(namespace, kind).list(&list).await? {
            // The items of a list do not say their kind.
            let (group, version, kind_name) = kind;
            object.types = Some(TypeMeta {
                api_version: GroupVersionKind::gvk(group, version, kind_name).api_version(),
                kind: kind_name.to_owned(),
            });
            let name = object.name_any();
            let identity = Identity { kind, name };
            made.insert(identity, object);
        }
    }
    Ok(made)
}

/// What of an object is its maker's word: without what the API server and other controllers add.
///
/// # Errors
/// None in practice: an object is JSON.
pub fn normalised(object: &DynamicObject) -> Result<Value> {
    let mut value = serde_json::to_value(object)?;
    remove(&mut value, &["status"]);
    for field in [
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
    ] {
        remove(&mut value, &["metadata", field]);
    }
    for field in ["clusterIP", "clusterIPs"] {
        remove(&mut value, &["spec", field]);
    }
    for annotation in CIRCUMSTANCES {
        remove(&mut value, &["metadata", "annotations", annotation]);
    }
    Ok(value)
}

fn remove(value: &mut Value, path: &[&str]) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let parent = parents
        .iter()
        .try_fold(value, |value, key| value.get_mut(*key))
        .and_then(Value::as_object_mut);
    if let Some(fields) = parent {
        Map::remove(fields, *last);
    }
}

/// Where two values differ, for people: a line a place.
#[must_use]
pub fn differences(wanted: &Value, found: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    compare("", wanted, found, &mut differences);
    differences
}

fn compare(path: &str, wanted: &Value, found: &Value, differences: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let [a, b] = [a, b].map(|fields| fields.get(key).unwrap_or(&Value::Null));
                compare(&format!("{path}/{key}"), a, b, differences);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}/{index}"), a, b, differences);
            }
        }
        (a, b) if a != b => differences.push(format!("{path} is {b}, not {a}")),
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_name_the_place_and_both_values() {
        let wanted = json!({"spec": {"ports": [{"port": 7}]}, "kind": "Quay"});
        let found = json!({"spec": {"ports": [{"port": 8}], "slip": true}, "kind": "Quay"});
        assert_eq!(
            differences(&wanted, &found),
            [
                "/spec/ports/0/port is 8, not 7",
                "/spec/slip is true, not null"
            ]
        );
    }
}

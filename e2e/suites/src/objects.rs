//! The objects that the operator made, in a form that can be compared.

use std::collections::BTreeMap;

use anyhow::Result;
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Map, Value};

use crate::TestNamespace;

/// Carries the UID of the object for which another was made.
const OWNER_LABEL: &str = "orlop.dev/owner";
/// Group, version and kind of all that the operator makes.
const KINDS: [Kind; 6] = [
    ("orlop.dev", "v1alpha1", "AppService"),
    ("", "v1", "ConfigMap"),
    ("apps", "v1", "ControllerRevision"),
    ("apps", "v1", "Deployment"),
    ("policy", "v1", "PodDisruptionBudget"),
    ("", "v1", "Service"),
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
        for object in api(namespace, kind).list(&list).await? {
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
    remove(
        &mut value,
        &[
            "metadata",
            "annotations",
            "deployment.kubernetes.io/revision",
        ],
    );
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

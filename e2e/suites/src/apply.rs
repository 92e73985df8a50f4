//! Writing what a developer writes.

use std::path::Path;

use anyhow::{Context as _, Result};
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
    discovery,
};
use serde_json::Value;

use crate::TestNamespace;

/// The field manager of a person with an editor.
const DEVELOPER: &str = "developer";

/// The documents of a YAML file below the workspace's root.
///
/// # Errors
/// When the file cannot be read or is no YAML.
pub fn documents(path: &str) -> Result<Vec<Value>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("failed to read {}", file.display()))?;
    serde_saphyr::from_multiple(&text).with_context(|| format!("{path} is not YAML"))
}

/// The one document of a fixture.
///
/// # Errors
/// When it cannot be read or is not one document.
pub fn fixture(name: &str) -> Result<Value> {
    let path = format!("e2e/suites/fixtures/{name}.yaml");
    documents(&path)?
        .pop()
        .with_context(|| format!("{path} is empty"))
}

/// The object with another value at a JSON pointer, whose parent must exist.
///
/// # Errors
/// When it does not.
pub fn with(mut object: Value, pointer: &str, value: Value) -> Result<Value> {
    let (parent, field) = pointer
        .rsplit_once('/')
        .context("a pointer begins with '/'")?;
    let missing = || format!("{parent} is not in the object");
    match object.pointer_mut(parent).with_context(missing)? {
        Value::Object(fields) => {
            fields.insert(field.to_owned(), value);
        }
        Value::Array(items) => {
            let item = items.get_mut(field.parse::<usize>()?);
            *item.with_context(missing)? = value;
        }
        _ => anyhow::bail!(missing()),
    }
    Ok(object)
}

impl TestNamespace {
    /// Where objects of this one's kind live, and the object itself.
    ///
    /// # Errors
    /// When the API server does not know its kind.
    pub async fn api_of(&self, object: &Value) -> Result<(Api<DynamicObject>, DynamicObject)> {
        let parsed: DynamicObject = serde_json::from_value(object.clone())?;
        let types = parsed.types.as_ref().context("an object names its kind")?;
        let kind = GroupVersionKind::try_from(types)?;
        let (resource, _) = discovery::pinned_kind(&self.client(), &kind).await?;
        let api = Api::namespaced_with(self.client(), self.name(), &resource);
        Ok((api, parsed))
    }

    /// Server-side apply of one object, as a developer.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn apply(&self, object: &Value) -> Result<DynamicObject> {
        let (api, parsed) = self.api_of(object).await?;
        let name = parsed.name_any();
        let parameters = PatchParams::apply(DEVELOPER).force();
        api.patch(&name, &parameters, &Patch::Apply(object))
            .await
            .with_context(|| format!("failed to apply {name}"))
    }
}

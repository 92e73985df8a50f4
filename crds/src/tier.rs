//! What the kinds that keep data share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of the data and its credentials when the object is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum DeletionPolicy {
    /// Both stay, and an object of the same name adopts them.
    #[default]
    Keep,
    /// Both are deleted with the object.
    Delete,
}

/// The Secret with which a component is reached, after the Service Binding for Kubernetes
/// specification: `type`, `provider`, `host`, `port`, `username`, `password`, `uri`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BindingReference {
    /// Name of the Secret.
    pub name: String,
}

impl BindingReference {
    /// The binding of the tier called `tier`: by convention, so that a user need not ask for it.
    #[must_use]
    pub fn of(tier: &str) -> Self {
        Self {
            name: format!("{tier}-binding"),
        }
    }
}

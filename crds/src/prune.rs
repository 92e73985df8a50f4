//! A deletion that was decided and is being carried out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One incarnation of an object that is being deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PruneRecord {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its UID: a later object of the same name is not meant.
    pub uid: String,
}

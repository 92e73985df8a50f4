//! The API that Orlop ships: declared types, kept in a database and served over HTTP.

use orlop_contract::types::{TYPES_MAX, Type};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// What an API keeps and serves. Within an application the names are those of components.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Api {
    /// The DatabaseTier in which everything is kept.
    #[schemars(length(min = 1, max = 52), regex(pattern = rules::LABEL))]
    pub database: String,

    /// The CacheTier in which types with `cache` are looked up first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 52), regex(pattern = rules::LABEL))]
    pub cache: Option<String>,

    /// Path before every collection, such as `/api`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 100), regex(pattern = rules::BASE_PATH))]
    pub base_path: Option<String>,

    /// What is kept and served.
    #[schemars(
        length(min = 1, max = TYPES_MAX),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub types: Vec<Type>,
}

impl Api {
    /// The brokers that events are published to, each once and in order. A broker that is left out
    /// is not among them.
    #[must_use]
    pub fn brokers(&self) -> Vec<&str> {
        let mut brokers: Vec<&str> = self
            .types
            .iter()
            .flat_map(|declared| &declared.events)
            .filter_map(|event| event.publish.broker.as_deref())
            .collect();
        brokers.sort_unstable();
        brokers.dedup();
        brokers
    }

    /// Whether any change publishes a job.
    #[must_use]
    pub fn has_events(&self) -> bool {
        self.types
            .iter()
            .any(|declared| !declared.events.is_empty())
    }
}

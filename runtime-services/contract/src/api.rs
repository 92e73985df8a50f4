//! How `orlop-api` is configured: JSON at [`CONFIG_PATH`].

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{Model, Problem, Type, validate};

/// Where the configuration is mounted.
pub const CONFIG_PATH: &str = "/etc/orlop/api/api.json";
/// Where the API is served.
pub const PORT: u16 = 8080;
/// Address of the database: `postgres://user:password@host:port/database`. Needed.
pub const DATABASE_URL: &str = "DATABASE_URL";
/// Address of one cache, or of any node of a cluster: `redis://user:password@host:port`.
pub const REDIS_URL: &str = "REDIS_URL";
/// Addresses of a cluster's nodes, `host:port` with commas between them; the credentials are those
/// of [`REDIS_URL`].
pub const REDIS_NODES: &str = "REDIS_NODES";
/// Address of the broker, needed where an event is declared: `amqp://user:password@host:port/vhost`.
pub const AMQP_URL: &str = "AMQP_URL";

/// The configuration of one API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiConfig {
    /// What the API is called, in logs and in its description.
    pub name: String,
    /// Path before every collection, `/api`; empty for none. Starts with a slash, ends without.
    #[serde(default)]
    pub base_path: String,
    /// Schema of the database that the tables lie in; made when it does not exist.
    pub schema: String,
    /// What is served.
    pub types: Vec<Type>,
    /// Classes of the cache. Empty where there is no cache.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache_classes: Vec<CacheClass>,
    /// Bounds of requests and of what they use.
    #[serde(default)]
    pub limits: ApiLimits,
}

/// How long entries of one class live.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CacheClass {
    /// Its name, to which types refer.
    pub name: String,
    /// What its keys begin with: `product:`.
    pub prefix: String,
    /// How long an entry lives at most.
    pub ttl_seconds: u32,
}

/// Bounds of requests and of what they use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ApiLimits {
    /// Longest body of a request, in bytes; a longer one is answered 413.
    pub body_bytes: u32,
    /// How long a request may take; afterwards it is answered 503.
    pub request_millis: u32,
    /// How long one SQL statement may take.
    pub statement_millis: u32,
    /// Connections to the database of one replica.
    pub connections: u16,
    /// How long a stopping replica waits for requests under way.
    pub drain_seconds: u16,
    /// How long the answer to an `Idempotency-Key` is kept.
    pub idempotency_hours: u16,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            // A thing has at most 48 fields, most of them short.
            body_bytes: 256 * 1024,
            // Shorter than the patience of most clients: a hung database is told, not felt.
            request_millis: 5_000,
            statement_millis: 4_000,
            // Two replicas and a release beside them stay below PostgreSQL's usual 100.
            connections: 10,
            drain_seconds: 20,
            idempotency_hours: 24,
        }
    }
}

impl ApiConfig {
    /// Checks all of it.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn validate(&self) -> Result<Model, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut add = |path: String, message: &str| {
            problems.push(Problem {
                path,
                message: message.to_owned(),
            });
        };
        if !is_base_path(&self.base_path) {
            add(
                "basePath".into(),
                "must be empty, or segments of lower-case letters, digits and dashes like `/api`",
            );
        }
        if !is_schema(&self.schema) {
            add(
                "schema".into(),
                "must be at most 60 lower-case letters, digits and underscores and start with a letter, not with `pg_`",
            );
        }
        let mut names = BTreeSet::new();
        for class in &self.cache_classes {
            let path = format!("cacheClasses[{}]", class.name);
            if !names.insert(class.name.as_str()) {
                add(path.clone(), "stands there twice");
            }
            if class.prefix.is_empty() || class.ttl_seconds == 0 {
                add(path, "needs a prefix and a TTL of at least a second");
            }
        }
        for declared in &self.types {
            // Without classes there is no cache, and every type is read from the database.
            if let Some(cache) = &declared.cache
                && !names.is_empty()
                && !names.contains(cache.class.as_str())
            {
                add(
                    format!("types[{}].cache.class", declared.name),
                    "the cache has no such class",
                );
            }
        }
        match validate(&self.types) {
            Ok(model) if problems.is_empty() => Ok(model),
            Ok(_) => Err(problems),
            Err(found) => {
                problems.extend(found);
                Err(problems)
            }
        }
    }
}

fn is_base_path(path: &str) -> bool {
    let Some(segments) = path.strip_prefix('/') else {
        return path.is_empty();
    };
    path.len() <= 100
        && segments.split('/').all(|segment| {
            !segment.is_empty()
                && segment
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        })
}

fn is_schema(schema: &str) -> bool {
    schema.len() <= 60
        && !schema.starts_with("pg_")
        && schema.starts_with(|first: char| first.is_ascii_lowercase())
        && schema
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(base_path: &str) -> ApiConfig {
        ApiConfig {
            name: "harbour".into(),
            base_path: base_path.into(),
            schema: "harbour".into(),
            types: Vec::new(),
            cache_classes: Vec::new(),
            limits: ApiLimits::default(),
        }
    }

    #[test]
    fn a_base_path_is_empty_or_whole_segments() {
        for good in ["", "/api", "/shop/api-2"] {
            assert_eq!(config(good).validate().err(), None, "{good}");
        }
        for bad in ["/", "api", "/api/", "//", "/{id}", "/a b"] {
            assert_eq!(
                config(bad).validate().unwrap_err()[0].path,
                "basePath",
                "{bad}"
            );
        }
    }

    #[test]
    fn a_class_that_the_cache_does_not_have_is_refused() {
        let mut config = config("");
        config.types = vec![Type {
            name: "Boat".into(),
            cache: Some(crate::types::TypeCache {
                class: "boats".into(),
            }),
            ..Type::default()
        }];
        assert!(
            config.validate().is_ok(),
            "without a cache it means nothing"
        );
        config.cache_classes = vec![CacheClass {
            name: "crews".into(),
            prefix: "crew:".into(),
            ttl_seconds: 60,
        }];
        let problems = config.validate().unwrap_err();
        assert_eq!(
            problems[0].to_string(),
            "types[Boat].cache.class: the cache has no such class"
        );
    }
}

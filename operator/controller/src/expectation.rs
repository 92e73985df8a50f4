//! Reading what was written: after a pass the caches lag behind its own writes for a moment.
//!
//! Planning from the old world again would send the same writes again; the versions they name would
//! make them conflict, so no harm would be done, only noise. A pass therefore waits until the
//! caches show what the last one wrote.

use std::time::Duration;

use tokio::time::Instant;

use crate::{act::Effect, cache::Caches, key::ObjectKey, primary::Primary};

/// How long the caches may lag before a pass is made nevertheless: a watch that works delivers
/// within milliseconds, one that was cut is back within seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the caches must show before the next pass over an object.
#[derive(Debug)]
pub(crate) struct Expectation {
    effects: Vec<Effect>,
    /// Version that writing the status gave the object itself.
    status: Option<u64>,
    pub(crate) until: Instant,
}

impl Expectation {
    pub(crate) fn new(effects: Vec<Effect>, status: Option<u64>) -> Self {
        Self {
            effects,
            status,
            until: Instant::now() + PATIENCE,
        }
    }

    /// Whether the wait is over.
    pub(crate) fn is_met<P: Primary>(&self, key: &ObjectKey, caches: &Caches) -> bool {
        let seen = |effect: &Effect| match effect {
            Effect::Applied { kind, version } => caches.has_seen(*kind, &key.namespace, *version),
            Effect::Deleted { kind, key, uid } => caches.is_gone(*kind, key, uid),
        };
        let status = self.status;
        let reported =
            status.is_none_or(|version| P::store(caches).has_seen(&key.namespace, version));
        Instant::now() >= self.until || (reported && self.effects.iter().all(seen))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use orlop_crds::AppPlatform;
    use orlop_plan::Kind;
    use serde_json::json;

    use super::*;

    fn config_map(uid: &str, version: &str) -> ConfigMap {
        let metadata = json!({
            "namespace": "harbour", "name": "rope", "uid": uid, "resourceVersion": version
        });
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey {
            namespace: "harbour".to_owned(),
            name: name.to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_is_expected_until_the_cache_has_its_version() {
        let caches = Caches::default();
        let effects = vec![Effect::Applied {
            kind: Kind::ConfigMap,
            version: 7,
        }];
        let expectation = Expectation::new(effects, None);
        caches.config_maps.apply(config_map("u", "6"));
        assert!(!expectation.is_met::<AppPlatform>(&key("fleet"), &caches));
        caches.config_maps.apply(config_map("u", "7"));
        assert!(expectation.is_met::<AppPlatform>(&key("fleet"), &caches));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deletion_is_expected_until_that_incarnation_is_gone() {
        let caches = Caches::default();
        let uid = "old".to_owned();
        let effects = vec![Effect::Deleted {
            kind: Kind::ConfigMap,
            key: key("rope"),
            uid,
        }];
        let expectation = Expectation::new(effects, None);
        caches.config_maps.apply(config_map("old", "6"));
        assert!(!expectation.is_met::<AppPlatform>(&key("fleet"), &caches));
        caches.config_maps.apply(config_map("new", "9"));
        assert!(expectation.is_met::<AppPlatform>(&key("fleet"), &caches));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_waited_for_only_so_long() {
        let expectation = Expectation::new(Vec::new(), Some(7));
        assert!(!expectation.is_met::<AppPlatform>(&key("fleet"), &Caches::default()));
        tokio::time::advance(PATIENCE).await;
        assert!(expectation.is_met::<AppPlatform>(&key("fleet"), &Caches::default()));
    }
}

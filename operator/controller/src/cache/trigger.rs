//! Whom a change concerns.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use orlop_crds::{AppService, WorkerPool};
use orlop_plan::{Kind, ObjectName};

use super::{Caches, owner, store::Change};
use crate::{
    key::ObjectKey,
    metrics::Metrics,
    primary::{Primary, PrimaryKind},
    queue::Queue,
};

/// The queue of each controller.
#[derive(Debug)]
pub(crate) struct Queues(HashMap<PrimaryKind, Arc<Queue>>);

impl Queues {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let queue = |kind: &PrimaryKind| Arc::new(Queue::new(kind.controller(), metrics));
        let all = PrimaryKind::ALL.iter();
        Self(all.map(|kind| (*kind, queue(kind))).collect())
    }

    pub(crate) fn of(&self, kind: PrimaryKind) -> &Arc<Queue> {
        &self.0[&kind]
    }

    fn add_owners(&self, metadata: &ObjectMeta) {
        for (kind, key) in owner::keys(metadata) {
            self.of(kind).add(key);
        }
    }
}

/// An object that was made for another one.
pub(super) fn dependent_changed<T: Resource<DynamicType = ()>>(
    change: &Change<T>,
    _caches: &Caches,
    queues: &Queues,
) {
    for state in change.states() {
        queues.add_owners(state.meta());
    }
}

/// An object that has a pass of its own.
pub(super) fn primary_changed<P: Primary>(change: &Change<P>, _caches: &Caches, queues: &Queues) {
    if let Some(state) = change.states().next() {
        queues.of(P::KIND).add(ObjectKey::of(state.meta()));
    }
}

/// A component: it has a pass of its own, may be made for an AppPlatform, and is referred to by others
/// of its namespace, to whom its existence and its spec matter, but not its status.
pub(super) fn component_changed<P: Primary>(change: &Change<P>, caches: &Caches, queues: &Queues) {
    primary_changed(change, caches, queues);
    dependent_changed(change, caches, queues);
    let Some(state) = change.states().next().filter(|_| change.is_of_spec()) else {
        return;
    };
    let Some(kind) = Kind::parse(P::KIND.as_str()) else {
        return;
    };
    let changed = ObjectKey::of(state.meta());
    let target = ObjectName::new(kind, &changed.name);
    wake_referrers::<AppService>(&changed.namespace, &target, caches, queues);
    wake_referrers::<WorkerPool>(&changed.namespace, &target, caches, queues);
}

fn wake_referrers<P: Primary>(
    namespace: &str,
    target: &ObjectName,
    caches: &Caches,
    queues: &Queues,
) {
    for other in P::store(caches).in_namespace(namespace) {
        if other.references().contains(target) {
            queues.of(P::KIND).add(ObjectKey::of(other.meta()));
        }
    }
}

#[cfg(test)]
mod tests {
    use orlop_plan::labels;
    use serde_json::json;

    use super::*;

    fn service(name: &str, uses: &[&str]) -> AppService {
        let uses: Vec<_> = uses
            .iter()
            .map(|name| json!({"name": name, "service": {"name": name}}))
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "orlop.dev/v1alpha1",
            "kind": "AppService",
            "metadata": {"namespace": "harbour", "name": name, "resourceVersion": "1"},
            "spec": {"image": "rope:1", "port": 80, "uses": uses},
        }))
        .unwrap()
    }

    async fn drain(queues: &Queues, kind: PrimaryKind) -> Vec<String> {
        let mut names = Vec::new();
        let queue = queues.of(kind);
        while let Ok(Some(key)) =
            tokio::time::timeout(std::time::Duration::ZERO, queue.next()).await
        {
            queue.done(&key);
            names.push(key.name);
        }
        names.sort();
        names
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_comes_wakes_those_that_use_it() {
        let (caches, queues) = (Caches::default(), Queues::new(&Metrics::new()));
        caches.app_services.apply(service("mast", &["rope"]));
        caches.app_services.apply(service("hull", &[]));
        let change = caches.app_services.apply(service("rope", &[]));
        component_changed(&change, &caches, &queues);
        assert_eq!(
            drain(&queues, PrimaryKind::AppService).await,
            ["mast", "rope"]
        );
        let change = caches.app_services.apply(service("rope", &[]));
        component_changed(&change, &caches, &queues);
        assert_eq!(drain(&queues, PrimaryKind::AppService).await, ["rope"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_loses_its_labels_wakes_the_owner_it_had() {
        let (caches, queues) = (Caches::default(), Queues::new(&Metrics::new()));
        let mut child = service("fleet-mast", &[]);
        child.metadata.labels = Some(
            [
                (labels::OWNER_KIND, "AppPlatform"),
                (labels::OWNER_NAME, "fleet"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        );
        caches.app_services.apply(child.clone());
        child.metadata.labels = None;
        let change = caches.app_services.apply(child);
        component_changed(&change, &caches, &queues);
        assert_eq!(drain(&queues, PrimaryKind::AppPlatform).await, ["fleet"]);
    }
}

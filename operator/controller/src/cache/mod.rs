//! What the operator knows of the cluster: one watch a kind, kept in memory.
//!
//! Only what a pass reads is watched and kept: of our own kinds everything, of the others what
//! carries our label, of pods their labels and status. Secrets are never read.
//!
//! Each change is told to the queue of whom it concerns: the object itself if it is of our kinds,
//! its owners before and after the change (so that losing its labels, which looks like a deletion
//! to a watch that selects by them, reaches the owner that is remembered), and those that refer to
//! it when it comes or goes.

mod owner;
mod pause;
mod store;
mod trigger;
mod watch;

use std::sync::Arc;

use futures::{FutureExt as _, future::BoxFuture};
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment, StatefulSet},
    core::v1::{ConfigMap, Pod, Service},
    discovery::v1::EndpointSlice,
    policy::v1::PodDisruptionBudget,
};
use kube::Client;
use orlop_crds::{AppPlatform, AppService, BrokerTier, CacheTier, DatabaseTier, WorkerPool};
use orlop_plan::{Kind, Object};
use tokio::{sync::watch as channel, task::JoinSet};

pub(crate) use self::{
    owner::uids as owner_uids, store::Store, trigger::Queues, watch::LIFETIME as WATCH_LIFETIME,
};
use self::{
    trigger::{component_changed, dependent_changed, primary_changed},
    watch::{Selection, Watch, strip_pod},
};
use crate::{key::ObjectKey, metrics::Metrics};

/// The kinds that are watched, as they were last seen.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    pub(crate) app_platforms: Store<AppPlatform>,
    pub(crate) app_services: Store<AppService>,
    pub(crate) broker_tiers: Store<BrokerTier>,
    pub(crate) cache_tiers: Store<CacheTier>,
    pub(crate) config_maps: Store<ConfigMap>,
    pub(crate) controller_revisions: Store<ControllerRevision>,
    pub(crate) database_tiers: Store<DatabaseTier>,
    pub(crate) deployments: Store<Deployment>,
    pub(crate) endpoint_slices: Store<EndpointSlice>,
    pub(crate) pods: Store<Pod>,
    pub(crate) pod_disruption_budgets: Store<PodDisruptionBudget>,
    pub(crate) services: Store<Service>,
    pub(crate) stateful_sets: Store<StatefulSet>,
    pub(crate) worker_pools: Store<WorkerPool>,
}

/// Does the same with the store of a kind, whichever it is. Secrets have none: they may be read by
/// their name only, and every pass reads those it needs anew.
macro_rules! with_store {
    ($caches:expr, $kind:expr, |$store:ident| $then:expr, else $otherwise:expr) => {
        with_store!(@ $caches, $kind, $store, $then, $otherwise;
            AppService: app_services,
            BrokerTier: broker_tiers,
            CacheTier: cache_tiers,
            ConfigMap: config_maps,
            ControllerRevision: controller_revisions,
            DatabaseTier: database_tiers,
            Deployment: deployments,
            PodDisruptionBudget: pod_disruption_budgets,
            Service: services,
            StatefulSet: stateful_sets,
            WorkerPool: worker_pools,
        )
    };
    (@ $caches:expr, $kind:expr, $store:ident, $then:expr, $otherwise:expr;
        $($named:ident: $field:ident,)*) => {
        match $kind {
            $(Kind::$named => {
                let $store = &$caches.$field;
                $then
            })*
            Kind::Secret => $otherwise,
        }
    };
}

impl Caches {
    /// Copies of the objects of a kind that carry the UID as their owner's.
    pub(crate) fn children(&self, kind: Kind, uid: &str) -> Vec<Object> {
        fn copies<T: kube::Resource<DynamicType = ()> + Clone + Into<Object>>(
            store: &Store<T>,
            uid: &str,
        ) -> Vec<Object> {
            store
                .owned_by(uid)
                .iter()
                .map(|object| T::clone(object).into())
                .collect()
        }
        with_store!(self, kind, |store| copies(store, uid), else Vec::new())
    }

    /// Whether everything of this kind has been seen that happened in the namespace up to this
    /// version.
    pub(crate) fn has_seen(&self, kind: Kind, namespace: &str, version: u64) -> bool {
        with_store!(self, kind, |store| store.has_seen(namespace, version), else true)
    }

    /// Whether this incarnation is neither seen any more nor seen as alive.
    pub(crate) fn is_gone(&self, kind: Kind, key: &ObjectKey, uid: &str) -> bool {
        fn gone<T: kube::Resource<DynamicType = ()>>(
            store: &Store<T>,
            key: &ObjectKey,
            uid: &str,
        ) -> bool {
            store.get(key).is_none_or(|object| {
                let metadata = object.meta();
                metadata.uid.as_deref() != Some(uid) || metadata.deletion_timestamp.is_some()
            })
        }
        with_store!(self, kind, |store| gone(store, key, uid), else true)
    }

    pub(crate) fn contains(&self, kind: Kind, key: &ObjectKey) -> bool {
        with_store!(self, kind, |store| store.get(key).is_some(), else false)
    }
}

/// The watches that fill the caches, as tasks.
pub(crate) struct Watches {
    listed: Vec<channel::Receiver<bool>>,
    tasks: JoinSet<()>,
}

/// What the watches need.
pub(crate) struct WatchContext {
    pub(crate) client: Client,
    pub(crate) caches: Arc<Caches>,
    pub(crate) queues: Arc<Queues>,
    pub(crate) metrics: Metrics,
}

impl Watches {
    /// Starts one watch a kind and namespace (a kind, when no namespace is named).
    pub(crate) fn start(context: &WatchContext, namespaces: &[String]) -> Self {
        let mut watches = Self {
            listed: Vec::new(),
            tasks: JoinSet::new(),
        };
        let scopes: Vec<Option<String>> = match namespaces {
            [] => vec![None],
            named => named.iter().cloned().map(Some).collect(),
        };
        for scope in scopes {
            watches.start_in(context, scope.as_deref());
        }
        watches
    }

    fn start_in(&mut self, context: &WatchContext, namespace: Option<&str>) {
        use Selection::{All, Ours};
        self.spawn(Watch::new(
            context,
            namespace,
            All,
            |c| &c.app_platforms,
            primary_changed,
        ));
        self.spawn(Watch::new(
            context,
            namespace,
            All,
            |c| &c.app_services,
            component_changed,
        ));
        self.spawn(Watch::new(
            context,
            namespace,
            All,
            |c| &c.broker_tiers,
            component_changed,
        ));
        self.spawn(Watch::new(
            context,
            namespace,
            All,
            |c| &c.cache_tiers,
            component_changed,
        ));
        self.spawn(Watch::new(
            context,
            namespace,
            All,
            |c| &c.database_tiers,
            component_changed,
        ));
        self.spawn(Watch::new(
            context,
            namespace,
            All,
            |c| &c.worker_pools,
            component_changed,
        ));
        self.spawn(Watch::new(
            context,
            namespace,
            Ours,
            |c| &c.config_maps,
            dependent_changed,
        ));
        self.spawn(Watch::new(
            context,
            namespace,
            Ours,
            |c| &c.controller_revisions,
            dependent_changed,
        ));
        self.spawn(Watch::new(
            context,
            namespace,
            Ours,
            |c| &c.deployments,
            dependent_changed,
        ));
        // They carry the labels of their Service.
        self.spawn(Watch::new(
            context,
            namespace,
            Ours,
            |c| &c.endpoint_slices,
            dependent_changed,
        ));
        self.spawn(
            Watch::new(context, namespace, Ours, |c| &c.pods, dependent_changed)
                .stripped(strip_pod),
        );
        self.spawn(Watch::new(
            context,
            namespace,
            Ours,
            |c| &c.pod_disruption_budgets,
            dependent_changed,
        ));
        self.spawn(Watch::new(
            context,
            namespace,
            Ours,
            |c| &c.services,
            dependent_changed,
        ));
        self.spawn(Watch::new(
            context,
            namespace,
            Ours,
            |c| &c.stateful_sets,
            dependent_changed,
        ));
    }

    fn spawn<T: watch::Watched>(&mut self, watch: Watch<T>) {
        self.listed.push(watch.listed());
        self.tasks.spawn(watch.run());
    }

    /// Waits until everything has been listed once.
    pub(crate) fn synced(&self) -> BoxFuture<'static, ()> {
        let listed = self.listed.clone();
        async move {
            for mut listed in listed {
                // A sender that is gone is a watch that has ended, which `ended` tells.
                if listed.wait_for(|listed| *listed).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
        .boxed()
    }

    /// Waits until a watch ends, which none does by itself.
    pub(crate) async fn ended(&mut self) {
        self.tasks.join_next().await;
    }
}

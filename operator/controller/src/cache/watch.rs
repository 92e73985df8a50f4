//! One watch: list, follow, keep, tell.

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::BoxStream};
use k8s_openapi::{
    NamespaceResourceScope, api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use orlop_plan::labels;
use serde::de::DeserializeOwned;
use tokio::sync::watch as channel;

use super::{
    Caches, Queues, WatchContext,
    pause::Pause,
    store::{Change, Store},
};
use crate::{
    causes::Causes,
    key::ObjectKey,
    metrics::{KindLabel, Metrics},
};

/// Objects a page of the first list: a page of large pods is well under a megabyte.
const PAGE: u32 = 100;
/// A watch is renewed so often, from where it was. A connection that died without a word is
/// noticed then, so no change is missed for longer.
pub(crate) const LIFETIME: Duration = Duration::from_mins(1);

/// The answer to a watch from a version that the server no longer has.
const GONE: u16 = 410;

/// A kind that can be watched.
pub(super) trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<T> Watched for T where
    T: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// Which objects of a kind are watched.
#[derive(Clone, Copy, Debug)]
pub(super) enum Selection {
    All,
    /// Those that carry our label.
    Ours,
}

/// See the module.
pub(super) struct Watch<T: 'static> {
    client: Client,
    namespace: Option<String>,
    selection: Selection,
    caches: Arc<Caches>,
    store: fn(&Caches) -> &Store<T>,
    queues: Arc<Queues>,
    concerns: fn(&Change<T>, &Caches, &Queues),
    strip: fn(&mut T),
    metrics: Metrics,
    listed: channel::Sender<bool>,
}

impl<T: Watched> Watch<T> {
    pub(super) fn new(
        context: &WatchContext,
        namespace: Option<&str>,
        selection: Selection,
        store: fn(&Caches) -> &Store<T>,
        concerns: fn(&Change<T>, &Caches, &Queues),
    ) -> Self {
        let WatchContext {
            client,
            caches,
            queues,
            metrics,
        } = context;
        Self {
            client: client.clone(),
            namespace: namespace.map(str::to_owned),
            selection,
            caches: Arc::clone(caches),
            store,
            queues: Arc::clone(queues),
            concerns,
            strip: |_| (),
            metrics: metrics.clone(),
            listed: channel::Sender::new(false),
        }
    }

    /// Takes away what is not to be kept of an object.
    pub(super) fn stripped(self, strip: fn(&mut T)) -> Self {
        Self { strip, ..self }
    }

    /// Becomes true once everything has been listed.
    pub(super) fn listed(&self) -> channel::Receiver<bool> {
        self.listed.subscribe()
    }

    /// Watches for ever.
    pub(super) async fn run(self) {
        let mut events = self.events();
        let mut list = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => list.clear(),
                Ok(Event::InitApply(object)) => list.extend(self.decoded(object)),
                Ok(Event::InitDone) => self.replace(std::mem::take(&mut list)),
                Ok(Event::Apply(object)) => self.apply(object),
                Ok(Event::Delete(object)) => self.remove(&object),
                Err(error) => self.broke(&error),
            }
        }
    }

    fn events(&self) -> BoxStream<'static, watcher::Result<Event<DeserializeGuard<T>>>> {
        let api: Api<DeserializeGuard<T>> = match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let config = watcher::Config::default().page_size(PAGE);
        let config = config.timeout(u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX));
        let config = match self.selection {
            Selection::All => config,
            Selection::Ours => config.labels(&format!("{}={}", labels::MANAGED_BY, labels::ORLOP)),
        };
        watcher(api, config).backoff(Pause::new()).boxed()
    }

    fn replace(&self, list: Vec<T>) {
        for change in self.store().replace(self.namespace.as_deref(), list) {
            self.tell(&change);
        }
        self.listed.send_replace(true);
    }

    fn apply(&self, object: DeserializeGuard<T>) {
        let key = ObjectKey::of(object.meta());
        match self.decoded(object) {
            Some(object) => self.tell(&self.store().apply(object)),
            // What it has become cannot be known: it is left alone until it can be read again.
            None => self.tell(&self.store().forget(&key)),
        }
    }

    fn remove(&self, object: &DeserializeGuard<T>) {
        self.tell(&self.store().remove(object.meta()));
    }

    fn decoded(&self, DeserializeGuard(object): DeserializeGuard<T>) -> Option<T> {
        match object {
            Ok(mut object) => {
                object.meta_mut().managed_fields = None;
                (self.strip)(&mut object);
                Some(object)
            }
            Err(error) => {
                self.metrics.undecodable.get_or_create(&Self::label()).inc();
                tracing::error!(
                    kind = %T::kind(&()),
                    object = %ObjectKey::of(&error.metadata),
                    resource_version = error.metadata.resource_version,
                    error = error.error,
                    "failed to read an object, it is left alone until it changes",
                );
                None
            }
        }
    }

    /// The stream starts again by itself, after a growing delay.
    fn broke(&self, error: &watcher::Error) {
        if matches!(error, watcher::Error::WatchError(status) if status.code == GONE) {
            tracing::debug!(kind = %T::kind(&()), "the watch fell behind and lists anew");
            return;
        }
        self.metrics
            .watch_errors
            .get_or_create(&Self::label())
            .inc();
        tracing::warn!(
            kind = %T::kind(&()),
            namespace = self.namespace,
            error = %Causes(error),
            "failed to watch; check that the CustomResourceDefinitions are installed and that \
             the operator's role may list and watch this kind",
        );
    }

    fn label() -> KindLabel {
        KindLabel {
            kind: T::kind(&()).into_owned(),
        }
    }

    fn tell(&self, change: &Change<T>) {
        (self.concerns)(change, &self.caches, &self.queues);
    }

    fn store(&self) -> &Store<T> {
        (self.store)(&self.caches)
    }
}

/// Keeps of a pod what tells whose it is and how it fares.
pub(super) fn strip_pod(pod: &mut Pod) {
    let metadata = std::mem::take(&mut pod.metadata);
    pod.metadata = ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        resource_version: metadata.resource_version,
        creation_timestamp: metadata.creation_timestamp,
        deletion_timestamp: metadata.deletion_timestamp,
        labels: metadata.labels,
        ..ObjectMeta::default()
    };
    pod.spec = None;
}

#[cfg(test)]
mod tests;

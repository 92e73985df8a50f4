//! The objects of one kind as they were last seen, found by key, by namespace and by owner.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

use super::owner;
use crate::key::ObjectKey;

/// See the module. Reading costs what is found, not what is stored.
#[derive(Debug)]
pub(crate) struct Store<T> {
    inner: RwLock<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    objects: BTreeMap<ObjectKey, Arc<T>>,
    by_owner: HashMap<String, BTreeSet<ObjectKey>>,
    /// Highest resource version seen in each namespace. Kubernetes promises since 1.35, and etcd
    /// has always kept, that the versions of one resource can be compared as numbers. One entry a
    /// namespace that ever held an object of ours: a few bytes, never taken away.
    progress: HashMap<String, u64>,
}

/// What happened to one object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change<T> {
    pub(crate) before: Option<Arc<T>>,
    pub(crate) after: Option<Arc<T>>,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        let inner = Inner {
            objects: BTreeMap::new(),
            by_owner: HashMap::new(),
            progress: HashMap::new(),
        };
        Self {
            inner: RwLock::new(inner),
        }
    }
}

impl<T: Resource<DynamicType = ()>> Store<T> {
    pub(crate) fn get(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.read().objects.get(key).cloned()
    }

    /// Objects that carry the UID as their owner's.
    pub(crate) fn owned_by(&self, uid: &str) -> Vec<Arc<T>> {
        let inner = self.read();
        let keys = inner.by_owner.get(uid).into_iter().flatten();
        keys.filter_map(|key| inner.objects.get(key).cloned())
            .collect()
    }

    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        let first = ObjectKey {
            namespace: namespace.to_owned(),
            name: String::new(),
        };
        let inner = self.read();
        let from_there = inner.objects.range(first..);
        from_there
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    /// Number of objects that satisfy the condition.
    pub(crate) fn count(&self, condition: impl Fn(&T) -> bool) -> usize {
        self.read()
            .objects
            .values()
            .filter(|object| condition(object))
            .count()
    }

    /// Whether everything has been seen that happened in the namespace up to this version.
    pub(crate) fn has_seen(&self, namespace: &str, version: u64) -> bool {
        self.read()
            .progress
            .get(namespace)
            .is_some_and(|seen| *seen >= version)
    }

    pub(crate) fn apply(&self, object: T) -> Change<T> {
        self.write().insert(object)
    }

    /// Takes an object away that no longer exists, or no longer carries our label.
    pub(crate) fn remove(&self, last: &ObjectMeta) -> Change<T> {
        let mut inner = self.write();
        inner.advance(last);
        Change {
            before: inner.take(&ObjectKey::of(last)),
            after: None,
        }
    }

    /// Takes an object away of which nothing is known but its name.
    pub(crate) fn forget(&self, key: &ObjectKey) -> Change<T> {
        Change {
            before: self.write().take(key),
            after: None,
        }
    }

    /// Replaces all objects of a namespace (of all, when none is given), and tells what that
    /// changed. What is the same version as before is no change.
    pub(crate) fn replace(&self, namespace: Option<&str>, objects: Vec<T>) -> Vec<Change<T>> {
        let mut inner = self.write();
        let listed: BTreeSet<_> = objects
            .iter()
            .map(|object| ObjectKey::of(object.meta()))
            .collect();
        let in_scope = |key: &&ObjectKey| namespace.is_none_or(|wanted| key.namespace == wanted);
        let known = inner.objects.keys().filter(in_scope);
        let gone: Vec<_> = known
            .filter(|key| !listed.contains(*key))
            .cloned()
            .collect();
        let removed = gone.iter().map(|key| inner.take(key));
        let mut changes: Vec<_> = removed
            .map(|before| Change {
                before,
                after: None,
            })
            .collect();
        for object in objects {
            let change = inner.insert(object);
            if !change.is_same_version() {
                changes.push(change);
            }
        }
        changes
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner<T>> {
        // No code that holds the lock can panic half-way through a change.
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner<T>> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Resource<DynamicType = ()>> Inner<T> {
    fn insert(&mut self, object: T) -> Change<T> {
        self.advance(object.meta());
        let key = ObjectKey::of(object.meta());
        let before = self.take(&key);
        for uid in owner::uids(object.meta()) {
            self.by_owner.entry(uid).or_default().insert(key.clone());
        }
        let object = Arc::new(object);
        self.objects.insert(key, Arc::clone(&object));
        Change {
            before,
            after: Some(object),
        }
    }

    fn take(&mut self, key: &ObjectKey) -> Option<Arc<T>> {
        let object = self.objects.remove(key)?;
        for uid in owner::uids(object.meta()) {
            if let Some(keys) = self.by_owner.get_mut(&uid) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_owner.remove(&uid);
                }
            }
        }
        Some(object)
    }

    fn advance(&mut self, metadata: &ObjectMeta) {
        let version = metadata.resource_version.as_deref();
        let version = version.and_then(|text| text.parse::<u64>().ok());
        if let (Some(namespace), Some(version)) = (&metadata.namespace, version) {
            match self.progress.get_mut(namespace) {
                Some(seen) => *seen = version.max(*seen),
                None => {
                    self.progress.insert(namespace.clone(), version);
                }
            }
        }
    }
}

impl<T: Resource<DynamicType = ()>> Change<T> {
    /// States before and after, where there are such.
    pub(crate) fn states(&self) -> impl Iterator<Item = &T> {
        self.before.iter().chain(&self.after).map(AsRef::as_ref)
    }

    /// Whether the object came, went or is declared differently, rather than having another status
    /// or other metadata: the API server counts the generation up with the spec.
    pub(crate) fn is_of_spec(&self) -> bool {
        let generation =
            |state: &Option<Arc<T>>| state.as_ref().map(|object| object.meta().generation);
        generation(&self.before) != generation(&self.after)
    }

    fn is_same_version(&self) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => {
                let (before, after) = (before.meta(), after.meta());
                before.uid == after.uid && before.resource_version == after.resource_version
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;

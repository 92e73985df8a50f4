//! The API server: objects with versions, conditional writes, server-side apply and a log of every
//! change from which watches are served.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Pod, discovery::v1::EndpointSlice},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use orlop_crds::{AppPlatform, AppPlatformStatus, AppService, AppServiceStatus};
use orlop_plan::{Kind, Object, labels};
use serde_json::{Value, json};

use crate::merge;

/// What is stored under one collection of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Resource {
    AppPlatform,
    Of(Kind),
    EndpointSlice,
    Pod,
}

impl Resource {
    pub(crate) const ALL: [Self; 9] = [
        Self::AppPlatform,
        Self::Of(Kind::AppService),
        Self::Of(Kind::ConfigMap),
        Self::Of(Kind::ControllerRevision),
        Self::Of(Kind::Deployment),
        Self::Of(Kind::PodDisruptionBudget),
        Self::Of(Kind::Service),
        Self::EndpointSlice,
        Self::Pod,
    ];

    /// Reconciled by the operator itself.
    pub(crate) fn is_primary(self) -> bool {
        matches!(self, Self::AppPlatform | Self::Of(Kind::AppService))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    AppPlatform(Box<AppPlatform>),
    Object(Object),
    EndpointSlice(Box<EndpointSlice>),
    Pod(Box<Pod>),
}

impl Body {
    pub(crate) fn meta(&self) -> &ObjectMeta {
        match self {
            Self::AppPlatform(object) => &object.metadata,
            Self::Object(object) => object.metadata(),
            Self::EndpointSlice(slice) => &slice.metadata,
            Self::Pod(pod) => &pod.metadata,
        }
    }

    pub(crate) fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::AppPlatform(object) => &mut object.metadata,
            Self::Object(object) => object.metadata_mut(),
            Self::EndpointSlice(slice) => &mut slice.metadata,
            Self::Pod(pod) => &mut pod.metadata,
        }
    }

    pub(crate) fn resource(&self) -> Resource {
        match self {
            Self::AppPlatform(_) => Resource::AppPlatform,
            Self::Object(object) => Resource::Of(object.kind()),
            Self::EndpointSlice(_) => Resource::EndpointSlice,
            Self::Pod(_) => Resource::Pod,
        }
    }

    pub(crate) fn uid(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        self.meta().name.as_deref().unwrap_or_default()
    }

    pub(crate) fn version(&self) -> u64 {
        let version = self.meta().resource_version.as_deref();
        version.map_or(0, |version| version.parse().unwrap())
    }

    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.meta().labels.as_ref()?.get(key).map(String::as_str)
    }

    pub(crate) fn is_going(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    /// Whether it carries this UID as its owner's.
    pub(crate) fn belongs_to(&self, uid: &str) -> bool {
        self.label(labels::OWNER) == Some(uid) || self.owners().any(|(_, _, owner)| owner == uid)
    }

    /// Kind, name and UID of each owner.
    pub(crate) fn owners(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let references = self.meta().owner_references.iter().flatten();
        references.map(|owner| (owner.kind.as_str(), owner.name.as_str(), owner.uid.as_str()))
    }

    pub(crate) fn app_service(&self) -> Option<&AppService> {
        match self {
            Self::Object(Object::AppService(service)) => Some(service),
            _ => None,
        }
    }

    pub(crate) fn app_service_mut(&mut self) -> Option<&mut AppService> {
        match self {
            Self::Object(Object::AppService(service)) => Some(service),
            _ => None,
        }
    }

    pub(crate) fn app_platform(&self) -> Option<&AppPlatform> {
        match self {
            Self::AppPlatform(platform) => Some(platform),
            _ => None,
        }
    }

    pub(crate) fn app_platform_mut(&mut self) -> Option<&mut AppPlatform> {
        match self {
            Self::AppPlatform(platform) => Some(platform),
            _ => None,
        }
    }

    pub(crate) fn deployment(&self) -> Option<&Deployment> {
        match self {
            Self::Object(Object::Deployment(deployment)) => Some(deployment),
            _ => None,
        }
    }

    pub(crate) fn deployment_mut(&mut self) -> Option<&mut Deployment> {
        match self {
            Self::Object(Object::Deployment(deployment)) => Some(deployment),
            _ => None,
        }
    }

    pub(crate) fn selector(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::Object(Object::Service(service)) => service.spec.as_ref()?.selector.as_ref(),
            _ => None,
        }
    }

    pub(crate) fn endpoint_slice(&self) -> Option<&EndpointSlice> {
        match self {
            Self::EndpointSlice(slice) => Some(slice),
            _ => None,
        }
    }

    pub(crate) fn pod(&self) -> Option<&Pod> {
        match self {
            Self::Pod(pod) => Some(pod),
            _ => None,
        }
    }

    pub(crate) fn pod_mut(&mut self) -> Option<&mut Pod> {
        match self {
            Self::Pod(pod) => Some(pod),
            _ => None,
        }
    }

    fn same_spec(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::AppPlatform(a), Self::AppPlatform(b)) => a.spec == b.spec,
            (Self::Object(Object::AppService(a)), Self::Object(Object::AppService(b))) => {
                a.spec == b.spec
            }
            (Self::Object(Object::Deployment(a)), Self::Object(Object::Deployment(b))) => {
                a.spec == b.spec
            }
            _ => true,
        }
    }
}

/// An object and what each manager applied of it last.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) body: Body,
    applied: BTreeMap<&'static str, Arc<Value>>,
}

/// A change, as a watch tells it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) name: String,
    /// None when the object is gone.
    pub(crate) object: Option<Arc<Stored>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ApiError {
    /// 409.
    Conflict,
    /// 404.
    NotFound,
    /// 422: it would be refused again.
    Invalid(String),
    /// Nobody knows whether it was done: a lost connection, 5xx, 429.
    Unclear(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// Gone at once, its dependents later.
    Background,
    /// Marked, and gone when its dependents are.
    Foreground,
}

/// The status of one of the two primary kinds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Status {
    AppPlatform(AppPlatformStatus),
    AppService(Box<AppServiceStatus>),
}

#[derive(Debug, Default)]
pub(crate) struct World {
    objects: BTreeMap<Resource, BTreeMap<String, Arc<Stored>>>,
    log: BTreeMap<Resource, Vec<Event>>,
    version: u64,
    uids: u64,
}

pub(crate) const NAMESPACE: &str = "quay";
const FOREGROUND: &str = "foregroundDeletion";

impl World {
    pub(crate) fn get(&self, resource: Resource, name: &str) -> Option<&Arc<Stored>> {
        self.objects.get(&resource)?.get(name)
    }

    pub(crate) fn list(&self, resource: Resource) -> impl Iterator<Item = &Arc<Stored>> {
        self.objects
            .get(&resource)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.objects.values().flat_map(BTreeMap::values)
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn log(&self, resource: Resource) -> &[Event] {
        self.log.get(&resource).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn create(&mut self, mut body: Body, now: Timestamp) -> Result<(), ApiError> {
        if self.get(body.resource(), body.name()).is_some() {
            return Err(ApiError::Conflict);
        }
        self.uids += 1;
        let uid = format!("uid-{}", self.uids);
        let meta = body.meta_mut();
        meta.uid = Some(uid);
        meta.generation = Some(1);
        meta.namespace = Some(NAMESPACE.to_owned());
        meta.creation_timestamp = Some(Time(now));
        self.commit(Stored {
            body,
            applied: BTreeMap::new(),
        });
        Ok(())
    }

    /// Server-side apply. With a version: forced, and only over that version. Without: a conflict
    /// if the object exists.
    pub(crate) fn apply(
        &mut self,
        manager: &'static str,
        object: &Object,
        version: Option<&str>,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let name = object.name();
        let wanted = value_of(object);
        let live = self.get(Resource::Of(name.kind), &name.name).cloned();
        match (&live, version) {
            (None, None) => {
                let object = defaulted(name.kind, wanted.clone());
                self.create(Body::Object(object), now)?;
                let stored = self.get(Resource::Of(name.kind), &name.name).unwrap();
                let mut stored = Stored::clone(stored);
                stored.applied.insert(manager, Arc::new(wanted));
                self.replace_silently(stored);
                Ok(())
            }
            (Some(live), Some(version))
                if live.body.meta().resource_version.as_deref() == Some(version) =>
            {
                let merged = merged(live, manager, name.kind, &wanted);
                refuse_immutable(&live.body, &merged)?;
                let mut stored = Stored {
                    body: merged,
                    applied: live.applied.clone(),
                };
                stored.applied.insert(manager, Arc::new(wanted));
                self.update(live, stored);
                Ok(())
            }
            _ => Err(ApiError::Conflict),
        }
    }

    /// A change by a person or a controller of Kubernetes.
    pub(crate) fn edit(&mut self, resource: Resource, name: &str, change: impl FnOnce(&mut Body)) {
        let Some(live) = self.get(resource, name).cloned() else {
            return;
        };
        let mut stored = Stored::clone(&live);
        change(&mut stored.body);
        self.update(&live, stored);
    }

    pub(crate) fn put_status(
        &mut self,
        resource: Resource,
        name: &str,
        uid: &str,
        version: u64,
        status: Status,
    ) -> Result<(), ApiError> {
        let live = self.get(resource, name).ok_or(ApiError::NotFound)?.clone();
        if live.body.version() != version || live.body.uid() != uid {
            return Err(ApiError::Conflict);
        }
        let mut stored = Stored::clone(&live);
        match (&mut stored.body, status) {
            (Body::AppPlatform(platform), Status::AppPlatform(status)) => {
                platform.status = Some(status);
            }
            (Body::Object(Object::AppService(service)), Status::AppService(status)) => {
                service.status = Some(*status);
            }
            _ => unreachable!("a status is put where it was planned for"),
        }
        self.update(&live, stored);
        Ok(())
    }

    /// With a UID and a version: only that incarnation, unchanged.
    pub(crate) fn delete(
        &mut self,
        resource: Resource,
        name: &str,
        precondition: Option<(&str, &str)>,
        propagation: Propagation,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let live = self.get(resource, name).ok_or(ApiError::NotFound)?.clone();
        if let Some((uid, version)) = precondition
            && (live.body.uid() != uid
                || live.body.meta().resource_version.as_deref() != Some(version))
        {
            return Err(ApiError::Conflict);
        }
        let lingers = propagation == Propagation::Foreground || resource == Resource::Pod;
        if !lingers && !live.body.is_going() {
            self.remove(resource, name);
        } else if !live.body.is_going() {
            let mut stored = Stored::clone(&live);
            let meta = stored.body.meta_mut();
            meta.deletion_timestamp = Some(Time(now));
            meta.finalizers = Some(vec![FOREGROUND.to_owned()]);
            self.update(&live, stored);
        }
        Ok(())
    }

    /// The end of an object.
    pub(crate) fn remove(&mut self, resource: Resource, name: &str) {
        self.version += 1;
        let removed = self
            .objects
            .get_mut(&resource)
            .and_then(|objects| objects.remove(name));
        if removed.is_some() {
            let event = Event {
                name: name.to_owned(),
                object: None,
            };
            self.log.entry(resource).or_default().push(event);
        }
    }

    fn update(&mut self, live: &Stored, mut stored: Stored) {
        if stored.body == live.body {
            self.replace_silently(stored);
            return;
        }
        if !stored.body.same_spec(&live.body) {
            let generation = &mut stored.body.meta_mut().generation;
            *generation = generation.map(|generation| generation + 1);
        }
        self.commit(stored);
    }

    /// Who applied what changes nothing that anybody sees.
    fn replace_silently(&mut self, stored: Stored) {
        let objects = self.objects.entry(stored.body.resource()).or_default();
        objects.insert(stored.body.name().to_owned(), Arc::new(stored));
    }

    fn commit(&mut self, mut stored: Stored) {
        self.version += 1;
        stored.body.meta_mut().resource_version = Some(self.version.to_string());
        let resource = stored.body.resource();
        let name = stored.body.name().to_owned();
        let stored = Arc::new(stored);
        let event = Event {
            name: name.clone(),
            object: Some(Arc::clone(&stored)),
        };
        self.log.entry(resource).or_default().push(event);
        self.objects
            .entry(resource)
            .or_default()
            .insert(name, stored);
    }
}

fn value_of(object: &Object) -> Value {
    object.to_value().unwrap()
}

fn merged(live: &Stored, manager: &str, kind: Kind, wanted: &Value) -> Body {
    let Body::Object(object) = &live.body else {
        unreachable!("only objects of known kinds are applied")
    };
    let mut value = value_of(object);
    let nothing = Value::Null;
    let last = live.applied.get(manager).map_or(&nothing, Arc::as_ref);
    merge::apply(&mut value, last, wanted);
    Body::Object(Object::from_value(kind, value).unwrap())
}

/// What the API server sets where nothing is said.
fn defaulted(kind: Kind, mut value: Value) -> Object {
    match kind {
        Kind::Service => {
            value["spec"]["clusterIP"] = json!("192.0.2.1");
            value["spec"]["sessionAffinity"] = json!("None");
        }
        Kind::Deployment => {
            value["spec"]["progressDeadlineSeconds"] = json!(600);
            value["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
        }
        _ => {}
    }
    Object::from_value(kind, value).unwrap()
}

fn refuse_immutable(live: &Body, wanted: &Body) -> Result<(), ApiError> {
    let immutable = match (live, wanted) {
        (Body::Object(Object::Deployment(a)), Body::Object(Object::Deployment(b))) => {
            let selector = |object: &Deployment| object.spec.as_ref().map(|s| s.selector.clone());
            selector(a) == selector(b)
        }
        (
            Body::Object(Object::ControllerRevision(a)),
            Body::Object(Object::ControllerRevision(b)),
        ) => a.data == b.data,
        _ => true,
    };
    if immutable {
        return Ok(());
    }
    Err(ApiError::Invalid("field is immutable".to_owned()))
}

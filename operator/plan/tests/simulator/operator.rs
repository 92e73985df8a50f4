//! One operator process: a cache for each kind that lags on its own, a queue, and passes that are
//! carried out request by request. It follows the protocol that `orlop_plan` documents and waits
//! for no cache, so that it meets more staleness than the real one.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;
use orlop_crds::{AppPlatform, AppService, app_service::UseTarget};
use orlop_plan::{
    Failure, Kind, Object, ObjectName, Observed, Plan, ProbeFailure, Reconcile, Settings, Write,
    is_superseded, labels,
};

use crate::{
    cluster::{self, Image},
    questions::Inquiry,
    world::{ApiError, Body, Propagation, Resource, Status, Stored, World},
};

/// An object that is reconciled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) resource: Resource,
    pub(crate) name: String,
}

/// What a process knows of one kind: the world up to a position in its log.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    position: usize,
    objects: BTreeMap<String, Arc<Stored>>,
}

/// One reconcile under way.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) key: Key,
    /// The object as it was observed.
    pub(crate) main: Arc<Stored>,
    pub(crate) observed: Observed,
    manager: &'static str,
    writes: VecDeque<Write>,
    pub(crate) status: Status,
    wake_at: Option<Timestamp>,
    /// What a look-up found where nothing was observed; none before it.
    found: Option<Found>,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Going,
    /// To be tried again soon.
    Stale,
    /// To be tried again after a growing while.
    Failed,
}

#[derive(Clone, Debug)]
enum Found {
    Nothing,
    /// An object of ours, of this version.
    Ours(Option<String>),
}

/// What a pass asks of the API server next.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    /// Reads; changes nothing.
    LookUp(Object),
    Apply {
        object: Object,
        version: Option<String>,
    },
    Delete {
        name: String,
        kind: Kind,
        uid: String,
        version: String,
    },
    PutStatus(Status),
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) number: usize,
    caches: BTreeMap<Resource, Cache>,
    /// When each object is to be looked at.
    due: BTreeMap<Key, i64>,
    failures: BTreeMap<Key, u32>,
    inquiries: BTreeMap<Key, Inquiry>,
    pub(crate) passes: Vec<Pass>,
    /// Down, or hung, until then.
    pub(crate) away_until: i64,
    /// Whether it holds the lease or thinks so: otherwise it begins no pass.
    pub(crate) leads: bool,
    /// Kinds whose watch delivers nothing until then.
    pub(crate) stalled: BTreeMap<Resource, i64>,
}

/// Passes at a time, each over another object.
const CONCURRENCY: usize = 3;

impl Process {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            caches: BTreeMap::new(),
            due: BTreeMap::new(),
            failures: BTreeMap::new(),
            inquiries: BTreeMap::new(),
            passes: Vec::new(),
            away_until: 0,
            leads: false,
            stalled: BTreeMap::new(),
        }
    }

    /// Begins anew, with nothing in memory and a fresh list of everything.
    pub(crate) fn restart(&mut self, world: &World, now: i64) {
        let (number, leads) = (self.number, self.leads);
        *self = Self {
            leads,
            ..Self::new(number)
        };
        self.catch_up(world, now);
    }

    pub(crate) fn catch_up(&mut self, world: &World, now: i64) {
        for resource in Resource::ALL {
            self.advance(world, resource, usize::MAX, now);
        }
    }

    /// Makes every known object due: as a restart or a resync does.
    pub(crate) fn look_at_everything(&mut self, now: i64) {
        for resource in Resource::ALL
            .into_iter()
            .filter(|resource| resource.is_primary())
        {
            let names = self
                .caches
                .get(&resource)
                .into_iter()
                .flat_map(|cache| cache.objects.keys());
            for name in names.cloned().collect::<Vec<_>>() {
                self.wake(Key { resource, name }, now);
            }
        }
    }

    pub(crate) fn lags(&self, world: &World) -> bool {
        Resource::ALL.into_iter().any(|resource| {
            self.caches.get(&resource).map_or(0, |cache| cache.position) < world.log(resource).len()
        })
    }

    pub(crate) fn next_due(&self) -> Option<i64> {
        let asks = self.inquiries.values().filter_map(Inquiry::next_due);
        self.due.values().copied().chain(asks).min()
    }

    /// Asks all questions for which it is time; false if there was none.
    pub(crate) fn ask(&mut self, world: &World, now: i64) -> bool {
        let mut woken = Vec::new();
        for (key, inquiry) in &mut self.inquiries {
            if inquiry.ask(world, now) {
                woken.push(key.clone());
            }
        }
        let any = !woken.is_empty();
        for key in woken {
            self.wake(key, now);
        }
        any
    }

    /// Takes in at most so many changes of a kind.
    pub(crate) fn advance(&mut self, world: &World, resource: Resource, most: usize, now: i64) {
        let log = world.log(resource);
        let cache = self.caches.entry(resource).or_default();
        let end = cache.position.saturating_add(most).min(log.len());
        let mut woken = BTreeSet::new();
        for event in &log[cache.position..end] {
            let after = event
                .object
                .clone()
                .filter(|object| is_watched(&object.body));
            let before = match after.clone() {
                Some(object) => cache.objects.insert(event.name.clone(), object),
                None => cache.objects.remove(&event.name),
            };
            if resource.is_primary() {
                woken.insert(Key {
                    resource,
                    name: event.name.clone(),
                });
            }
            for object in before.iter().chain(&after) {
                woken.extend(concerned(&object.body));
            }
            if resource == Resource::Of(Kind::AppService) && before.is_some() != after.is_some() {
                woken.extend(referring(&cache.objects, &event.name));
            }
        }
        cache.position = end;
        for key in woken {
            self.wake(key, now);
        }
    }

    fn wake(&mut self, key: Key, at: i64) {
        let due = self.due.entry(key).or_insert(at);
        *due = at.min(*due);
    }

    /// Begins a pass over something that is due; its number in `passes`.
    pub(crate) fn begin(&mut self, settings: &Settings, now: i64) -> Option<usize> {
        if !self.leads || self.passes.len() >= CONCURRENCY {
            return None;
        }
        let running = |key: &Key| self.passes.iter().any(|pass| pass.key == *key);
        let due = self
            .due
            .iter()
            .filter(|(key, due)| **due <= now && !running(key));
        let key = due.min_by_key(|(_, due)| **due)?.0.clone();
        self.due.remove(&key);
        let cache = self.caches.get(&key.resource);
        let main = cache
            .and_then(|cache| cache.objects.get(&key.name))
            .cloned();
        let Some(main) = main.filter(|main| !main.body.is_going()) else {
            self.inquiries.remove(&key);
            return None;
        };
        let pass = match &main.body {
            Body::AppPlatform(platform) => self.plan(
                &**platform,
                key,
                Arc::clone(&main),
                settings,
                now,
                Status::AppPlatform,
            ),
            Body::Object(Object::AppService(service)) => self.plan(
                &**service,
                key,
                Arc::clone(&main),
                settings,
                now,
                |status| Status::AppService(Box::new(status)),
            ),
            _ => unreachable!("only primary kinds are queued"),
        };
        self.passes.push(pass);
        Some(self.passes.len() - 1)
    }

    fn plan<P: Reconcile>(
        &mut self,
        object: &P,
        key: Key,
        main: Arc<Stored>,
        settings: &Settings,
        now: i64,
        status_of: impl Fn(P::Status) -> Status,
    ) -> Pass {
        let mut observed = self.observe::<P>(object, main.body.uid());
        let asked = object.sources(&observed, settings).questions;
        let questions = asked.map(|source| source.questions).unwrap_or_default();
        let inquiry = self.inquiries.entry(key.clone()).or_default();
        inquiry.want(questions);
        observed.snapshots.questions = Some(inquiry.snapshot(now));
        let Plan {
            writes,
            // No data service is simulated here.
            actions: _,
            status,
            wake_at,
            notices: _,
        } = object.plan(&observed, settings, cluster::at(now));
        Pass {
            key,
            main,
            observed,
            manager: P::FIELD_MANAGER,
            writes: writes.into(),
            status: status_of(status),
            wake_at,
            found: None,
            outcome: Outcome::Going,
        }
    }

    fn observe<P: Reconcile>(&self, object: &P, uid: &str) -> Observed {
        let of = |resource: Resource| {
            self.caches
                .get(&resource)
                .into_iter()
                .flat_map(|cache| cache.objects.values())
        };
        let children = P::CHILDREN
            .iter()
            .flat_map(|kind| of(Resource::Of(*kind)))
            .filter_map(|stored| match &stored.body {
                Body::Object(object) if stored.body.belongs_to(uid) => Some(object.clone()),
                _ => None,
            })
            .collect();
        let pods: Vec<_> = of(Resource::Pod)
            .filter(|stored| stored.body.belongs_to(uid))
            .filter_map(|stored| stored.body.pod().cloned())
            .collect();
        let probe_failures = pods
            .iter()
            .filter(|pod| {
                let status = pod
                    .status
                    .as_ref()
                    .and_then(|status| status.container_statuses.as_ref());
                status.is_some_and(|list| Image::of(&list[0].image) == Image::NeverReady)
            })
            .map(|pod| ProbeFailure {
                pod: pod.metadata.name.clone().unwrap(),
                message: "Readiness probe failed: HTTP probe failed with statuscode: 503"
                    .to_owned(),
            })
            .collect();
        let is_known = |target: &ObjectName| {
            let cache = self.caches.get(&Resource::Of(target.kind));
            cache.is_some_and(|cache| cache.objects.contains_key(&target.name))
        };
        let endpoint_slices = of(Resource::EndpointSlice)
            .filter(|stored| stored.body.belongs_to(uid))
            .filter_map(|stored| stored.body.endpoint_slice().cloned())
            .collect();
        let existing = object.references().into_iter().filter(is_known).collect();
        Observed {
            children,
            pods,
            endpoint_slices,
            probe_failures,
            existing,
            ..Observed::default()
        }
    }

    /// A pass has sent its last request.
    pub(crate) fn finish(&mut self, pass: usize, now: i64) {
        let Pass {
            key,
            outcome,
            wake_at,
            ..
        } = self.passes.swap_remove(pass);
        match outcome {
            Outcome::Going => {
                self.failures.remove(&key);
                if let Some(wake_at) = wake_at {
                    self.wake(key, wake_at.as_millisecond().max(now));
                }
            }
            Outcome::Stale => self.wake(key, now + 100),
            Outcome::Failed => {
                let failures = self.failures.entry(key.clone()).or_default();
                *failures = (*failures + 1).min(8);
                let wait = 100 << *failures;
                self.wake(key, now + wait);
            }
        }
    }
}

impl Pass {
    /// The next request; none when the pass is over.
    pub(crate) fn next(&self) -> Option<Request> {
        if self.outcome != Outcome::Going {
            return self
                .reports()
                .then(|| Request::PutStatus(self.status.clone()));
        }
        let Some(write) = self.writes.front().cloned() else {
            return self
                .reports()
                .then(|| Request::PutStatus(self.status.clone()));
        };
        Some(match (write, &self.found) {
            (Write::Create(object), None) => Request::LookUp(object),
            (Write::Create(object), Some(Found::Nothing)) => Request::Apply {
                object,
                version: None,
            },
            (Write::Create(object), Some(Found::Ours(version))) => Request::Apply {
                object,
                version: version.clone(),
            },
            (
                Write::Update {
                    object,
                    resource_version,
                },
                _,
            ) => Request::Apply {
                object,
                version: Some(resource_version),
            },
            (
                Write::Delete {
                    name,
                    uid,
                    resource_version,
                },
                _,
            ) => Request::Delete {
                name: name.name,
                kind: name.kind,
                uid,
                version: resource_version,
            },
        })
    }

    /// Whether a status is still to be written: it is written in any case, if it differs.
    fn reports(&self) -> bool {
        let recorded = match &self.main.body {
            Body::AppPlatform(platform) => platform.status.clone().map(Status::AppPlatform),
            body => body
                .app_service()
                .and_then(|s| s.status.clone())
                .map(|status| Status::AppService(Box::new(status))),
        };
        recorded.as_ref() != Some(&self.status)
    }

    /// Carries out a request against the API server.
    pub(crate) fn send(
        &self,
        world: &mut World,
        request: &Request,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        match request {
            Request::LookUp(_) => Ok(()),
            Request::Apply { object, version } => {
                world.apply(self.manager, object, version.as_deref(), now)
            }
            Request::Delete {
                name,
                kind,
                uid,
                version,
            } => {
                let precondition = Some((uid.as_str(), version.as_str()));
                let resource = Resource::Of(*kind);
                match world.delete(resource, name, precondition, Propagation::Background, now) {
                    Err(ApiError::NotFound) => Ok(()),
                    result => result,
                }
            }
            Request::PutStatus(status) => {
                let (resource, name) = (self.key.resource, &self.key.name);
                let (uid, version) = (self.main.body.uid(), self.main.body.version());
                match world.put_status(resource, name, uid, version, status.clone()) {
                    Err(ApiError::NotFound) => Err(ApiError::Conflict),
                    result => result,
                }
            }
        }
    }

    /// Takes in the answer to a look-up: what is there, if anything.
    pub(crate) fn looked_up(&mut self, object: &Object, live: Option<&Stored>, now: Timestamp) {
        let uid = self.main.body.uid().to_owned();
        match live {
            None => self.found = Some(Found::Nothing),
            Some(live) if !live.body.belongs_to(&uid) => {
                let owner = "somebody else".to_owned();
                self.fail(
                    &Failure::NameTaken {
                        target: object.name(),
                        owner,
                    },
                    now,
                );
            }
            Some(live) if live.body.is_going() || is_superseded(object, live.body.meta()) => {
                self.outcome = Outcome::Stale;
            }
            Some(live) => self.found = Some(Found::Ours(live.body.meta().resource_version.clone())),
        }
    }

    /// Takes in the answer to a write; true when the pass is over.
    pub(crate) fn answered(
        &mut self,
        request: &Request,
        answer: Result<(), ApiError>,
        now: Timestamp,
    ) -> bool {
        if matches!(request, Request::PutStatus(_)) {
            match answer {
                Ok(()) => {}
                Err(ApiError::Conflict) if self.outcome == Outcome::Going => {
                    self.outcome = Outcome::Stale;
                }
                Err(_) => self.outcome = Outcome::Failed,
            }
            return true;
        }
        match answer {
            Ok(()) => {
                self.writes.pop_front();
                self.found = None;
            }
            Err(ApiError::Conflict) => self.outcome = Outcome::Stale,
            Err(ApiError::Invalid(message)) => {
                let target = self.writes[0].target();
                self.fail(&Failure::Refused { target, message }, now);
            }
            Err(ApiError::NotFound | ApiError::Unclear(_)) => self.outcome = Outcome::Failed,
        }
        self.next().is_none()
    }

    fn fail(&mut self, failure: &Failure, now: Timestamp) {
        self.outcome = Outcome::Failed;
        let planned = self.status.clone();
        self.status = match (&self.main.body, planned) {
            (Body::AppPlatform(object), Status::AppPlatform(planned)) => {
                Status::AppPlatform(AppPlatform::failed(object, planned, failure, now))
            }
            (Body::Object(Object::AppService(object)), Status::AppService(planned)) => {
                Status::AppService(Box::new(AppService::failed(object, *planned, failure, now)))
            }
            _ => unreachable!("a status is of the kind for which it was planned"),
        };
    }
}

/// Watches select by label, except those of our own kinds.
fn is_watched(body: &Body) -> bool {
    body.resource().is_primary() || body.label(labels::MANAGED_BY) == Some(labels::ORLOP)
}

/// Those for whom an object was made.
fn concerned(body: &Body) -> impl Iterator<Item = Key> {
    let by_label = body
        .label(labels::OWNER_KIND)
        .zip(body.label(labels::OWNER_NAME));
    let owners = body
        .owners()
        .map(|(kind, name, _)| (kind, name))
        .chain(by_label);
    owners.filter_map(|(kind, name)| {
        let resource = match kind {
            "AppPlatform" => Resource::AppPlatform,
            "AppService" => Resource::Of(Kind::AppService),
            _ => return None,
        };
        Some(Key {
            resource,
            name: name.to_owned(),
        })
    })
}

/// AppServices that use the named one.
fn referring(services: &BTreeMap<String, Arc<Stored>>, name: &str) -> Vec<Key> {
    let uses = |stored: &&Arc<Stored>| {
        let service = stored.body.app_service();
        service.is_some_and(|s| {
            s.spec
                .uses
                .iter()
                .any(|used| used.target() == Some(UseTarget::Service(name)))
        })
    };
    let names = services
        .values()
        .filter(uses)
        .map(|stored| stored.body.name().to_owned());
    names
        .map(|name| Key {
            resource: Resource::Of(Kind::AppService),
            name,
        })
        .collect()
}

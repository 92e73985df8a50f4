//! What must hold after every write of an operator.
//!
//! Each rule speaks of one write, with the world right before and after it and with what the pass
//! that made it had observed: an operator is blamed for what it did, not for what a person or a
//! dying pod did meanwhile. Every exception is one of knowledge (the pass could not know, since its
//! caches lag) and says so.

mod release;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Condition};
use orlop_crds::PruneRecord;
use orlop_plan::{Kind, Object, labels};

use crate::{
    cluster::is_ready,
    operator::{Pass, Request},
    world::{Body, Resource, Status, Stored, World},
};

const DEPLOYMENTS: Resource = Resource::Of(Kind::Deployment);
const SERVICES: Resource = Resource::Of(Kind::Service);
const APP_SERVICES: Resource = Resource::Of(Kind::AppService);

/// The bounds of what a status may hold.
const MESSAGE_CHARS_MAX: usize = 1024;
const PRUNING_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Invariants {
    /// By UID of the AppService.
    served: BTreeMap<String, Served>,
    /// UIDs of Deployments that were recorded for deletion by a pass that saw no ready pod of them,
    /// or had not seen the Service since it was moved to them.
    idle: BTreeSet<String>,
    /// The newest version of its owner from which an incarnation was written.
    basis: BTreeMap<String, u64>,
}

/// What a service was told to select, by an operator.
#[derive(Debug, Default)]
struct Served {
    selected: Option<String>,
    /// When a revision was switched away from, in milliseconds, and the version of the Service that
    /// this gave.
    left: BTreeMap<String, (i64, u64)>,
}

/// A write that was done.
pub(crate) struct Done<'a> {
    pub(crate) pass: &'a Pass,
    pub(crate) request: &'a Request,
    /// The target as it was.
    pub(crate) before: Option<Arc<Stored>>,
    pub(crate) world: &'a World,
    pub(crate) now: i64,
}

type Verdict = Result<(), String>;

impl Invariants {
    pub(crate) fn check(&mut self, done: &Done<'_>) -> Verdict {
        match done.request {
            Request::LookUp(_) => Ok(()),
            Request::PutStatus(status) => {
                bounded(done, status)?;
                is_ready_only_as_declared(done, status)?;
                dooms_not_all_that_is_ready(done, status)?;
                self.note_deletions(done, status);
                release::returns_only_from_the_dead(done, status)?;
                release::switches_only_to_what_was_let_through(done, status)
            }
            Request::Apply { object, .. } => {
                touches_what_is_ours(done)?;
                self.follows_what_was_decided_last(done, object)?;
                match object {
                    Object::Service(_) => {
                        release::selects_what_is_recorded(done, object)?;
                        self.selects_one_that_runs(done, object)
                    }
                    Object::Deployment(_) => {
                        release::keeps_the_size_of_what_drains(done, object)?;
                        self.keeps_what_is_served(done, object)
                    }
                    _ => Ok(()),
                }
            }
            Request::Delete { uid, .. } => {
                touches_what_is_ours(done)?;
                deletes_what_is_recorded(done, uid)?;
                self.deletes_nothing_served(done)
            }
        }
    }

    /// A service selects exactly one revision, and no operator points it at one that is missing, at
    /// 0 or without a ready pod while another one is ready.
    fn selects_one_that_runs(&mut self, done: &Done<'_>, applied: &Object) -> Verdict {
        let name = &done.pass.key.name;
        if done.pass.key.resource != APP_SERVICES || applied.name().name != *name {
            return Ok(());
        }
        let after = done
            .world
            .get(SERVICES, name)
            .ok_or("the applied Service is not there")?;
        let selector = after.body.selector().cloned().unwrap_or_default();
        let revision = selector.get(labels::REVISION).cloned().unwrap_or_default();
        let exact = BTreeMap::from([
            (labels::OWNER_KIND.to_owned(), "AppService".to_owned()),
            (labels::OWNER_NAME.to_owned(), name.clone()),
            (labels::REVISION.to_owned(), revision.clone()),
        ]);
        if selector != exact || revision.is_empty() {
            return Err(format!(
                "Service/{name} selects {selector:?}: not exactly one revision"
            ));
        }
        let before = done
            .before
            .as_ref()
            .and_then(|stored| stored.body.selector());
        let moves = before != Some(&selector);
        let at = (done.now, after.body.version());
        self.switched(done, &revision, before.filter(|_| moves).map(|_| at));
        if !moves {
            return Ok(());
        }
        let Some(other) = ready_other(done.world, name, &revision) else {
            return Ok(());
        };
        // Nothing is asked of a service that is declared to have no replicas.
        if declared(done).is_none_or(|replicas| replicas == 0) {
            return Ok(());
        }
        // It was decided, and recorded, that the other one goes.
        let doomed = |record: &PruneRecord| record.name == format!("{name}-{other}");
        if pruning(&done.pass.main.body).iter().any(doomed) {
            return Ok(());
        }
        // Knowledge: the other one was not seen ready, or this one was.
        let seen = |revision: &str| observed_ready(done.pass, name, revision);
        if ready(done.world, name, &revision) > 0 || !seen(&other) || seen(&revision) {
            return Ok(());
        }
        Err(format!(
            "Service/{name} is pointed at {revision}, which has no ready pod, while {other} is ready"
        ))
    }

    /// `at` is none where a person has moved the selector there, or deleted the Service, before:
    /// requests are gone for longer.
    fn switched(&mut self, done: &Done<'_>, revision: &str, at: Option<(i64, u64)>) {
        let served = self
            .served
            .entry(done.pass.main.body.uid().to_owned())
            .or_default();
        if served.selected.as_deref() != Some(revision) {
            if let Some(before) = served.selected.replace(revision.to_owned()) {
                served.left.extend(at.map(|at| (before, at)));
            }
            served.left.remove(revision);
        }
    }

    /// A ready served revision is not made smaller than declared before another ready one is
    /// selected and `drain` is over.
    fn keeps_what_is_served(&self, done: &Done<'_>, applied: &Object) -> Verdict {
        let Some(before) = done
            .before
            .as_ref()
            .and_then(|stored| stored.body.deployment())
        else {
            return Ok(());
        };
        let Some(after) = done.world.get(DEPLOYMENTS, &applied.name().name) else {
            return Ok(());
        };
        let (from, to) = (
            replicas(before),
            after.body.deployment().map_or(0, replicas),
        );
        if to >= from || declared(done).is_none_or(|declared| to >= declared) {
            return Ok(());
        }
        self.is_free(done, &format!("is scaled from {from} to {to}"))
    }

    fn deletes_nothing_served(&self, done: &Done<'_>) -> Verdict {
        if done
            .before
            .as_ref()
            .is_some_and(|stored| stored.body.deployment().is_some())
        {
            return self.is_free(done, "is deleted");
        }
        Ok(())
    }

    fn note_deletions(&mut self, done: &Done<'_>, status: &Status) {
        let Status::AppService(after) = status else {
            return;
        };
        let name = &done.pass.key.name;
        let service = done.world.get(SERVICES, name);
        let is_stale =
            service.is_some_and(|live| observed_version(done.pass, name) < live.body.version());
        for record in &after.pruning {
            let revision = record.name.strip_prefix(&format!("{name}-"));
            let recorded = pruning(&done.pass.main.body);
            if !recorded.contains(record)
                && revision.is_some_and(|it| is_stale || !observed_ready(done.pass, name, it))
            {
                self.idle.insert(record.uid.clone());
            }
        }
    }

    /// Whether the Deployment that was written may lose its pods.
    fn is_free(&self, done: &Done<'_>, what: &str) -> Verdict {
        let Some(target) = done
            .before
            .as_ref()
            .filter(|_| done.pass.key.resource == APP_SERVICES)
        else {
            return Ok(());
        };
        let name = &done.pass.key.name;
        let revision = target.body.label(labels::REVISION).unwrap_or_default();
        let Some(served) = self.served.get(done.pass.main.body.uid()) else {
            return Ok(());
        };
        if ready(done.world, name, revision) == 0 || !observed_ready(done.pass, name, revision) {
            return Ok(());
        }
        if served.selected.as_deref() == Some(revision) && declared(done) != Some(0) {
            return Err(format!(
                "Deployment/{} is served and ready, but {what}",
                target.body.name()
            ));
        }
        // Knowledge: nothing was seen that had to be drained when the deletion was decided.
        if self.idle.contains(target.body.uid()) {
            return Ok(());
        }
        let drain = release::pace(done).drain();
        let drain = i64::try_from(drain.as_millis()).unwrap();
        match served.left.get(revision) {
            // Knowledge: a pass that has not seen the Service since does not know of the switch.
            Some((_, version)) if observed_version(done.pass, name) < *version => Ok(()),
            Some((left, _)) if done.now < left + drain => Err(format!(
                "Deployment/{} {what} {} ms after the switch, within the drain of {drain} ms",
                target.body.name(),
                done.now - left,
            )),
            _ => Ok(()),
        }
    }

    /// No operator writes an incarnation on the ground of an older owner than it was written on
    /// before: a leader that was replaced without knowing it changes nothing back.
    fn follows_what_was_decided_last(&mut self, done: &Done<'_>, applied: &Object) -> Verdict {
        let name = applied.name();
        let Some(after) = done.world.get(Resource::Of(name.kind), &name.name) else {
            return Ok(());
        };
        let version = done.pass.main.body.version();
        let basis = self.basis.entry(after.body.uid().to_owned()).or_default();
        if version < *basis {
            return Err(format!(
                "{name} was written from version {basis} of its owner and now from {version}"
            ));
        }
        *basis = version;
        Ok(())
    }
}

fn touches_what_is_ours(done: &Done<'_>) -> Verdict {
    let Some(before) = &done.before else {
        return Ok(());
    };
    if !before.body.belongs_to(done.pass.main.body.uid()) {
        return Err(format!(
            "{} is not ours and was written",
            before.body.name()
        ));
    }
    if before.body.is_going() {
        return Err(format!(
            "{} is being deleted and was written",
            before.body.name()
        ));
    }
    Ok(())
}

/// Recorded in the owner's status as the pass observed it. A newer status may no longer name it,
/// where another leader's caches did not show it yet; that it then serves is what
/// `deletes_nothing_served` rules out.
fn deletes_what_is_recorded(done: &Done<'_>, uid: &str) -> Verdict {
    if pruning(&done.pass.main.body)
        .iter()
        .any(|record| record.uid == uid)
    {
        return Ok(());
    }
    Err(format!(
        "{uid} is deleted, but its deletion is not recorded"
    ))
}

fn pruning(body: &Body) -> &[PruneRecord] {
    let of_platform = || {
        body.app_platform()?
            .status
            .as_ref()
            .map(|status| &status.pruning)
    };
    let of_service = || {
        body.app_service()?
            .status
            .as_ref()
            .map(|status| &status.pruning)
    };
    of_platform().or_else(of_service).map_or(&[], Vec::as_slice)
}

fn bounded(done: &Done<'_>, status: &Status) -> Verdict {
    let (generation, conditions, pruning): (_, &[Condition], usize) = match status {
        Status::AppPlatform(s) => (s.observed_generation, &s.conditions, s.pruning.len()),
        Status::AppService(s) => (s.observed_generation, &s.conditions, s.pruning.len()),
    };
    let (resource, name) = (done.pass.key.resource, &done.pass.key.name);
    let live = done
        .world
        .get(resource, name)
        .and_then(|live| live.body.meta().generation);
    if generation > live {
        return Err(format!(
            "{name}: status speaks of generation {generation:?}, ahead of {live:?}"
        ));
    }
    let long = conditions
        .iter()
        .find(|c| c.message.chars().count() > MESSAGE_CHARS_MAX);
    if let Some(condition) = long {
        return Err(format!(
            "{name}: the message of {} is too long",
            condition.type_
        ));
    }
    if pruning > PRUNING_MAX {
        return Err(format!("{name}: {pruning} deletions are recorded"));
    }
    Ok(())
}

/// Ready is told only of what is declared now: the pass saw each child with the declared template, or
/// the declared image behind the Service.
fn is_ready_only_as_declared(done: &Done<'_>, status: &Status) -> Verdict {
    let (conditions, name) = match status {
        Status::AppPlatform(status) => (&status.conditions, &done.pass.key.name),
        Status::AppService(status) => (&status.conditions, &done.pass.key.name),
    };
    let is_ready = conditions
        .iter()
        .any(|c| c.type_ == "Ready" && c.status == "True");
    if !is_ready {
        return Ok(());
    }
    let main = &done.pass.main.body;
    let stands = match (main.app_platform(), main.app_service()) {
        (Some(platform), _) => platform.spec.services.iter().all(|declared| {
            let child = format!("{name}-{}", declared.name);
            done.pass
                .observed
                .children
                .iter()
                .any(|object| match object {
                    Object::AppService(service) => {
                        service.metadata.name.as_deref() == Some(&child)
                            && service.spec.image.as_ref() == Some(&declared.image)
                            && service.spec.template == declared.template
                    }
                    _ => false,
                })
        }),
        (_, Some(service)) => selected_image(done.pass, name) == service.spec.image.as_ref(),
        _ => false,
    };
    if stands {
        return Ok(());
    }
    Err(format!(
        "{name} says that it is ready, but what is declared was not seen"
    ))
}

/// Image of the revision that the pass saw the Service select.
fn selected_image<'a>(pass: &'a Pass, name: &str) -> Option<&'a String> {
    let children = &pass.observed.children;
    let selected = children.iter().find_map(|object| match object {
        Object::Service(service) if service.metadata.name.as_deref() == Some(name) => service
            .spec
            .as_ref()?
            .selector
            .as_ref()?
            .get(labels::REVISION),
        _ => None,
    })?;
    let deployment = format!("{name}-{selected}");
    children.iter().find_map(|object| match object {
        Object::Deployment(object) if object.metadata.name.as_deref() == Some(&deployment) => {
            object
                .spec
                .as_ref()?
                .template
                .spec
                .as_ref()?
                .containers
                .first()?
                .image
                .as_ref()
        }
        _ => None,
    })
}

/// A revision that was seen ready is not recorded for deletion while none that stays was.
fn dooms_not_all_that_is_ready(done: &Done<'_>, status: &Status) -> Verdict {
    let Status::AppService(after) = status else {
        return Ok(());
    };
    let name = &done.pass.key.name;
    let revisions = done
        .pass
        .observed
        .children
        .iter()
        .filter_map(|object| match object {
            Object::Deployment(deployment) => {
                let suffix = deployment.metadata.name.as_ref()?.strip_prefix(name)?;
                let revision = suffix.strip_prefix('-')?;
                observed_ready(done.pass, name, revision).then(|| {
                    (
                        deployment.metadata.uid.as_deref().unwrap_or_default(),
                        revision,
                    )
                })
            }
            _ => None,
        });
    let is_recorded = |list: &[PruneRecord], uid: &str| list.iter().any(|record| record.uid == uid);
    let before = pruning(&done.pass.main.body);
    let (doomed, staying): (Vec<_>, Vec<_>) =
        revisions.partition(|(uid, _)| is_recorded(&after.pruning, uid));
    let newly = doomed.iter().find(|(uid, _)| !is_recorded(before, uid));
    match newly {
        Some((_, revision)) if staying.is_empty() && declared(done) != Some(0) => Err(format!(
            "{name}: {revision} is to be deleted, but nothing else is ready"
        )),
        _ => Ok(()),
    }
}

/// Replicas of the service as the pass observed it declared.
fn declared(done: &Done<'_>) -> Option<i32> {
    Some(done.pass.main.body.app_service()?.spec.template.replicas())
}

fn replicas(deployment: &Deployment) -> i32 {
    deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

/// Ready pods of a revision, in truth.
pub(crate) fn ready(world: &World, service: &str, revision: &str) -> usize {
    let pods = world.list(Resource::Pod).filter(|pod| {
        pod.body.label(labels::OWNER_KIND) == Some("AppService")
            && pod.body.label(labels::OWNER_NAME) == Some(service)
            && pod.body.label(labels::REVISION) == Some(revision)
    });
    pods.filter(|pod| is_ready(&pod.body)).count()
}

/// Another revision that runs in truth: its Deployment is there to stay and has a ready pod.
fn ready_other(world: &World, service: &str, revision: &str) -> Option<String> {
    let deployments = world.list(DEPLOYMENTS).filter(|stored| {
        stored.body.label(labels::OWNER_KIND) == Some("AppService")
            && stored.body.label(labels::OWNER_NAME) == Some(service)
            && !stored.body.is_going()
            && stored
                .body
                .deployment()
                .is_some_and(|deployment| replicas(deployment) > 0)
    });
    deployments
        .filter_map(|stored| stored.body.label(labels::REVISION))
        .filter(|other| *other != revision)
        .find(|other| ready(world, service, other) > 0)
        .map(str::to_owned)
}

/// Version of the Service that the pass saw; 0 for none.
fn observed_version(pass: &Pass, service: &str) -> u64 {
    let mut objects = pass.observed.children.iter().filter(|object| {
        object.kind() == Kind::Service && object.metadata().name.as_deref() == Some(service)
    });
    let version = objects
        .next()
        .and_then(|object| object.metadata().resource_version.as_deref());
    version.map_or(0, |version| version.parse().unwrap())
}

/// Whether the pass saw a ready pod of a revision, in the status of a Deployment that is not going.
fn observed_ready(pass: &Pass, service: &str, revision: &str) -> bool {
    let name = format!("{service}-{revision}");
    pass.observed.children.iter().any(|object| match object {
        Object::Deployment(deployment) => {
            deployment.metadata.name.as_deref() == Some(&name)
                && deployment.metadata.deletion_timestamp.is_none()
                && deployment
                    .status
                    .as_ref()
                    .and_then(|s| s.ready_replicas)
                    .unwrap_or(0)
                    > 0
        }
        _ => false,
    })
}

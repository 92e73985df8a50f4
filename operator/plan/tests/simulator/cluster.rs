//! The Kubernetes side: deployment controller, kubelets, quota and garbage collector, each with a
//! lag of its own.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentCondition, DeploymentStatus},
        core::v1::{
            ContainerState, ContainerStateRunning, ContainerStateWaiting, ContainerStatus, Pod,
            PodCondition, PodStatus,
        },
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use orlop_plan::Kind;

use crate::{
    endpoints,
    seed::Dice,
    world::{Body, NAMESPACE, Propagation, Resource, World},
};

const DEPLOYMENTS: Resource = Resource::Of(Kind::Deployment);
const SERVICES: Resource = Resource::Of(Kind::Service);
/// A pod template's image, as it was when the pod was made.
const TEMPLATE: &str = "sim/template";

/// What becomes of pods with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Image {
    Good,
    CannotBePulled,
    Crashes,
    NeverReady,
    /// Ready, and answers with errors.
    Wrong,
}

impl Image {
    pub(crate) fn of(name: &str) -> Self {
        match name
            .split_once(':')
            .map(|(_, tag)| tag.trim_start_matches(char::is_numeric))
        {
            Some("-absent") => Self::CannotBePulled,
            Some("-crash") => Self::Crashes,
            Some("-unready") => Self::NeverReady,
            Some("-wrong") => Self::Wrong,
            _ => Self::Good,
        }
    }

    fn runs(self) -> bool {
        matches!(self, Self::Good | Self::Wrong)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Sync(String),
    Start(String),
    Stop(String),
    /// Whom a Service addresses.
    Address(String),
    Collect,
}

/// Timers, in milliseconds of the virtual clock.
#[derive(Debug)]
pub(crate) struct Cluster {
    tasks: BTreeSet<(i64, u64, Task)>,
    sequence: u64,
    deployments_seen: usize,
    services_seen: usize,
    pods_seen: usize,
    /// Services whose endpoints are about to be looked at.
    addressing: BTreeSet<String>,
    /// Version of the world up to which garbage was looked for.
    swept: u64,
    /// Most pods that the quota of the namespace allows.
    pub(crate) quota: usize,
    /// Factor of every lag: 0 makes the cluster act at once.
    lag: i64,
    pods: u64,
}

impl Cluster {
    pub(crate) fn new(lag: i64) -> Self {
        let tasks = BTreeSet::new();
        Self {
            tasks,
            sequence: 0,
            deployments_seen: 0,
            services_seen: 0,
            pods_seen: 0,
            addressing: BTreeSet::new(),
            swept: 0,
            quota: usize::MAX,
            lag,
            pods: 0,
        }
    }

    /// When something happens next.
    pub(crate) fn next_due(&self) -> Option<i64> {
        self.tasks.first().map(|(due, _, _)| *due)
    }

    /// What the controllers notice of the world, to be acted on after a while.
    pub(crate) fn notice(&mut self, world: &World, now: i64, dice: &mut Dice) {
        let log = world.log(DEPLOYMENTS);
        let names: BTreeSet<_> = log[self.deployments_seen..]
            .iter()
            .map(|event| event.name.clone())
            .collect();
        self.deployments_seen = log.len();
        for name in names {
            self.after(now, dice.between(1, 800), Task::Sync(name));
        }
        self.notice_addresses(world, now, dice);
        let collects = |(_, _, task): &(i64, u64, Task)| *task == Task::Collect;
        if self.swept == world.version() || self.tasks.iter().any(collects) {
            return;
        }
        if garbage(world).is_some() {
            self.after(now, dice.between(10, 3000), Task::Collect);
        } else {
            self.swept = world.version();
        }
    }

    fn notice_addresses(&mut self, world: &World, now: i64, dice: &mut Dice) {
        let (services, pods) = (world.log(SERVICES), world.log(Resource::Pod));
        let names: Vec<String> = if pods.len() > self.pods_seen {
            world.list(SERVICES).map(name_of).collect()
        } else {
            let changed = services[self.services_seen..].iter();
            changed.map(|event| event.name.clone()).collect()
        };
        (self.services_seen, self.pods_seen) = (services.len(), pods.len());
        for name in names {
            if self.addressing.insert(name.clone()) {
                self.after(now, dice.between(1, 1200), Task::Address(name));
            }
        }
    }

    /// Does one thing that is due; false if there was none.
    pub(crate) fn run_one(&mut self, world: &mut World, now: i64, dice: &mut Dice) -> bool {
        if self.next_due().is_none_or(|due| due > now) {
            return false;
        }
        let Some((_, _, task)) = self.tasks.pop_first() else {
            return false;
        };
        match task {
            Task::Sync(name) => self.sync(world, &name, now, dice),
            Task::Start(pod) => self.start(world, &pod, now, dice),
            Task::Stop(pod) => {
                let owner = owner_of(world, &pod);
                world.remove(Resource::Pod, &pod);
                self.resync(owner, now, dice);
            }
            Task::Address(service) => {
                self.addressing.remove(&service);
                endpoints::follow(world, &service, now);
            }
            Task::Collect => {
                if let Some((resource, name)) = garbage(world) {
                    self.collect(world, resource, &name, now, dice);
                }
            }
        }
        true
    }

    /// A pod that was ready is so no more; it comes back by itself.
    pub(crate) fn crash_a_pod(&mut self, world: &mut World, now: i64, dice: &mut Dice) {
        let ready: Vec<String> = world
            .list(Resource::Pod)
            .filter(|pod| is_ready(&pod.body))
            .map(name_of)
            .collect();
        if ready.is_empty() {
            return;
        }
        let name = dice.pick(&ready).clone();
        world.edit(Resource::Pod, &name, |body| {
            set_ready(body.pod_mut().unwrap(), false);
        });
        self.after(now, dice.between(200, 9000), Task::Start(name.clone()));
        let owner = owner_of(world, &name);
        self.resync(owner, now, dice);
    }

    fn after(&mut self, now: i64, lag: i64, task: Task) {
        self.sequence += 1;
        self.tasks
            .insert((now + lag * self.lag / 100, self.sequence, task));
    }

    fn resync(&mut self, owner: Option<String>, now: i64, dice: &mut Dice) {
        if let Some(deployment) = owner {
            self.after(now, dice.between(1, 400), Task::Sync(deployment));
        }
    }

    /// The deployment controller: pods as wanted, then the status.
    fn sync(&mut self, world: &mut World, name: &str, now: i64, dice: &mut Dice) {
        let Some(stored) = world.get(DEPLOYMENTS, name).cloned() else {
            return;
        };
        let deployment = stored.body.deployment().unwrap();
        if stored.body.is_going() {
            return;
        }
        let wanted = wanted_replicas(deployment);
        let template = template_key(deployment);
        let pods = active_pods(world, stored.body.uid());
        let (new, old): (Vec<_>, Vec<_>) =
            pods.into_iter().partition(|pod| pod.template == template);
        let ready = new.iter().chain(&old).filter(|pod| pod.ready).count();

        let surge = usize::from(!old.is_empty());
        let room = (wanted + surge).saturating_sub(new.len() + old.len());
        let missing = wanted.saturating_sub(new.len()).min(room);
        let in_namespace = world.list(Resource::Pod).count();
        let created = missing.min(self.quota.saturating_sub(in_namespace));
        for _ in 0..created {
            self.create_pod(world, deployment, stored.body.uid(), now, dice);
        }
        if created < missing {
            self.after(now, 4000, Task::Sync(name.to_owned()));
        }
        let mut superfluous: Vec<_> = new.iter().collect();
        superfluous.sort_by_key(|pod| pod.ready);
        let surplus = new.len().saturating_sub(wanted);
        let mut goes: Vec<String> = superfluous
            .iter()
            .take(surplus)
            .map(|pod| pod.name.clone())
            .collect();
        // Old pods that are not ready go at once, ready ones only while enough are left.
        let spare = ready.saturating_sub(wanted);
        goes.extend(
            old.iter()
                .filter(|pod| !pod.ready)
                .map(|pod| pod.name.clone()),
        );
        goes.extend(
            old.iter()
                .filter(|pod| pod.ready)
                .take(spare)
                .map(|pod| pod.name.clone()),
        );
        for pod in goes {
            self.stop(world, &pod, now, dice);
        }
        report(world, name, created < missing);
    }

    fn create_pod(
        &mut self,
        world: &mut World,
        deployment: &Deployment,
        uid: &str,
        now: i64,
        dice: &mut Dice,
    ) {
        self.pods += 1;
        let deployment_name = deployment.metadata.name.clone().unwrap();
        let name = format!("{deployment_name}-{}", self.pods);
        let pod = new_pod(&name, deployment, uid);
        let image = pod
            .status
            .as_ref()
            .unwrap()
            .container_statuses
            .as_ref()
            .unwrap()[0]
            .image
            .clone();
        world.create(Body::Pod(Box::new(pod)), at(now)).unwrap();
        if Image::of(&image).runs() {
            self.after(now, dice.between(100, 6000), Task::Start(name));
        }
    }

    fn start(&mut self, world: &mut World, pod: &str, now: i64, dice: &mut Dice) {
        world.edit(Resource::Pod, pod, |body| {
            if !body.is_going() {
                set_ready(body.pod_mut().unwrap(), true);
            }
        });
        let owner = owner_of(world, pod);
        self.resync(owner, now, dice);
    }

    fn stop(&mut self, world: &mut World, pod: &str, now: i64, dice: &mut Dice) {
        let deleted = world.delete(Resource::Pod, pod, None, Propagation::Background, at(now));
        if deleted.is_ok() {
            self.after(now, dice.between(100, 6000), Task::Stop(pod.to_owned()));
        }
    }

    fn collect(
        &mut self,
        world: &mut World,
        resource: Resource,
        name: &str,
        now: i64,
        dice: &mut Dice,
    ) {
        if resource == Resource::Pod {
            self.stop(world, name, now, dice);
        } else {
            world.remove(resource, name);
        }
    }
}

/// Status of a Deployment from its pods.
fn report(world: &mut World, name: &str, quota_exceeded: bool) {
    let stored = world.get(DEPLOYMENTS, name).unwrap().clone();
    let deployment = stored.body.deployment().unwrap();
    let wanted = wanted_replicas(deployment);
    let template = template_key(deployment);
    let pods = active_pods(world, stored.body.uid());
    let ready = pods.iter().filter(|pod| pod.ready).count();
    let updated = pods.iter().filter(|pod| pod.template == template).count();
    let complete = updated == wanted && pods.len() == wanted && ready == wanted;
    let last = deployment.status.clone().unwrap_or_default();
    let was_complete = last.updated_replicas == last.replicas
        && last
            .conditions
            .iter()
            .flatten()
            .any(|c| c.reason.as_deref() == Some("NewReplicaSetAvailable"));
    let reason = if complete || (was_complete && updated == pods.len()) {
        "NewReplicaSetAvailable"
    } else {
        "ReplicaSetUpdated"
    };
    let condition = |kind: &str, reason: &str, message: &str| DeploymentCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        ..DeploymentCondition::default()
    };
    let mut conditions = vec![condition("Progressing", reason, "")];
    if quota_exceeded {
        let message =
            format!(r#"pods "{name}-x" is forbidden: exceeded quota: small, requested: pods=1"#);
        conditions.push(condition("ReplicaFailure", "FailedCreate", &message));
    }
    let count = |count: usize| i32::try_from(count).unwrap();
    let status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: Some(count(pods.len())),
        ready_replicas: Some(count(ready)).filter(|ready| *ready > 0),
        updated_replicas: Some(count(updated)),
        conditions: Some(conditions),
        ..DeploymentStatus::default()
    };
    world.edit(DEPLOYMENTS, name, |body| {
        body.deployment_mut().unwrap().status = Some(status);
    });
}

struct ActivePod {
    name: String,
    ready: bool,
    template: String,
}

fn active_pods(world: &World, owner: &str) -> Vec<ActivePod> {
    let pods = world.list(Resource::Pod).filter(|pod| !pod.body.is_going());
    pods.filter(|pod| pod.body.owners().any(|(_, _, uid)| uid == owner))
        .map(|pod| {
            let annotations = pod.body.meta().annotations.as_ref();
            ActivePod {
                name: name_of(pod),
                ready: is_ready(&pod.body),
                template: annotations
                    .and_then(|map| map.get(TEMPLATE))
                    .cloned()
                    .unwrap_or_default(),
            }
        })
        .collect()
}

fn wanted_replicas(deployment: &Deployment) -> usize {
    let replicas = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    usize::try_from(replicas).unwrap()
}

fn template_key(deployment: &Deployment) -> String {
    let template = &deployment.spec.as_ref().unwrap().template;
    serde_json::to_string(template).unwrap()
}

fn new_pod(name: &str, deployment: &Deployment, uid: &str) -> Pod {
    let template = &deployment.spec.as_ref().unwrap().template;
    let image = template.spec.as_ref().unwrap().containers[0]
        .image
        .clone()
        .unwrap();
    let meta = template.metadata.clone().unwrap_or_default();
    let mut annotations = meta.annotations.unwrap_or_default();
    annotations.insert(TEMPLATE.to_owned(), template_key(deployment));
    let status = ContainerStatus {
        name: "main".to_owned(),
        state: Some(first_state(Image::of(&image))),
        restart_count: i32::from(Image::of(&image) == Image::Crashes),
        image,
        ..ContainerStatus::default()
    };
    let mut pod = Pod {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
            labels: meta.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![OwnerReference {
                api_version: "apps/v1".to_owned(),
                kind: "Deployment".to_owned(),
                name: deployment.metadata.name.clone().unwrap(),
                uid: uid.to_owned(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        status: Some(PodStatus {
            container_statuses: Some(vec![status]),
            ..PodStatus::default()
        }),
        ..Pod::default()
    };
    set_ready(&mut pod, false);
    pod
}

fn first_state(image: Image) -> ContainerState {
    let waiting = |reason: &str| ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message: None,
        }),
        ..ContainerState::default()
    };
    match image {
        Image::Good | Image::Wrong => waiting("ContainerCreating"),
        Image::CannotBePulled => waiting("ImagePullBackOff"),
        Image::Crashes => ContainerState {
            terminated: Some(k8s_openapi::api::core::v1::ContainerStateTerminated {
                exit_code: 1,
                ..Default::default()
            }),
            ..ContainerState::default()
        },
        Image::NeverReady => ContainerState {
            running: Some(ContainerStateRunning::default()),
            ..ContainerState::default()
        },
    }
}

fn set_ready(pod: &mut Pod, ready: bool) {
    let status = pod.status.get_or_insert_default();
    status.conditions = Some(vec![PodCondition {
        type_: "Ready".to_owned(),
        status: if ready { "True" } else { "False" }.to_owned(),
        ..PodCondition::default()
    }]);
    if ready && let Some(containers) = &mut status.container_statuses {
        containers[0].state = Some(first_state(Image::NeverReady));
    }
}

pub(crate) fn is_ready(body: &Body) -> bool {
    let conditions = body
        .pod()
        .and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
    !body.is_going()
        && conditions.is_some_and(|list| {
            list.iter()
                .any(|c| c.type_ == "Ready" && c.status == "True")
        })
}

pub(crate) fn image_of(pod: &Body) -> Option<&str> {
    let containers = pod.pod()?.status.as_ref()?.container_statuses.as_ref()?;
    Some(&containers.first()?.image)
}

fn name_of(stored: &std::sync::Arc<crate::world::Stored>) -> String {
    stored.body.name().to_owned()
}

fn owner_of(world: &World, pod: &str) -> Option<String> {
    let pod = world.get(Resource::Pod, pod)?;
    pod.body.owners().next().map(|(_, name, _)| name.to_owned())
}

/// An object whose owners are gone or going in the foreground, or that waits for dependents it has
/// no more.
fn garbage(world: &World) -> Option<(Resource, String)> {
    let alive: BTreeSet<&str> = world
        .all()
        .filter(|stored| !stored.body.is_going() || stored.body.resource() == Resource::Pod)
        .map(|stored| stored.body.uid())
        .collect();
    let owning: BTreeSet<&str> = world
        .all()
        .flat_map(|stored| stored.body.owners().map(|(_, _, uid)| uid))
        .collect();
    let orphan = |body: &Body| {
        !body.is_going()
            && body.owners().next().is_some()
            && body.owners().all(|(_, _, uid)| !alive.contains(uid))
    };
    let finished = |body: &Body| {
        body.is_going() && body.resource() != Resource::Pod && !owning.contains(body.uid())
    };
    let found = world
        .all()
        .find(|stored| orphan(&stored.body) || finished(&stored.body))?;
    Some((found.body.resource(), found.body.name().to_owned()))
}

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

//! What people do to a running system, by chance.

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use orlop_crds::{
    AppPlatformSpec,
    app_platform::ServiceComponent,
    release::{COMMAND, ReleasePhase, Verb},
};
use orlop_plan::{Kind, Object, labels};
use serde_json::{Value, json};

use crate::{
    cluster::at,
    declare::{self, ALONE, PLATFORM},
    simulation::Simulation,
    world::{Body, Propagation, Resource, World},
};

const APP_SERVICES: Resource = Resource::Of(Kind::AppService);
const SERVICES: Resource = Resource::Of(Kind::Service);
const DEPLOYMENTS: Resource = Resource::Of(Kind::Deployment);

/// Names of services, of which an application has some at any time.
const NAMES: [&str; 4] = ["crane", "lantern", "ferry", "pilot"];
const TAGS: [&str; 8] = [
    "1",
    "2",
    "3",
    "4",
    "5-absent",
    "6-crash",
    "7-unready",
    "8-wrong",
];
/// A revision that never was.
const UNKNOWN: &str = "0123456789";
/// Marks what is not ours.
const FOREIGN: &str = "sim/foreign";

/// Declares an application of one to three services, and a service that stands alone.
pub(crate) fn begin(simulation: &mut Simulation) {
    let count = 1 + simulation.dice.below(3);
    let services: Vec<Value> = NAMES[..count]
        .iter()
        .map(|name| any_service(simulation, name))
        .collect();
    let body = declare::platform(declare::platform_spec(&services));
    simulation.world.create(body, at(simulation.now)).unwrap();
    let alone = declare::alone(declare::alone_spec("acme/buoy:1", 2));
    simulation.world.create(alone, at(simulation.now)).unwrap();
}

/// One thing that people do.
pub(crate) fn act(simulation: &mut Simulation) {
    match simulation.dice.below(30) {
        20..22 => change_release(simulation),
        22..29 => command(simulation),
        0..5 => change_image(simulation),
        5..7 => change_replicas(simulation),
        7 => change_services(simulation),
        8 => change_routes(simulation),
        9 => change_alone(simulation),
        10..12 => delete_something(simulation),
        12 => edit_replicas(simulation),
        13 => edit_selector(simulation),
        14 => strip_labels(simulation),
        15 => strip_owner(simulation),
        16 => take_a_name(simulation),
        17 => wipe_a_status(simulation),
        18 => {
            simulation.cluster.quota = if simulation.dice.per_mille(500) {
                6
            } else {
                usize::MAX
            }
        }
        _ => begin_anew(simulation),
    }
}

/// Lets every release through that waits for somebody, or is held back; false if there was none.
pub(crate) fn let_through(simulation: &mut Simulation) -> bool {
    let services = simulation.world.list(APP_SERVICES);
    let waiting: Vec<_> = services
        .filter_map(|stored| {
            let service = stored.body.app_service()?;
            let record = &service.status.as_ref()?.record;
            let held = record.hold.as_ref().map(|hold| hold.revision.clone());
            let release = record.release.as_ref();
            let waiting = release.filter(|release| {
                release.phase == ReleasePhase::Gated || release.paused_since.is_some()
            });
            let revision = held.or_else(|| waiting.map(|release| release.to.clone()))?;
            Some((stored.body.name().to_owned(), revision))
        })
        .collect();
    for (name, revision) in &waiting {
        annotate(simulation, name, &format!("promote-full@{revision}"));
    }
    !waiting.is_empty()
}

/// Commands something of a release: of one that is under way, or long over, or never was.
fn command(simulation: &mut Simulation) {
    let services: Vec<_> = simulation.world.list(APP_SERVICES).cloned().collect();
    if services.is_empty() {
        return;
    }
    let stored = simulation.dice.pick(&services).clone();
    let service = stored.body.app_service().unwrap();
    let record = service.status.as_ref().map(|status| status.record.clone());
    let record = record.unwrap_or_default();
    let release = record.release.as_ref();
    let mut revisions = vec![UNKNOWN.to_owned()];
    revisions.extend(record.active_revision.clone());
    revisions.extend(record.previous_revision.clone());
    revisions.extend(record.hold.as_ref().map(|hold| hold.revision.clone()));
    // Most often the one that is being released.
    for _ in 0..3 {
        revisions.extend(release.map(|release| release.to.clone()));
    }
    revisions.extend(release.map(|release| release.from.clone()));
    let revision = simulation.dice.pick(&revisions).clone();
    let verb = simulation.dice.pick(&Verb::ALL).as_str();
    annotate(
        simulation,
        stored.body.name(),
        &format!("{verb}@{revision}"),
    );
}

/// Commands something of the declared revision, if that is being released or held back.
pub(crate) fn command_declared(simulation: &mut Simulation, name: &str, verb: Verb) {
    let stored = simulation.world.get(APP_SERVICES, name).unwrap().clone();
    let status = stored.body.app_service().unwrap().status.as_ref();
    let record = status
        .map(|status| status.record.clone())
        .unwrap_or_default();
    let held = record.hold.map(|hold| hold.revision);
    let declared = held.or(record.release.map(|release| release.to));
    if let Some(revision) = declared {
        annotate(simulation, name, &format!("{}@{revision}", verb.as_str()));
    }
}

fn annotate(simulation: &mut Simulation, service: &str, command: &str) {
    // Said once more, it is another command.
    let command = format!("{command}#{}", simulation.world.version());
    simulation.world.edit(APP_SERVICES, service, |body| {
        let annotations = body.meta_mut().annotations.get_or_insert_default();
        annotations.insert(COMMAND.to_owned(), command.clone());
    });
    told(simulation, &format!("commands {command} of {service}"));
}

fn change_release(simulation: &mut Simulation) {
    let release = any_release(simulation);
    edit_a_service(simulation, |service| {
        service.template.release = Some(serde_json::from_value(release.clone()).unwrap());
    });
    told(simulation, "changes how a service is released");
}

fn any_release(simulation: &mut Simulation) -> Value {
    let dice = &mut simulation.dice;
    let check = |name: &str, when: &str| json!({"name": name, "when": when, "http": {"path": "/"}, "count": 2, "failures": 2});
    let mut release = json!({
        "drain": *dice.pick(&["0s", "5s", "20s"]),
        "keepOld": *dice.pick(&["0s", "10s", "60s"]),
    });
    match dice.below(6) {
        0 => release["promote"] = json!({"mode": "Manual"}),
        1 => release["promote"] = json!({"after": "10s"}),
        _ => {}
    }
    if dice.per_mille(300) {
        release["preview"] = json!({"replicas": 1});
    }
    if dice.per_mille(200) {
        release["readyAtLeast"] = json!(50);
    }
    // Most are so generous that they end nothing by chance.
    if dice.per_mille(200) {
        release["deadline"] = json!("30s");
    }
    let mut checks = Vec::new();
    if dice.per_mille(300) {
        checks.push(check("before", "BeforeSwitch"));
    }
    if dice.per_mille(300) {
        checks.push(check("after", "AfterSwitch"));
    }
    release["checks"] = json!(checks);
    release
}

/// At last everything that was broken is put right: images that run, room, names that are free.
pub(crate) fn put_right(simulation: &mut Simulation) {
    simulation.cluster.quota = usize::MAX;
    let foreign: Vec<_> = simulation
        .world
        .all()
        .filter(|stored| is_foreign(&stored.body) || is_orphan(&simulation.world, &stored.body))
        .map(|stored| (stored.body.resource(), stored.body.name().to_owned()))
        .collect();
    for (resource, name) in foreign {
        simulation.world.remove(resource, &name);
    }
    give_labels_back(simulation);
    if live_platform(&simulation.world).is_none() {
        begin_platform(simulation);
    }
    let good = format!("acme/lantern:{}", 1 + simulation.dice.below(4));
    edit_platform(simulation, |spec| {
        for service in &mut spec.services {
            let image = &service.image;
            if crate::cluster::Image::of(image) != crate::cluster::Image::Good {
                service.image.clone_from(&good);
            }
        }
    });
    told(simulation, "everything is put right");
}

fn told(simulation: &mut Simulation, what: &str) {
    simulation.tell(&format!("people: {what}"));
}

fn any_service(simulation: &mut Simulation, name: &str) -> Value {
    let replicas = i32::try_from(1 + simulation.dice.below(3)).unwrap();
    let tag = simulation.dice.pick(&TAGS[..4]);
    let mut service = declare::service(name, &format!("acme/{name}:{tag}"), replicas);
    if simulation.dice.per_mille(400) {
        service["release"] = any_release(simulation);
    }
    if name == NAMES[1] || simulation.dice.per_mille(300) {
        declare::routed(service, &format!("/{name}"))
    } else {
        service
    }
}

fn live_platform(world: &World) -> Option<AppPlatformSpec> {
    let stored = world.get(Resource::AppPlatform, PLATFORM)?;
    let is_alive = !stored.body.is_going();
    stored
        .body
        .app_platform()
        .filter(|_| is_alive)
        .map(|platform| platform.spec.clone())
}

fn edit_platform(simulation: &mut Simulation, change: impl FnOnce(&mut AppPlatformSpec)) {
    if live_platform(&simulation.world).is_none() {
        return;
    }
    simulation
        .world
        .edit(Resource::AppPlatform, PLATFORM, |body| {
            change(&mut body.app_platform_mut().unwrap().spec);
        });
}

fn edit_a_service(simulation: &mut Simulation, change: impl FnOnce(&mut ServiceComponent)) {
    let roll = simulation.dice.below(NAMES.len());
    edit_platform(simulation, |spec| {
        let count = spec.services.len();
        if let Some(service) = spec.services.get_mut(roll % count.max(1)) {
            change(service);
        }
    });
}

fn change_image(simulation: &mut Simulation) {
    let tag = *simulation.dice.pick(&TAGS);
    edit_a_service(simulation, |service| {
        service.image = format!("acme/{}:{tag}", service.name);
    });
    told(simulation, &format!("image :{tag}"));
}

fn change_replicas(simulation: &mut Simulation) {
    let replicas = i32::try_from(simulation.dice.below(5)).unwrap();
    edit_a_service(simulation, |service| {
        service.template.replicas = Some(replicas);
    });
    told(simulation, &format!("{replicas} replicas"));
}

fn change_services(simulation: &mut Simulation) {
    let name = *simulation.dice.pick(&NAMES);
    let service = any_service(simulation, name);
    edit_platform(simulation, |spec| {
        let count = spec.services.len();
        spec.services
            .retain(|service| service.name != name || count == 1);
        if spec.services.len() == count && spec.services.iter().all(|s| s.name != name) {
            spec.services.push(serde_json::from_value(service).unwrap());
        }
    });
    told(simulation, &format!("adds or removes {name}"));
}

fn change_routes(simulation: &mut Simulation) {
    edit_a_service(simulation, |service| {
        if service.routes.is_empty() {
            let route = json!({"name": "way", "path": format!("/{}", service.name)});
            service.routes.push(serde_json::from_value(route).unwrap());
        } else {
            service.routes.clear();
        }
    });
    told(simulation, "adds or removes a route");
}

fn change_alone(simulation: &mut Simulation) {
    let tag = *simulation.dice.pick(&TAGS[..4]);
    let replicas = i32::try_from(simulation.dice.below(4)).unwrap();
    simulation.world.edit(APP_SERVICES, ALONE, |body| {
        body.app_service_mut().unwrap().spec =
            declare::alone_spec(&format!("acme/buoy:{tag}"), replicas);
    });
    told(
        simulation,
        &format!("{ALONE} has image :{tag} and {replicas} replicas"),
    );
}

/// Something that an operator made.
fn a_child(simulation: &mut Simulation, of: &[Resource]) -> Option<(Resource, String)> {
    let ours: Vec<_> = of
        .iter()
        .flat_map(|resource| simulation.world.list(*resource))
        .filter(|stored| !is_foreign(&stored.body) && stored.body.owners().next().is_some())
        .map(|stored| (stored.body.resource(), stored.body.name().to_owned()))
        .collect();
    (!ours.is_empty()).then(|| simulation.dice.pick(&ours).clone())
}

fn delete_something(simulation: &mut Simulation) {
    let kinds: Vec<_> = Kind::ALL.iter().copied().map(Resource::Of).collect();
    let Some((resource, name)) = a_child(simulation, &kinds) else {
        return;
    };
    let propagation = any_propagation(simulation);
    let now = at(simulation.now);
    simulation
        .world
        .delete(resource, &name, None, propagation, now)
        .unwrap();
    told(
        simulation,
        &format!("deletes {resource:?} {name} in the {propagation:?}"),
    );
}

fn any_propagation(simulation: &mut Simulation) -> Propagation {
    if simulation.dice.per_mille(700) {
        Propagation::Background
    } else {
        Propagation::Foreground
    }
}

fn edit_replicas(simulation: &mut Simulation) {
    let Some((resource, name)) = a_child(simulation, &[DEPLOYMENTS]) else {
        return;
    };
    let replicas = i32::try_from(simulation.dice.below(4)).unwrap();
    simulation.world.edit(resource, &name, |body| {
        let spec = body.deployment_mut().unwrap().spec.as_mut().unwrap();
        spec.replicas = Some(replicas);
    });
    told(
        simulation,
        &format!("scales Deployment {name} to {replicas}"),
    );
}

fn edit_selector(simulation: &mut Simulation) {
    let Some((resource, name)) = a_child(simulation, &[SERVICES]) else {
        return;
    };
    let revisions = simulation
        .world
        .list(DEPLOYMENTS)
        .filter(|stored| stored.body.label(labels::OWNER_NAME) == Some(&name));
    let revisions: Vec<_> = revisions
        .filter_map(|s| s.body.label(labels::REVISION).map(str::to_owned))
        .collect();
    let roll = simulation.dice.below(3);
    let other = (!revisions.is_empty()).then(|| simulation.dice.pick(&revisions).clone());
    simulation.world.edit(resource, &name, |body| {
        let Body::Object(Object::Service(service)) = body else {
            return;
        };
        let selector = service
            .spec
            .get_or_insert_default()
            .selector
            .get_or_insert_default();
        match (roll, other) {
            (0, _) => drop(selector.remove(labels::REVISION)),
            (1, Some(other)) => drop(selector.insert(labels::REVISION.to_owned(), other)),
            _ => drop(selector.insert("extra".to_owned(), "key".to_owned())),
        }
    });
    told(simulation, &format!("edits the selector of Service {name}"));
}

fn strip_labels(simulation: &mut Simulation) {
    let kinds: Vec<_> = Kind::ALL.iter().copied().map(Resource::Of).collect();
    let Some((resource, name)) = a_child(simulation, &kinds) else {
        return;
    };
    simulation
        .world
        .edit(resource, &name, |body| body.meta_mut().labels = None);
    told(
        simulation,
        &format!("takes the labels of {resource:?} {name}"),
    );
}

fn strip_owner(simulation: &mut Simulation) {
    let kinds: Vec<_> = Kind::ALL.iter().copied().map(Resource::Of).collect();
    let Some((resource, name)) = a_child(simulation, &kinds) else {
        return;
    };
    let labelled = simulation
        .world
        .get(resource, &name)
        .is_some_and(|stored| stored.body.label(labels::OWNER).is_some());
    // Without both nobody can know whose it is.
    if labelled {
        simulation.world.edit(resource, &name, |body| {
            body.meta_mut().owner_references = None;
        });
        told(
            simulation,
            &format!("takes the owner of {resource:?} {name}"),
        );
    }
}

/// An object of somebody else, under a name that may be needed.
fn take_a_name(simulation: &mut Simulation) {
    let name = format!("{PLATFORM}-{}", simulation.dice.pick(&NAMES));
    let metadata = json!({
        "name": if simulation.dice.per_mille(300) { format!("{PLATFORM}-edge") } else { name },
        "annotations": {FOREIGN: "yes"},
    });
    let object: Object = if simulation.dice.per_mille(500) {
        serde_json::from_value::<Service>(json!({"metadata": metadata}))
            .unwrap()
            .into()
    } else {
        serde_json::from_value::<ConfigMap>(json!({"metadata": metadata}))
            .unwrap()
            .into()
    };
    let name = object.name();
    if simulation
        .world
        .create(Body::Object(object), at(simulation.now))
        .is_ok()
    {
        told(simulation, &format!("takes the name {name}"));
    }
}

fn is_foreign(body: &Body) -> bool {
    body.meta()
        .annotations
        .as_ref()
        .is_some_and(|map| map.contains_key(FOREIGN))
}

/// What lost its labels is set right as long as it is wanted. What ceased to be wanted while no
/// operator ran is found by nobody, since watches select by label: it goes with its owner.
fn give_labels_back(simulation: &mut Simulation) {
    let stripped: Vec<_> = simulation
        .world
        .all()
        .filter(|stored| stored.body.label(labels::MANAGED_BY).is_none())
        .filter(|stored| stored.body.owners().next().is_some())
        .map(|stored| (stored.body.resource(), stored.body.name().to_owned()))
        .collect();
    for (resource, name) in stripped {
        simulation.world.edit(resource, &name, |body| {
            let map = body.meta_mut().labels.get_or_insert_default();
            map.insert(labels::MANAGED_BY.to_owned(), labels::ORLOP.to_owned());
        });
    }
}

/// Somebody took its owner reference, and the owner was gone before it was put back: now nothing
/// but its label tells whose it was, and the garbage collector leaves it alone.
fn is_orphan(world: &World, body: &Body) -> bool {
    let owner = body.label(labels::OWNER);
    body.owners().next().is_none()
        && owner.is_some_and(|owner| world.all().all(|other| other.body.uid() != owner))
}

fn wipe_a_status(simulation: &mut Simulation) {
    if simulation.dice.per_mille(300) {
        simulation
            .world
            .edit(Resource::AppPlatform, PLATFORM, |body| {
                body.app_platform_mut().unwrap().status = None;
            });
        told(simulation, "wipes the status of the application");
        return;
    }
    let services: Vec<_> = simulation
        .world
        .list(APP_SERVICES)
        .map(|s| s.body.name().to_owned())
        .collect();
    if services.is_empty() {
        return;
    }
    let name = simulation.dice.pick(&services).clone();
    simulation.world.edit(APP_SERVICES, &name, |body| {
        body.app_service_mut().unwrap().status = None;
    });
    told(simulation, &format!("wipes the status of {name}"));
}

/// The application is deleted, or made again after it was.
fn begin_anew(simulation: &mut Simulation) {
    if live_platform(&simulation.world).is_none() {
        begin_platform(simulation);
    } else if simulation.dice.per_mille(400) {
        let propagation = any_propagation(simulation);
        let now = at(simulation.now);
        simulation
            .world
            .delete(Resource::AppPlatform, PLATFORM, None, propagation, now)
            .unwrap();
        told(
            simulation,
            &format!("deletes the application in the {propagation:?}"),
        );
    }
}

fn begin_platform(simulation: &mut Simulation) {
    let services = [
        any_service(simulation, NAMES[0]),
        any_service(simulation, NAMES[1]),
    ];
    let body = declare::platform(declare::platform_spec(&services));
    // One that is being deleted in the foreground keeps its name until it is gone.
    if simulation.world.create(body, at(simulation.now)).is_ok() {
        told(simulation, "declares the application anew");
    }
}

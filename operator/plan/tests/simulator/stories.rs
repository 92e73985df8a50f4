//! What people see when something is wrong, and that it heals by itself once it is put right.

use k8s_openapi::api::core::v1::Service;
use orlop_crds::release::Verb;
use orlop_plan::{Kind, Object, labels};
use serde_json::{Value, json};

use crate::{
    cluster::at,
    declare::{self, PLATFORM},
    ending::{all_is_ready, condition, stays_at_rest},
    people,
    report::Broken,
    simulation::Simulation,
    world::{Body, Resource},
};

#[test]
fn a_bad_image_is_told_and_the_old_revision_goes_on_being_served() {
    let cases = [
        ("2-absent", "ImagePullFailed", "cannot be pulled"),
        ("2-crash", "CrashLooping", "ends with exit code 1"),
        ("2-unready", "ProbeFailing", "statuscode: 503"),
    ];
    for (tag, reason, cause) in cases {
        let mut simulation = running();
        let served = selected(&simulation);
        set_image(&mut simulation, &format!("acme/lantern:{tag}"));
        rested(&mut simulation);
        assert_eq!(told(&simulation).0, reason, "{tag}");
        assert!(
            told(&simulation).1.contains(cause),
            "{:?}",
            told(&simulation)
        );
        assert_eq!(selected(&simulation), served, "{tag}");
        set_image(&mut simulation, "acme/lantern:3");
        rested(&mut simulation);
        healed(&mut simulation);
        assert_ne!(selected(&simulation), served, "{tag}");
    }
}

#[test]
fn a_quota_without_room_is_told() {
    let mut simulation = running();
    simulation.cluster.quota = 5;
    set_image(&mut simulation, "acme/lantern:2");
    simulation
        .world
        .edit(Resource::AppPlatform, PLATFORM, |body| {
            let services = &mut body.app_platform_mut().unwrap().spec.services;
            services[0].template.replicas = Some(4);
        });
    for _ in 0..3000 {
        succeeds(simulation.step());
    }
    assert_eq!(
        told(&simulation).0,
        "QuotaExceeded",
        "{:?}",
        told(&simulation)
    );
    simulation.cluster.quota = usize::MAX;
    rested(&mut simulation);
    healed(&mut simulation);
}

#[test]
fn a_name_that_somebody_else_has_is_refused_and_never_taken() {
    let mut simulation = Simulation::new(1, 1, 100);
    let foreign: Service = serde_json::from_value(json!({
        "metadata": {"name": "harbour-lantern"}, "spec": {"selector": {"app": "theirs"}},
    }))
    .unwrap();
    let foreign = Body::Object(Object::from(foreign));
    simulation
        .world
        .create(foreign, at(simulation.now))
        .unwrap();
    declare_lantern(&mut simulation);
    rested(&mut simulation);
    let (reason, message) = told(&simulation);
    assert_eq!(reason, "NameTaken");
    assert!(message.contains("Service/harbour-lantern"), "{message}");
    let theirs = simulation
        .world
        .get(Resource::Of(Kind::Service), "harbour-lantern")
        .unwrap();
    assert_eq!(theirs.body.selector().unwrap()["app"], "theirs");
    simulation
        .world
        .remove(Resource::Of(Kind::Service), "harbour-lantern");
    rested(&mut simulation);
    healed(&mut simulation);
}

#[test]
fn a_check_that_fails_is_told_and_the_old_revision_serves() {
    for when in ["BeforeSwitch", "AfterSwitch"] {
        let mut simulation = running();
        let served = selected(&simulation);
        set_release(
            &mut simulation,
            &json!({"checks": [{"name": "home", "when": when, "http": {"path": "/"}}]}),
        );
        set_image(&mut simulation, "acme/lantern:2-wrong");
        rested(&mut simulation);
        let (reason, message) = told(&simulation);
        assert_eq!(reason, "ReleaseHeld", "{when}: {message}");
        assert!(message.contains("check 'home' failed"), "{message}");
        assert_eq!(selected(&simulation), served, "{when}");
        set_image(&mut simulation, "acme/lantern:3");
        rested(&mut simulation);
        healed(&mut simulation);
        assert_ne!(selected(&simulation), served, "{when}");
    }
}

#[test]
fn a_gate_stays_shut_whatever_is_done_to_the_selector() {
    let mut simulation = running();
    let served = selected(&simulation);
    set_release(
        &mut simulation,
        &json!({"promote": {"mode": "Manual"}, "preview": {"replicas": 1}}),
    );
    set_image(&mut simulation, "acme/lantern:2");
    rested(&mut simulation);
    assert_eq!(told(&simulation).0, "AwaitingPromotion");
    let services = Resource::Of(Kind::Service);
    let preview = simulation.world.get(services, "harbour-lantern-preview");
    let new = preview.unwrap().body.selector().unwrap()[labels::REVISION].clone();
    assert_ne!(new, served);
    for edited in [Some(new.clone()), None] {
        simulation.world.edit(services, "harbour-lantern", |body| {
            edit_selector(body, edited);
        });
        rested(&mut simulation);
        assert_eq!(selected(&simulation), served);
        assert_eq!(told(&simulation).0, "AwaitingPromotion");
    }
    people::command_declared(&mut simulation, "harbour-lantern", Verb::Promote);
    rested(&mut simulation);
    healed(&mut simulation);
    assert_eq!(selected(&simulation), new);
}

fn edit_selector(body: &mut Body, revision: Option<String>) {
    let Body::Object(Object::Service(service)) = body else {
        panic!("it is a Service");
    };
    let selector = service.spec.as_mut().unwrap().selector.as_mut().unwrap();
    match revision {
        Some(revision) => drop(selector.insert(labels::REVISION.to_owned(), revision)),
        None => selector.clear(),
    }
}

fn running() -> Simulation {
    let mut simulation = Simulation::new(1, 1, 100);
    declare_lantern(&mut simulation);
    rested(&mut simulation);
    succeeds(all_is_ready(&simulation));
    simulation
}

fn declare_lantern(simulation: &mut Simulation) {
    let service = declare::service("lantern", "acme/lantern:1", 2);
    let spec = declare::platform_spec(&[declare::routed(service, "/")]);
    simulation
        .world
        .create(declare::platform(spec), at(simulation.now))
        .unwrap();
}

fn set_release(simulation: &mut Simulation, release: &Value) {
    let release = serde_json::from_value(release.clone()).unwrap();
    simulation
        .world
        .edit(Resource::AppPlatform, PLATFORM, |body| {
            let services = &mut body.app_platform_mut().unwrap().spec.services;
            services[0].template.release = Some(release);
        });
    rested(simulation);
}

fn set_image(simulation: &mut Simulation, image: &str) {
    simulation
        .world
        .edit(Resource::AppPlatform, PLATFORM, |body| {
            image.clone_into(&mut body.app_platform_mut().unwrap().spec.services[0].image);
        });
}

fn rested(simulation: &mut Simulation) {
    succeeds(simulation.rest());
}

fn healed(simulation: &mut Simulation) {
    succeeds(all_is_ready(simulation));
    succeeds(stays_at_rest(simulation));
}

fn succeeds(result: Result<(), Broken>) {
    result.unwrap_or_else(|broken| panic!("{broken}"));
}

/// Reason and message of the application's condition `Ready`.
fn told(simulation: &Simulation) -> (String, String) {
    let platform = simulation
        .world
        .get(Resource::AppPlatform, PLATFORM)
        .unwrap();
    let ready = condition(&platform.body, "Ready").unwrap();
    (ready.reason.clone(), ready.message.clone())
}

fn selected(simulation: &Simulation) -> String {
    let service = simulation
        .world
        .get(Resource::Of(Kind::Service), "harbour-lantern")
        .unwrap();
    service.body.selector().unwrap()[labels::REVISION].clone()
}

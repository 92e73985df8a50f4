//! A crash, and every other way to lose a write, at each write of a creation and of a switch.

use std::collections::BTreeMap;

use orlop_crds::release::Verb;
use orlop_plan::Kind;
use serde_json::Value;

use crate::{
    declare,
    ending::{all_is_ready, stays_at_rest},
    faults::{Fate, Faults},
    people,
    report::{Broken, Totals},
    simulation::Simulation,
    snapshot::{difference, snapshot},
    world::Resource,
};

const FATES: [Fate; 4] = [
    Fate::CrashBefore,
    Fate::CrashAfter,
    Fate::AnswerLost,
    Fate::Lost,
];

#[test]
fn a_creation_survives_the_loss_of_any_write() {
    at_every_write("creation", |faults| {
        let mut simulation = Simulation::new(1, 1, 100);
        simulation.faults = faults;
        create(&mut simulation, 1);
        simulation.rest()?;
        Ok(simulation)
    });
}

#[test]
fn a_switch_survives_the_loss_of_any_write() {
    at_every_write("switch", |faults| {
        let mut simulation = Simulation::new(1, 1, 100);
        create(&mut simulation, 1);
        simulation.rest()?;
        simulation.faults = faults.after(simulation.totals.writes);
        let spec = platform_spec(2);
        simulation
            .world
            .edit(Resource::AppPlatform, declare::PLATFORM, |body| {
                body.app_platform_mut().unwrap().spec = spec;
            });
        simulation.rest()?;
        Ok(simulation)
    });
}

#[test]
fn a_removal_survives_the_loss_of_any_write() {
    at_every_write("removal", |faults| {
        let mut simulation = Simulation::new(1, 1, 100);
        create(&mut simulation, 1);
        simulation.rest()?;
        simulation.faults = faults.after(simulation.totals.writes);
        let spec = declare::platform_spec(&[declare::service("crane", "acme/crane:1", 1)]);
        simulation
            .world
            .edit(Resource::AppPlatform, declare::PLATFORM, |body| {
                body.app_platform_mut().unwrap().spec = spec;
            });
        simulation.rest()?;
        Ok(simulation)
    });
}

#[test]
fn a_release_with_every_phase_survives_the_loss_of_any_write() {
    at_every_write("release", |faults| {
        let mut simulation = alone(faults)?;
        simulation.rest()?;
        Ok(simulation)
    });
}

#[test]
fn an_abort_survives_the_loss_of_any_write() {
    at_every_write("abort", |faults| {
        let mut simulation = alone(faults)?;
        // However far the release is, it ends on the old revision, and on the new one when it is
        // promoted again.
        for verb in [Verb::Abort, Verb::PromoteFull] {
            for _ in 0..60 {
                simulation.step()?;
            }
            people::command_declared(&mut simulation, declare::ALONE, verb);
            simulation.rest()?;
        }
        Ok(simulation)
    });
}

/// A service of which a new image was just declared, to be released in every phase there is.
fn alone(faults: Faults) -> Result<Simulation, Broken> {
    let mut simulation = Simulation::new(1, 1, 100);
    let body = declare::alone(declare::released_spec("acme/buoy:1", 2));
    let now = crate::cluster::at(simulation.now);
    simulation.world.create(body, now).unwrap();
    simulation.rest()?;
    simulation.faults = faults.after(simulation.totals.writes);
    let services = Resource::Of(Kind::AppService);
    simulation.world.edit(services, declare::ALONE, |body| {
        body.app_service_mut().unwrap().spec = declare::released_spec("acme/buoy:2", 2);
    });
    Ok(simulation)
}

fn platform_spec(version: u32) -> orlop_crds::AppPlatformSpec {
    let lantern = declare::service("lantern", &format!("acme/lantern:{version}"), 2);
    let crane = declare::service("crane", &format!("acme/crane:{version}"), 1);
    declare::platform_spec(&[
        declare::routed(declare::using(lantern, "crane"), "/"),
        crane,
    ])
}

fn create(simulation: &mut Simulation, version: u32) {
    let body = declare::platform(platform_spec(version));
    simulation
        .world
        .create(body, crate::cluster::at(simulation.now))
        .unwrap();
}

fn at_every_write(what: &str, run: impl Fn(Faults) -> Result<Simulation, Broken>) {
    let undisturbed = run(Faults::None).unwrap_or_else(|broken| panic!("{what}: {broken}"));
    let should = snapshot(&undisturbed.world);
    let mut totals = Totals::default();
    let mut points = 0;
    for fate in FATES {
        for write in 0.. {
            let told = format!("{what}, write {write}: {fate:?}");
            let mut simulation =
                run(Faults::At { write, fate }).unwrap_or_else(|broken| panic!("{told}: {broken}"));
            let reached = simulation.faults.reached(simulation.totals.writes);
            let end = as_should(&mut simulation, &should);
            end.unwrap_or_else(|broken| panic!("{told}: {broken}"));
            totals.add(simulation.finished());
            if !reached {
                break;
            }
            points += 1;
        }
    }
    assert!(points > 20, "{what}: only {points} writes were disturbed");
    println!("{what}: {points} disturbed writes; {totals}");
}

fn as_should(simulation: &mut Simulation, should: &BTreeMap<String, Value>) -> Result<(), Broken> {
    if let Some(difference) = difference(&snapshot(&simulation.world), should) {
        return Err(simulation.broken(difference));
    }
    all_is_ready(simulation)?;
    stays_at_rest(simulation)
}

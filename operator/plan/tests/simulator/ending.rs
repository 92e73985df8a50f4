//! What must hold once nothing goes wrong any more and the world has come to rest.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{report::Broken, simulation::Simulation, world::Body};

/// Every primary object says that it is ready.
pub(crate) fn all_is_ready(simulation: &Simulation) -> Result<(), Broken> {
    for stored in simulation
        .world
        .all()
        .filter(|stored| stored.body.resource().is_primary())
    {
        let ready = condition(&stored.body, "Ready");
        if ready.is_none_or(|ready| ready.status != "True") {
            let name = stored.body.name();
            return Err(simulation.broken(format!("{name} is not ready at the end: {ready:?}")));
        }
    }
    Ok(())
}

pub(crate) fn condition<'a>(body: &'a Body, kind: &str) -> Option<&'a Condition> {
    let conditions = match body {
        Body::AppPlatform(platform) => &platform.status.as_ref()?.conditions,
        body => &body.app_service()?.status.as_ref()?.conditions,
    };
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Two further passes over everything send nothing and want no other, nor do two after a restart.
pub(crate) fn stays_at_rest(simulation: &mut Simulation) -> Result<(), Broken> {
    simulation.calm();
    for restart in [false, true] {
        if restart {
            let now = simulation.now;
            simulation.processes[0].restart(&simulation.world, now);
        }
        for _ in 0..2 {
            let writes = simulation.totals.writes;
            let now = simulation.now;
            simulation.processes[0].look_at_everything(now);
            simulation.rest()?;
            if simulation.processes[0].next_due().is_some() {
                return Err(simulation.broken("somebody is to be woken again".to_owned()));
            }
            if simulation.totals.writes != writes {
                return Err(
                    simulation.broken("a pass over a world at rest sends something".to_owned())
                );
            }
        }
    }
    Ok(())
}

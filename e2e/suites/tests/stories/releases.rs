//! Releases of a service, under load: what is promised of each step, and that nothing is lost.

mod checks;
mod commands;
mod death;
mod gate;
mod storm;
mod workers;

use orlop_suites::{Report, figure};

/// Prints a load's requests and how many of them were lost.
fn told(story: &str, load: &Report) {
    println!("{story}: {load}");
    let name = |what: &str| format!("release.{story}.{what}");
    figure(&name("requests"), load.outcomes.len(), "requests");
    figure(&name("requests-lost"), load.lost().count(), "requests");
}

//! `cargo xtask VERB`: the project's verbs. This file only dispatches; each verb
//! has a file of its own.

mod cluster;
mod command;
mod down;
mod generate;
mod images;
mod install;
mod kubectl;
mod lint;
mod progress;
mod stages;
mod target;
mod test;
mod up;
mod workspace;
mod zone;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "The project's verbs"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start the local three-zone Kubernetes, install Orlop and an example
    Up(up::Args),
    /// Stop the local Kubernetes and remove every trace of it
    Down(down::Args),
    /// Write every generated file: definitions, reference
    Gen(generate::Args),
    /// Run the tests: all, or those that need no cluster, or those that do
    Test(test::Args),
    /// Judge format, lints, dependencies, crate boundaries and chart
    Lint(lint::Args),
    /// Run kubectl against the local Kubernetes
    Kubectl(kubectl::Args),
    /// Cut, heal or kill a zone of the local Kubernetes
    #[command(hide = true)]
    Zone(zone::Args),
    /// Become a component of the local Kubernetes (used by `up`)
    #[command(hide = true)]
    Launch(cluster::LaunchArgs),
}

fn main() -> ExitCode {
    let verdict = match Cli::parse().verb {
        Verb::Up(args) => up::run(&args),
        Verb::Down(args) => down::run(&args),
        Verb::Gen(args) => generate::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Lint(args) => lint::run(&args),
        Verb::Kubectl(args) => kubectl::run(&args),
        Verb::Zone(args) => zone::run(&args),
        Verb::Launch(args) => cluster::launch(&args),
    };
    match verdict {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

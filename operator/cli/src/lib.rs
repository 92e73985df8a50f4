//! `orlop`: the operator's engine at a person's hand.
//!
//! What can be known without a cluster is known without one: `render` judges a manifest with the
//! schema that the API server gets, and plans with the engine that the operator runs. `apply`,
//! `status`, `why` and `release` read what the operator reports; none of them has an opinion of its
//! own.
//!
//! Results go to standard output, everything else to standard error. The exit codes are part of
//! the interface: see [`Failure`].

mod apply;
mod args;
mod cluster;
mod declared;
mod failure;
mod init;
mod manifest;
mod position;
mod release;
mod render;
mod report;
mod status;
mod terminal;
mod why;

pub use failure::Failure;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use args::{Args, Verb};

/// Parses the command line and runs one verb. `name` is what its user calls the program.
#[must_use]
pub fn main(name: &'static str) -> ExitCode {
    let command = Args::command().name(name).bin_name(name);
    let parsed = command
        .try_get_matches()
        .and_then(|matches| Args::from_arg_matches(&matches));
    match parsed {
        Ok(args) => match run(args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                eprintln!("{failure}");
                failure.exit_code()
            }
        },
        // Help and version are no mistakes; clap knows which it is and where it goes.
        Err(error) => match error.print() {
            Ok(()) if !error.use_stderr() => ExitCode::SUCCESS,
            _ => ExitCode::from(failure::USAGE),
        },
    }
}

fn run(args: Args) -> Result<(), Failure> {
    match args.verb {
        Verb::Init(init) => init::run(&init),
        Verb::Render(render) => render::run(&render, &args.connection),
        Verb::Apply(apply) => cluster::block_on(apply::run(&apply, &args.connection)),
        Verb::Status(status) => cluster::block_on(status::run(&status, &args.connection)),
        Verb::Why(why) => cluster::block_on(why::run(&why, &args.connection)),
        Verb::Release(verb) => cluster::block_on(release::run(&verb, &args.connection)),
    }
}

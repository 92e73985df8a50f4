//! `cargo xtask test [unit|cluster]`: everything that proves itself by running.

mod services;
mod targets;

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, ensure};

use self::{services::Broker, targets::Targets};
use crate::cluster::Layout;
use crate::command;
use crate::progress::Progress;
use crate::stages::Stages;
use crate::workspace;

/// One stage, with all that it builds, on two cores.
const LIMIT: Duration = Duration::from_mins(40);
/// Live tests that run side by side: they mostly wait for pods.
const LIVE_TESTS_AT_ONCE: &str = "--test-threads=4";
/// Whoever reads the log wants all that fails, not the first.
const TESTS: [&str; 3] = ["test", "--locked", "--no-fail-fast"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these; everything when left out
    part: Option<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// What needs no cluster
    Unit,
    /// The suites against the local Kubernetes, which is started first
    Cluster,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = workspace::root();
    let wanted = |part| args.part.is_none_or(|only| only == part);
    let mut stages = Stages::new();
    let targets = Targets::read(&root)?;
    // All at once: for a part of the workspace cargo would choose other features, and compile the
    // dependencies again for each part. The programs are among it, which the suites call as a person
    // does.
    let built = stages.run_loud("build", || {
        finish(cargo(&root).args(TESTS).args(["--workspace", "--no-run"]))
    });
    if built && wanted(Part::Unit) {
        stages.run_loud("unit tests", || {
            finish(cargo(&root).args(TESTS).args(targets.unit()))
        });
    }
    if built && wanted(Part::Cluster) {
        let up = stages.run_loud("cluster up", || {
            finish(
                Command::new(workspace::THIS_PROGRAM)
                    .args(["up", "examples/hello"])
                    .current_dir(&root),
            )
        });
        if up {
            stages.run_loud("runtimes", || runtimes(&root, &targets));
            stages.run_loud("cluster suites", || {
                let kubeconfig = root.join("target/cluster/kubeconfig");
                let mut tests = cargo(&root);
                tests
                    .args(TESTS)
                    .args(targets.suites())
                    .args(["--", LIVE_TESTS_AT_ONCE]);
                finish(tests.env("ORLOP_KUBECONFIG", kubeconfig))
            });
        }
    }
    stages.finish()
}

/// The tests that need data services: those that `unit tests` left out as ignored.
fn runtimes(root: &Path, targets: &Targets) -> anyhow::Result<()> {
    let progress = Progress::new();
    services::install(progress)?;
    let layout = Layout::of_this_checkout()?;
    let broker = Broker::start(&layout, progress)?;
    let mut tests = cargo(root);
    tests
        .args(TESTS)
        .args(targets.unit())
        // One after another: they measure, and each starts services of its own.
        .args(["--", "--ignored", "--test-threads=1"])
        .envs(broker.environment());
    let result = finish(&mut tests);
    broker.stop()?;
    result
}

fn cargo(root: &Path) -> Command {
    let mut cargo = command::cargo();
    cargo.current_dir(root);
    cargo
}

/// Runs to the end; what it prints is seen at once.
fn finish(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .spawn()
        .with_context(|| format!("failed to start {name}"))?;
    let ended = command::wait_until("the end of this stage", LIMIT, || {
        Ok(child.try_wait()?.is_some())
    });
    if ended.is_err() {
        stop(&mut child)?;
    }
    ended?;
    let status = child.wait()?;
    ensure!(status.success(), "{name} ended with {status}");
    Ok(())
}

fn stop(child: &mut Child) -> anyhow::Result<()> {
    child.kill().context("failed to end a stage that is late")?;
    child.wait()?;
    Ok(())
}

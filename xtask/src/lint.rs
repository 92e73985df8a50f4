//! `cargo xtask lint`: everything that can be judged without running it.

mod boundaries;
mod dependencies;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;

use crate::command;
use crate::stages::Stages;
use crate::workspace;

/// A cold clippy run compiles every dependency.
const CARGO_LIMIT: Duration = Duration::from_mins(20);
const QUICK_LIMIT: Duration = Duration::from_mins(1);

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args) -> anyhow::Result<()> {
    let root = workspace::root();
    let mut stages = Stages::new();
    stages.run("format", || cargo(&root, &["fmt", "--all", "--check"]));
    stages.run("dependencies", || dependencies::check(&root));
    stages.run("crate boundaries", || boundaries::check(&root));
    stages.run("chart", || chart(&root));
    stages.run("clippy", || {
        let scope = ["clippy", "--locked", "--workspace", "--all-targets"];
        cargo(&root, &[&scope[..], &["--", "-D", "warnings"]].concat())
    });
    stages.run("gofmt", || gofmt(&root));
    stages.finish()
}

fn cargo(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let mut cargo = command::cargo();
    command::run(cargo.args(arguments).current_dir(root), CARGO_LIMIT)
}

/// `helm` as the cluster's verbs build it, or as installed; without either the chart's own tests,
/// which build it, are the judges.
fn chart(root: &Path) -> anyhow::Result<()> {
    let built = root.join("target/cluster/bin/helm");
    let helm = if built.exists() {
        built
    } else {
        PathBuf::from("helm")
    };
    if command::run(Command::new(&helm).arg("version"), QUICK_LIMIT).is_err() {
        println!("  no helm here yet: the chart is judged by its tests only");
        return Ok(());
    }
    let mut lint = Command::new(helm);
    command::run(
        lint.args(["lint", "--strict", "charts/orlop"])
            .current_dir(root),
        QUICK_LIMIT,
    )
}

/// The compiler judges the Go modules when `up` builds them. `go vet` is not asked: it would
/// analyse all of Kubernetes, for minutes, to judge some hundred lines.
fn gofmt(root: &Path) -> anyhow::Result<()> {
    let mut gofmt = Command::new("gofmt");
    let unformatted = command::output(
        gofmt.args(["-l", "e2e/cluster"]).current_dir(root),
        QUICK_LIMIT,
    )?;
    let files: Vec<_> = unformatted.split_whitespace().collect();
    ensure!(
        files.is_empty(),
        "not formatted, run `gofmt -w {}`",
        files.join(" ")
    );
    Ok(())
}

//! `cargo xtask up [EXAMPLE]`: from nothing to a running example.

use std::path::PathBuf;

use crate::cluster::{self, Layout};
use crate::install;
use crate::progress::Progress;
use crate::target::Target;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The example to apply once Orlop is installed
    #[arg(default_value = "examples/shop")]
    example: PathBuf,
    /// Use this context of your kubeconfig instead of the local Kubernetes
    #[arg(long, value_name = "NAME", requires = "push")]
    context: Option<String>,
    /// The registry to push the images to, from which that cluster pulls them
    #[arg(long, value_name = "REGISTRY", requires = "context")]
    push: Option<String>,
    /// Start the local Kubernetes and stop there
    #[arg(long, conflicts_with_all = ["context", "push"])]
    cluster_only: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let progress = Progress::new();
    let layout = Layout::of_this_checkout()?;
    let target = match (&args.context, &args.push) {
        (Some(name), Some(registry)) => Target::Context {
            name: name.clone(),
            registry: registry.clone(),
        },
        _ => cluster::up(&layout, progress)?,
    };
    if args.cluster_only {
        return Ok(());
    }
    println!(
        "{}",
        install::install(&layout, &target, &args.example, progress)?
    );
    Ok(())
}

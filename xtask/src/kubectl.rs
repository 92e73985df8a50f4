//! `cargo xtask kubectl ARGUMENT...`: the cluster's own kubectl with its kubeconfig.

use std::os::unix::process::CommandExt;

use anyhow::{Context, ensure};

use crate::cluster::Layout;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What kubectl is told
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let layout = Layout::of_this_checkout()?;
    ensure!(
        layout.kubeconfig().exists(),
        "there is no local Kubernetes; start it with `cargo xtask up`"
    );
    let error = layout.kubectl().args(&args.arguments).exec();
    Err(error).context("failed to start kubectl")
}

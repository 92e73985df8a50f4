//! `cargo xtask down`: the end of the local Kubernetes.

use crate::cluster::{self, Layout};
use crate::progress::Progress;

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> anyhow::Result<()> {
    let layout = Layout::of_this_checkout()?;
    cluster::down(&layout, Progress::new())
}

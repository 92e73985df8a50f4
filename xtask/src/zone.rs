//! `cargo xtask zone cut|heal|kill N`: faults for tests.

use clap::ValueEnum;

use crate::cluster::{self, Layout, Node};

#[derive(clap::Args)]
pub(crate) struct Args {
    fault: Fault,
    /// The zone's number
    #[arg(value_parser = clap::value_parser!(u8).range(1..=3))]
    zone: u8,
}

#[derive(Clone, Copy, ValueEnum)]
enum Fault {
    /// Nothing gets in or out; what runs there goes on
    Cut,
    /// Undo `cut`
    Heal,
    /// End all that runs there at once; `cargo xtask up` starts it again
    Kill,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let layout = Layout::of_this_checkout()?;
    let node = Node::in_zone(args.zone)?;
    match args.fault {
        Fault::Cut => cluster::zone::cut(&layout, node),
        Fault::Heal => cluster::zone::heal(&layout, node),
        Fault::Kill => cluster::zone::kill(&layout, node),
    }
}

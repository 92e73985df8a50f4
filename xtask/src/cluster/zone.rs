//! Faults of a zone, for tests.

use anyhow::ensure;

use super::layout::{Layout, Node};
use super::lifecycle;
use super::network;

/// Nothing gets in or out of the zone; what runs there goes on. The host reaches
/// Services through another zone from now on.
pub(crate) fn cut(layout: &Layout, node: Node) -> anyhow::Result<()> {
    ensure_running(layout)?;
    network::cut(node)
}

pub(crate) fn heal(layout: &Layout, node: Node) -> anyhow::Result<()> {
    ensure_running(layout)?;
    network::heal(node)
}

/// Ends everything that runs in the zone at once, as a power failure does, and
/// cuts it off: nothing there says goodbye. `up` brings it back.
pub(crate) fn kill(layout: &Layout, node: Node) -> anyhow::Result<()> {
    ensure_running(layout)?;
    network::cut(node)?;
    lifecycle::kill_node(layout, node)
}

fn ensure_running(layout: &Layout) -> anyhow::Result<()> {
    ensure!(
        layout.kubeconfig().exists(),
        "there is no local Kubernetes; start it with `cargo xtask up`"
    );
    Ok(())
}

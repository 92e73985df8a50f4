//! Where the cluster keeps its files, and the addresses it gives itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// All of the cluster's addresses lie in this range: the nodes' network first,
/// then the pods', then the cluster IPs of Services.
pub(crate) const RANGE: &str = "10.231.0.0/16";
/// Prefix length of the network that joins host and nodes.
pub(crate) const NODES_PREFIX: u8 = 24;
/// The host on the nodes' network; the control plane listens here.
pub(crate) const HOST: &str = "10.231.0.1";
/// All pods of all nodes.
pub(crate) const PODS: &str = "10.231.16.0/20";
/// The cluster IPs of Services.
pub(crate) const SERVICES: &str = "10.231.128.0/20";
/// The Service `kubernetes`: the first of the cluster IPs.
pub(crate) const API_SERVICE: &str = "10.231.128.1";
/// The Service of the cluster's DNS.
pub(crate) const DNS_SERVICE: &str = "10.231.128.10";
pub(crate) const API_PORT: u16 = 6443;
pub(crate) const BRIDGE: &str = "orlop0";
/// What the names of our network namespaces, links and cgroups begin with.
pub(crate) const PREFIX: &str = "orlop-";
const ZONES: u8 = 3;

/// A node, which is also a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// From 1.
    number: u8,
}

impl Node {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (1..=ZONES).map(|number| Self { number })
    }

    /// The node of a zone, counted from 1.
    pub(crate) fn in_zone(zone: u8) -> anyhow::Result<Self> {
        Self::all()
            .find(|node| node.number == zone)
            .with_context(|| format!("no zone {zone}"))
    }

    pub(crate) fn name(self) -> String {
        format!("node-{}", self.number)
    }

    pub(crate) fn zone(self) -> String {
        format!("zone-{}", self.number)
    }

    pub(crate) fn address(self) -> String {
        format!("10.231.0.{}", 10 + self.number)
    }

    /// The range of this node's pods.
    pub(crate) fn pods(self) -> String {
        format!("10.231.{}.0/24", 16 + self.number)
    }

    pub(crate) fn netns(self) -> String {
        format!("{PREFIX}{}", self.name())
    }

    /// The host's end of the node's link.
    pub(crate) fn link(self) -> String {
        format!("{PREFIX}{}", self.zone())
    }

    /// The node's cgroup, relative to the root of each hierarchy.
    pub(crate) fn cgroup(self) -> String {
        format!("{PREFIX}{}", self.name())
    }
}

/// The files of one checkout's cluster.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    source: PathBuf,
    state: PathBuf,
}

impl Layout {
    /// # Errors
    /// When the checkout's path is so long that no socket fits below it.
    pub(crate) fn of_this_checkout() -> anyhow::Result<Self> {
        /// unix(7): a socket's path has at most 108 bytes with the zero at its end.
        const LONGEST_SOCKET: usize = 107;
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask lies in the workspace's directory")?;
        let layout = Self {
            source: source.to_owned(),
            state: source.join("target/cluster"),
        };
        for node in Node::all() {
            let socket = layout.kubelet_dir(node).join("pod-resources/kubelet.sock");
            let excess = socket.as_os_str().len().saturating_sub(LONGEST_SOCKET);
            ensure!(
                excess == 0,
                "the path of the checkout is {excess} bytes too long for the socket {}; \
                 move the checkout",
                socket.display()
            );
        }
        Ok(layout)
    }

    #[cfg(test)]
    pub(crate) fn at(state: &Path) -> Self {
        Self {
            source: state.to_owned(),
            state: state.to_owned(),
        }
    }

    /// The checkout.
    pub(crate) fn source(&self) -> &Path {
        &self.source
    }

    /// The Go modules of the components.
    pub(crate) fn modules(&self) -> PathBuf {
        self.source.join("e2e/cluster")
    }

    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    pub(crate) fn bin(&self) -> PathBuf {
        self.state.join("bin")
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.state.join("pki")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }

    /// Records of processes, and sockets.
    pub(crate) fn run(&self) -> PathBuf {
        self.state.join("run")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.state.join("config")
    }

    pub(crate) fn etcd(&self) -> PathBuf {
        self.state.join("etcd")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.state.join("images")
    }

    pub(crate) fn nodes(&self) -> PathBuf {
        self.state.join("nodes")
    }

    pub(crate) fn node_dir(&self, node: Node) -> PathBuf {
        self.nodes().join(node.name())
    }

    /// Right below the state directory, because of the sockets in it: see
    /// [`Self::of_this_checkout`].
    pub(crate) fn kubelet_dir(&self, node: Node) -> PathBuf {
        self.state.join(format!("kubelet-{}", node.number))
    }

    /// What containerd notes about running containers.
    pub(crate) fn containerd_state(&self, node: Node) -> PathBuf {
        self.node_dir(node).join("state")
    }

    pub(crate) fn containerd_socket(&self, node: Node) -> PathBuf {
        self.run().join(format!("{}.sock", node.name()))
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// The kubectl of this cluster's version, looking at this cluster only.
    pub(crate) fn kubectl(&self) -> Command {
        let mut command = Command::new(self.bin().join("cluster"));
        command.arg("kubectl").env("KUBECONFIG", self.kubeconfig());
        command
    }
}

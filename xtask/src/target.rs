//! The cluster that a verb works on.

use std::path::PathBuf;

/// Exactly one cluster; no verb touches another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The Kubernetes that `up` runs on this machine.
    Local { kubeconfig: PathBuf },
    /// A context of the user's own kubeconfig, and the registry its nodes pull from.
    Context { name: String, registry: String },
}

//! kubectl and helm, each bound to one cluster so that no call can reach another.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::cluster::{Layout, binaries};
use crate::progress::Progress;
use crate::target::Target;

pub(super) struct Tools<'a> {
    target: &'a Target,
    layout: &'a Layout,
    helm: PathBuf,
}

impl<'a> Tools<'a> {
    /// Builds helm where it is not built yet.
    pub(super) fn of(layout: &'a Layout, target: &'a Target, progress: Progress) -> Result<Self> {
        let helm = binaries::helm(layout, progress)?;
        Ok(Self {
            target,
            layout,
            helm,
        })
    }

    /// Whether the cluster is the one that `up` runs on this machine.
    pub(super) fn are_local(&self) -> bool {
        matches!(self.target, Target::Local { .. })
    }

    /// The cluster's own kubectl, or for another cluster the one that its user has.
    pub(super) fn kubectl(&self) -> Command {
        match self.target {
            Target::Local { .. } => self.layout.kubectl(),
            Target::Context { name, .. } => {
                let mut command = Command::new("kubectl");
                command.args(["--context", name]);
                command
            }
        }
    }

    pub(super) fn helm(&self) -> Command {
        let mut command = Command::new(&self.helm);
        match self.target {
            Target::Local { kubeconfig } => command.arg("--kubeconfig").arg(kubeconfig),
            Target::Context { name, .. } => command.args(["--kube-context", name]),
        };
        command
    }
}

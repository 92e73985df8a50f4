//! The local three-zone Kubernetes: real components, each zone one node in a
//! network namespace of its own. Everything it keeps lies under `target/cluster`.

pub(crate) mod binaries;
mod bootstrap;
mod cgroup;
mod components;
mod config;
mod files;
pub(crate) mod images;
mod layout;
mod leftovers;
mod lifecycle;
mod mounts;
mod network;
pub(crate) mod packages;
mod pki;
mod process;
mod record;
mod sysctl;
pub(crate) mod zone;

pub(crate) use layout::{Layout, Node};
pub(crate) use lifecycle::{down, up};
pub(crate) use process::{LaunchArgs, launch};

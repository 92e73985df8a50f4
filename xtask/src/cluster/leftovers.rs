//! What must be gone after `down`: removal of files, and the check.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use super::files::{list, remove_if_present};
use super::layout::{Layout, Node, RANGE};
use super::{cgroup, mounts, network, process};
use crate::command::output;

const LIMIT: Duration = Duration::from_secs(10);
/// Where the kubelet keeps links to containers' logs, whatever it is told.
const LOG_LINKS: &str = "/var/log/containers";
/// Where the network plugins' library keeps results, whatever it is told.
const NETWORK_RESULTS: &str = "/var/lib/cni/results";
/// Where the kubelet waits for device plugins, whatever it is told.
const DEVICE_SOCKET: &str = "/var/lib/kubelet/device-plugins/kubelet.sock";
/// Directories that components make and `down` removes if nobody else uses them.
const EMPTY_DIRECTORIES: [&str; 5] = [
    LOG_LINKS,
    NETWORK_RESULTS,
    "/var/lib/cni",
    "/var/lib/kubelet/device-plugins",
    "/var/lib/kubelet",
];

/// Removes the state of the cluster. Binaries, images and logs stay.
pub(crate) fn remove_files(layout: &Layout) -> anyhow::Result<()> {
    let directories = [
        layout.nodes(),
        layout.etcd(),
        layout.run(),
        layout.config(),
        layout.pki(),
    ];
    let kubelets = Node::all().map(|node| layout.kubelet_dir(node));
    for directory in directories.into_iter().chain(kubelets) {
        if directory.exists() {
            fs::remove_dir_all(&directory)
                .with_context(|| format!("failed to remove {}", directory.display()))?;
        }
    }
    if layout.kubeconfig().exists() {
        fs::remove_file(layout.kubeconfig())?;
    }
    for file in files_elsewhere(layout)? {
        remove_if_present(&file)?;
    }
    for directory in EMPTY_DIRECTORIES {
        // Refused for one that is not empty, which is the point.
        drop(fs::remove_dir(directory));
    }
    Ok(())
}

/// Everything of the cluster that still exists on the machine, one line each.
pub(crate) fn find(layout: &Layout) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    let mut report = |kind: &str, items: Vec<String>| {
        left.extend(items.into_iter().map(|item| format!("{kind} {item}")));
    };
    let processes = process::running_from(&layout.bin())?;
    report(
        "process",
        processes
            .into_iter()
            .map(|(pid, line)| format!("{pid} {line}"))
            .collect(),
    );
    report("mount", shown(&mounts::below(layout.state())?));
    report("network namespace", network::namespaces()?);
    report("link", network::links()?);
    report("route", network::routes()?);
    report("cgroup", shown(&cgroup::existing()?));
    report("file", shown(&files_elsewhere(layout)?));
    for tool in ["iptables-save", "ip6tables-save"] {
        // A machine without one of them has no rules of its kind.
        if let Ok(rules) = output(&mut Command::new(tool), LIMIT) {
            report("firewall rule", our_rules(&rules));
        }
    }
    Ok(left)
}

/// Removes the sockets of shims that were killed: they lie outside of the state
/// directory, and only containerd's notes about containers tell whose they are.
pub(crate) fn remove_shim_sockets(containerd_state: &Path) -> anyhow::Result<()> {
    for bundle in list(&containerd_state.join("io.containerd.runtime.v2.task/k8s.io"))? {
        // A container that was just being made has no shim yet.
        let Ok(address) = fs::read_to_string(bundle.join("address")) else {
            continue;
        };
        if let Some(socket) = address.trim().strip_prefix("unix://") {
            remove_if_present(Path::new(socket))?;
        }
    }
    Ok(())
}

/// Files that components insist on keeping outside of the state directory.
fn files_elsewhere(layout: &Layout) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for link in list(Path::new(LOG_LINKS))? {
        if fs::read_link(&link).is_ok_and(|target| target.starts_with(layout.state())) {
            found.push(link);
        }
    }
    let state = layout.state().display().to_string();
    for result in list(Path::new(NETWORK_RESULTS))? {
        // Each names its network namespace, which lies in the state directory.
        if fs::read_to_string(&result).is_ok_and(|text| text.contains(&state)) {
            found.push(result);
        }
    }
    let socket = PathBuf::from(DEVICE_SOCKET);
    // One that nobody serves; a kubelet that is none of ours would answer.
    if socket.exists() && UnixStream::connect(&socket).is_err() {
        found.push(socket);
    }
    Ok(found)
}

/// Lines of `iptables-save` that name an address of the cluster's range, a /16.
fn our_rules(saved: &str) -> Vec<String> {
    let prefix = RANGE.trim_end_matches("0.0/16");
    saved
        .lines()
        .filter(|line| line.contains(prefix))
        .map(str::to_owned)
        .collect()
}

fn shown(paths: &[PathBuf]) -> Vec<String> {
    paths
        .iter()
        .map(|path| path.display().to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_firewall_rules_of_the_clusters_range_are_ours() {
        let saved = "*nat\n:KUBE-SERVICES - [0:0]\n\
                     -A KUBE-SERVICES -d 10.96.0.1/32 -j ACCEPT\n\
                     -A KUBE-SERVICES -d 10.231.128.1/32 -j ACCEPT\nCOMMIT\n";
        assert_eq!(
            our_rules(saved),
            ["-A KUBE-SERVICES -d 10.231.128.1/32 -j ACCEPT"]
        );
    }
}

//! What must be gone after `down`: removal of files, and the check.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::layout::{Layout, RANGE};
use super::{cgroup, mounts, network, process};
use crate::command::output;

const LIMIT: Duration = Duration::from_secs(10);
/// Where the kubelet keeps links to containers' logs, whatever it is told.
const LOG_LINKS: &str = "/var/log/containers";
/// Where the network plugins' library keeps results, whatever it is told.
const NETWORK_RESULTS: &str = "/var/lib/cni/results";

/// Removes the state of the cluster. Binaries, images and logs stay.
pub(crate) fn remove_files(layout: &Layout) -> anyhow::Result<()> {
    for directory in [
        layout.nodes(),
        layout.etcd(),
        layout.run(),
        layout.config(),
        layout.pki(),
    ] {
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
    }
    if layout.kubeconfig().exists() {
        fs::remove_file(layout.kubeconfig())?;
    }
    for file in files_elsewhere(layout)? {
        fs::remove_file(file)?;
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

/// Files that components insist on keeping outside of the state directory.
fn files_elsewhere(layout: &Layout) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for link in list(Path::new(LOG_LINKS))? {
        if fs::read_link(&link).is_ok_and(|target| target.starts_with(layout.state())) {
            found.push(link);
        }
    }
    let names: Vec<_> = super::layout::Node::all()
        .map(|node| format!("{}-", node.netns()))
        .collect();
    for result in list(Path::new(NETWORK_RESULTS))? {
        let file = result
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if names.iter().any(|name| file.starts_with(name)) {
            found.push(result);
        }
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

fn list(directory: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect()
}

fn shown(paths: &[std::path::PathBuf]) -> Vec<String> {
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

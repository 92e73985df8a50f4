//! A node's cgroup: everything that runs on the node lies below it, which is
//! also how what is left of a node is found. Versions 1 and 2 of cgroups.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::layout::{Node, PREFIX};
use crate::command::wait_until;

const MOUNT: &str = "/sys/fs/cgroup";
/// The node's own processes (containerd, its shims, the kubelet) are in this child:
/// in version 2 a cgroup with children holds no processes.
const RUNTIME: &str = "runtime";
/// What the kubelet sets limits with, in version 2.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuset", "hugetlb", "io", "memory", "pids"];

/// The cgroup of a node's own processes.
pub(crate) fn runtime(node: Node) -> String {
    format!("{}/{RUNTIME}", node.cgroup())
}

/// Makes the node's cgroup in every hierarchy.
pub(crate) fn make(node: Node) -> anyhow::Result<()> {
    for root in hierarchies()? {
        if is_version_2(&root) {
            delegate(&root)?;
        }
        let mut directory = root.clone();
        for part in runtime(node).split('/') {
            directory.push(part);
            match fs::create_dir(&directory) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(error)
                        .with_context(|| format!("failed to make {}", directory.display()));
                }
                _ => {}
            }
            inherit_cpuset(&directory)?;
        }
        if is_version_2(&root) {
            delegate(&root.join(node.cgroup()))?;
        }
    }
    Ok(())
}

/// Moves the calling process into a cgroup, in every hierarchy.
pub(crate) fn join(cgroup: &str) -> anyhow::Result<()> {
    for root in hierarchies()? {
        let file = root.join(cgroup).join("cgroup.procs");
        fs::write(&file, "0").with_context(|| format!("failed to join {}", file.display()))?;
    }
    Ok(())
}

/// The processes anywhere below a node's cgroup.
pub(crate) fn processes(node: Node) -> anyhow::Result<Vec<i32>> {
    let mut found = Vec::new();
    for root in hierarchies()? {
        for directory in tree(&root.join(node.cgroup())) {
            // A cgroup that was removed meanwhile has no processes.
            let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Removes the node's cgroup with all below it; nothing may run there any more.
pub(crate) fn remove(node: Node) -> anyhow::Result<()> {
    /// The kernel empties a cgroup a moment after its last process ended.
    const EMPTIED: Duration = Duration::from_secs(5);
    for root in hierarchies()? {
        for directory in tree(&root.join(node.cgroup())).iter().rev() {
            wait_until(
                &format!("the removal of {}", directory.display()),
                EMPTIED,
                || match fs::remove_dir(directory) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
                    _ => Ok(true),
                },
            )?;
        }
    }
    Ok(())
}

/// All cgroups of ours that exist, for the check after `down`.
pub(crate) fn existing() -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for root in hierarchies()? {
        for entry in fs::read_dir(&root)? {
            let path = entry?.path();
            let ours = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
            if ours && path.is_dir() {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// The root of each hierarchy: one in version 2, one a controller in version 1.
fn hierarchies() -> anyhow::Result<Vec<PathBuf>> {
    let mount = Path::new(MOUNT);
    if is_version_2(mount) {
        return Ok(vec![mount.to_owned()]);
    }
    let mut roots = Vec::new();
    for entry in fs::read_dir(mount).with_context(|| format!("failed to list {MOUNT}"))? {
        let path = entry?.path();
        // Controllers mounted together are reachable by symlinks too: once is enough.
        if !path.is_symlink() && path.join("cgroup.procs").exists() {
            roots.push(path);
        }
    }
    roots.sort();
    Ok(roots)
}

fn is_version_2(root: &Path) -> bool {
    root.join("cgroup.controllers").exists()
}

/// Version 2: lets the children use the controllers that the kubelet works with.
fn delegate(cgroup: &Path) -> anyhow::Result<()> {
    let controllers = fs::read_to_string(cgroup.join("cgroup.controllers"))?;
    for controller in controllers
        .split_whitespace()
        .filter(|name| CONTROLLERS.contains(name))
    {
        let file = cgroup.join("cgroup.subtree_control");
        fs::write(&file, format!("+{controller}"))
            .with_context(|| format!("failed to enable {controller} in {}", file.display()))?;
    }
    Ok(())
}

/// Version 1: a new cpuset is empty, and an empty one takes no process.
fn inherit_cpuset(directory: &Path) -> anyhow::Result<()> {
    let parent = directory.parent().context("a cgroup has a parent")?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = directory.join(file);
        if !is_version_2(directory) && own.exists() {
            let value = fs::read_to_string(parent.join(file))?;
            fs::write(&own, value.trim())
                .with_context(|| format!("failed to write {}", own.display()))?;
        }
    }
    Ok(())
}

/// The directory and all below it, parents first; empty when there is none.
fn tree(directory: &Path) -> Vec<PathBuf> {
    if !directory.is_dir() {
        return Vec::new();
    }
    let mut found = vec![directory.to_owned()];
    let mut next = 0;
    // Ends: the kernel's cgroups form a tree, and each is visited once.
    while let Some(parent) = found.get(next).cloned() {
        // One that was removed meanwhile has no children.
        if let Ok(entries) = fs::read_dir(&parent) {
            found.extend(
                entries
                    .flatten()
                    .map(|entry| entry.path())
                    .filter(|path| path.is_dir()),
            );
        }
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_lists_parents_before_children() {
        let root = std::env::temp_dir().join(format!("orlop-tree-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/file"), "").unwrap();
        let found = tree(&root);
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, [root.clone(), root.join("a"), root.join("a/b")]);
    }

    #[test]
    fn a_tree_that_does_not_exist_is_empty() {
        assert_eq!(tree(Path::new("/nonexistent")), Vec::<PathBuf>::new());
    }
}

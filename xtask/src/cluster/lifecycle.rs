//! `up` and `down` of the cluster: each step makes sure of something and is
//! skipped when it is so already, so that either may be interrupted and repeated.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use super::binaries::{self, Binaries};
use super::components::Components;
use super::layout::{Layout, Node};
use super::process::{self, Program};
use super::record::{self, Record};
use super::{bootstrap, cgroup, images, leftovers, mounts, network, packages, pki, sysctl};
use crate::command::wait_until;
use crate::progress::Progress;
use crate::target::Target;

/// How long a component may take to end in order. An apiserver without its etcd
/// would take minutes; after this it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// How long killed processes may take to be gone, containers and all.
const KILLED: Duration = Duration::from_secs(20);

/// Starts whatever does not run, and returns when the cluster is complete.
///
/// # Errors
/// When something needed is missing (with the command that installs it) or does
/// not become ready in time (with the log to look at).
pub(crate) fn up(layout: &Layout, progress: Progress) -> anyhow::Result<Target> {
    packages::ensure(&packages::OF_NODES, progress)?;
    let _alone = lock(layout)?;
    ensure_no_other_checkout(layout)?;
    let binaries = binaries::build(layout, progress)?;
    binaries::pause(layout)?;
    pki::ensure(layout).context("failed to make the cluster's certificates")?;
    sysctl::remember(layout)?;
    progress.step("connecting three zones", || {
        for node in Node::all().filter(|node| !network::netns(*node).exists()) {
            // Whatever still runs there is in a namespace that nothing leads to.
            kill_node(layout, node)?;
        }
        network::ensure(layout)
    })?;
    end_strays(layout, &layout.bin())?;
    let components = Components::new(layout, &binaries)?;
    start_control_plane(layout, &components, &binaries, progress)?;
    start_nodes(layout, &components, progress)?;
    Ok(Target::Local {
        kubeconfig: layout.kubeconfig(),
    })
}

/// Ends everything, removes everything but binaries, images and logs, and looks
/// whether anything is left.
///
/// # Errors
/// When something is left; it lists what.
pub(crate) fn down(layout: &Layout, progress: Progress) -> anyhow::Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "nodes are namespaces and mounts, which need root; run as root: cargo xtask down"
    );
    let _alone = lock(layout)?;
    ensure_no_other_checkout(layout)?;
    progress.step("stopping the nodes", || {
        Node::all().try_for_each(|node| kill_node(layout, node))
    })?;
    progress.step("stopping the control plane", || stop_control_plane(layout))?;
    progress.step("removing mounts, namespaces and cgroups", || {
        for node in Node::all() {
            leftovers::remove_shim_sockets(&layout.containerd_state(node))?;
        }
        mounts::unmount_below(layout.state())?;
        network::remove()?;
        Node::all().try_for_each(cgroup::remove)?;
        sysctl::restore(layout)?;
        leftovers::remove_files(layout)
    })?;
    progress.step("looking for leftovers", || {
        let left = leftovers::find(layout)?;
        if left.is_empty() {
            return Ok(());
        }
        bail!("left behind:\n  {}", left.join("\n  "))
    })
}

/// Ends all of a node's processes at once: containers, shims, components.
pub(crate) fn kill_node(layout: &Layout, node: Node) -> anyhow::Result<()> {
    let suffix = format!("-{}", node.name());
    for record in record::all(&layout.run())? {
        if record.name.ends_with(&suffix) {
            end(layout, &record, Duration::ZERO)?;
        }
    }
    // Each round kills all it sees; what was starting meanwhile is seen by the next.
    wait_until(
        &format!("the end of all processes of {}", node.name()),
        KILLED,
        || {
            let alive = cgroup::processes(node)?;
            for pid in &alive {
                process::kill_in_cgroup(*pid, &node.cgroup())?;
            }
            Ok(alive.is_empty())
        },
    )
}

fn start_control_plane(
    layout: &Layout,
    components: &Components<'_>,
    binaries: &Binaries,
    progress: Progress,
) -> anyhow::Result<()> {
    let fresh = !layout.etcd().exists();
    let what = if fresh {
        "starting the control plane"
    } else {
        "checking the control plane"
    };
    progress.step(what, || {
        if fresh && layout.logs().exists() {
            // They are of another cluster, its audit log above all.
            fs::remove_dir_all(layout.logs())?;
        }
        ensure_running(layout, &components.etcd()?)?;
        ensure_running(layout, &components.apiserver()?)?;
        bootstrap::wait_for_apiserver(layout).with_context(|| see_logs(layout))?;
        ensure_running(layout, &components.controller_manager()?)?;
        ensure_running(layout, &components.scheduler()?)?;
        bootstrap::apply(layout, binaries)?;
        // Not earlier: without the rights that were just given it would back off.
        ensure_running(layout, &components.provisioner()?)?;
        Ok(())
    })
}

fn start_nodes(
    layout: &Layout,
    components: &Components<'_>,
    progress: Progress,
) -> anyhow::Result<()> {
    progress.step("starting three container runtimes", || {
        for node in Node::all() {
            cgroup::make(node)?;
            fs::create_dir_all(layout.node_dir(node).join("volumes"))?;
            forget_dead_containers(layout, node)?;
            ensure_running(layout, &components.containerd(node)?)?;
        }
        Ok(())
    })?;
    images::import_pause(layout, progress)?;
    progress.step("starting three nodes", || {
        for node in Node::all() {
            ensure_running(layout, &components.kubelet(node)?)?;
            ensure_running(layout, &components.kube_proxy(node)?)?;
        }
        bootstrap::wait_for_registration(layout).with_context(|| see_logs(layout))?;
        for node in Node::all() {
            ensure_running(layout, &components.netpol(node)?)?;
        }
        bootstrap::wait_for_nodes(layout).with_context(|| see_logs(layout))
    })?;
    progress.step("waiting for DNS", || {
        bootstrap::wait_for_dns(layout).with_context(|| see_logs(layout))
    })?;
    ensure_all_alive(layout)
}

/// Returns whether it had to start the program, anew if it runs from other things.
fn ensure_running(layout: &Layout, program: &Program) -> anyhow::Result<bool> {
    if let Some(record) = record::read(&layout.run(), &program.name)? {
        if record.is_running(&program.made_of) {
            return Ok(false);
        }
        end(layout, &record, GRACE)?;
    }
    process::start(program, &layout.run(), &layout.logs())?;
    Ok(true)
}

/// A node without a process has been killed, or the machine was started anew. What
/// containerd noted about running containers is wrong then, and would confuse it.
fn forget_dead_containers(layout: &Layout, node: Node) -> anyhow::Result<()> {
    let state = layout.containerd_state(node);
    if !state.exists() || !cgroup::processes(node)?.is_empty() {
        return Ok(());
    }
    leftovers::remove_shim_sockets(&state)?;
    mounts::unmount_below(&state)?;
    fs::remove_dir_all(&state).with_context(|| format!("failed to remove {}", state.display()))
}

/// A component that starts and then ends is seen here at the latest.
fn ensure_all_alive(layout: &Layout) -> anyhow::Result<()> {
    let ended: Vec<_> = record::all(&layout.run())?
        .into_iter()
        .filter(|record| !record.is_alive())
        .map(|record| record.name)
        .collect();
    ensure!(
        ended.is_empty(),
        "{} ended again; see {}",
        ended.join(", "),
        layout.logs().display()
    );
    Ok(())
}

fn stop_control_plane(layout: &Layout) -> anyhow::Result<()> {
    let mut records = record::all(&layout.run())?;
    // Last of all etcd: an apiserver without it does not end.
    records.sort_by_key(|record| record.name == "etcd");
    records
        .iter()
        .try_for_each(|record| end(layout, record, Duration::ZERO))?;
    end_strays(layout, &layout.bin())?;
    match network::owner() {
        Some(owner) if owner != layout.state() => end_strays(layout, &owner.join("bin")),
        _ => Ok(()),
    }
}

/// Ends components whose records were lost, as when somebody emptied `target`:
/// they would keep the ports.
fn end_strays(layout: &Layout, bin: &Path) -> anyhow::Result<()> {
    let recorded: Vec<_> = record::all(&layout.run())?
        .into_iter()
        .map(|record| record.pid)
        .collect();
    wait_until("the end of components without a record", KILLED, || {
        let mut strays = process::running_from(bin)?;
        strays.retain(|(pid, _)| !recorded.contains(pid));
        for (pid, _) in &strays {
            process::kill_running_from(*pid, bin)?;
        }
        Ok(strays.is_empty())
    })
}

/// What another checkout left when its processes were ended, as by a reboot, is repaired like a
/// crash of our own.
///
/// # Errors
/// When the machine's one cluster belongs to another checkout and runs.
fn ensure_no_other_checkout(layout: &Layout) -> anyhow::Result<()> {
    let Some(owner) = network::owner().filter(|owner| owner != layout.state()) else {
        return Ok(());
    };
    ensure!(
        process::running_from(&owner.join("bin"))?.is_empty(),
        "the cluster of another checkout runs on this machine ({}); run `cargo xtask down` there",
        owner.display()
    );
    Ok(())
}

fn end(layout: &Layout, record: &Record, grace: Duration) -> anyhow::Result<()> {
    process::stop(record, grace).with_context(|| format!("failed to stop {}", record.name))?;
    record::forget(&layout.run(), &record.name)
}

/// One `up` or `down` at a time.
fn lock(layout: &Layout) -> anyhow::Result<File> {
    fs::create_dir_all(layout.state())?;
    let file = File::create(layout.state().join("lock"))?;
    file.try_lock()
        .context("another `cargo xtask up` or `down` is at work here; wait for it")?;
    Ok(file)
}

fn see_logs(layout: &Layout) -> String {
    format!("a component is not ready; see {}", layout.logs().display())
}

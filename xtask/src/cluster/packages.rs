//! The Debian packages that the cluster and the tests need.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::command::{output, run};
use crate::progress::Progress;

/// Package and a file that shows it is there: asking dpkg for all takes longer.
pub(crate) type Package = (&'static str, &'static str);

/// What nodes are made of.
pub(super) const OF_NODES: [Package; 14] = [
    ("containerd", "/usr/bin/containerd"),
    ("runc", "/usr/sbin/runc"),
    ("containernetworking-plugins", "/usr/lib/cni/ptp"),
    ("iptables", "/usr/sbin/iptables"),
    ("conntrack", "/usr/sbin/conntrack"),
    ("ipset", "/usr/sbin/ipset"),
    ("iproute2", "/usr/sbin/ip"),
    ("ethtool", "/usr/sbin/ethtool"),
    ("socat", "/usr/bin/socat"),
    ("mount", "/usr/bin/mount"),
    ("util-linux", "/usr/bin/nsenter"),
    ("mmdebstrap", "/usr/bin/mmdebstrap"),
    ("gcc", "/usr/bin/gcc"),
    ("libc6-dev", "/usr/include/stdio.h"),
];
/// A mirror may be slow; longer means that it does not answer.
const INSTALL_LIMIT: Duration = Duration::from_mins(10);

/// Installs what is missing.
///
/// # Errors
/// When not root (the error carries the command to run) or when apt fails.
pub(crate) fn ensure(needed: &[Package], progress: Progress) -> anyhow::Result<()> {
    let missing = missing(needed, |file| Path::new(file).exists());
    let command = format!(
        "apt-get install -y --no-install-recommends {}",
        missing.join(" ")
    );
    if !rustix::process::geteuid().is_root() {
        let first = if missing.is_empty() {
            String::new()
        } else {
            format!("{command} && ")
        };
        bail!(
            "nodes are namespaces and mounts, which need root; run as root: {first}cargo xtask up"
        )
    }
    if missing.is_empty() {
        return Ok(());
    }
    progress.step(&format!("installing {}", missing.join(", ")), || {
        let apt = |words: &[&str]| {
            run(
                Command::new("apt-get")
                    .args(words)
                    .env("DEBIAN_FRONTEND", "noninteractive")
                    // Servers are installed to be started by us, not as the system's own.
                    .env("RUNLEVEL", "1"),
                INSTALL_LIMIT,
            )
        };
        let words: Vec<_> = command.split(' ').skip(1).collect();
        // The package lists may be absent or old: fetch them only when that is why it failed.
        apt(&words)
            .or_else(|_| apt(&["update"]).and_then(|()| apt(&words)))
            .with_context(|| format!("failed to install packages; run: {command}"))
    })
}

fn missing(needed: &[Package], exists: impl Fn(&str) -> bool) -> Vec<&'static str> {
    needed
        .iter()
        .filter(|(_, file)| !exists(file))
        .map(|(package, _)| *package)
        .collect()
}

/// The installed version of containerd, which is part of what its process is made of.
pub(crate) fn containerd_version() -> anyhow::Result<String> {
    output(
        Command::new("containerd").arg("--version"),
        Duration::from_secs(10),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_whose_file_is_absent_are_missing() {
        assert_eq!(missing(&OF_NODES, |_| true), Vec::<&str>::new());
        assert_eq!(
            missing(&OF_NODES, |file| !file.ends_with("/ipset")),
            ["ipset"]
        );
    }
}

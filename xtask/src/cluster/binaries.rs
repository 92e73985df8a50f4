//! The components' binaries, built from the Go modules of `e2e/cluster` when
//! their sources changed, and the pause program from Kubernetes' own source.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use super::Layout;
use crate::command::{output, run};
use crate::progress::Progress;

/// Cold builds took 6 minutes on two idle cores; these may be busy.
const BUILD_LIMIT: Duration = Duration::from_mins(30);
const QUERY_LIMIT: Duration = Duration::from_mins(5);

/// A Go module below `e2e/cluster` and the one binary made from it.
struct Module {
    /// The binary's name.
    name: &'static str,
    directory: &'static str,
    package: &'static str,
    /// What a person is told.
    what: &'static str,
}

const COMPONENTS: Module = Module {
    name: "cluster",
    directory: "components",
    package: ".",
    what: "building Kubernetes, etcd, CoreDNS and the volume provisioner",
};
const NETPOL: Module = Module {
    name: "netpol",
    directory: "netpol",
    package: ".",
    what: "building the NetworkPolicy controller",
};
const HELM: Module = Module {
    name: "helm",
    directory: "helm",
    package: "helm.sh/helm/v3/cmd/helm",
    what: "building helm",
};

/// The binaries of a running cluster, by what they were built from.
#[derive(Debug)]
pub(crate) struct Binaries {
    /// Changes when the components' binary does.
    pub(crate) components: String,
    /// Changes when the policy controller's binary does.
    pub(crate) netpol: String,
}

pub(crate) fn build(layout: &Layout, progress: Progress) -> anyhow::Result<Binaries> {
    let components = ensure_built(layout, &COMPONENTS, progress)?;
    let netpol = ensure_built(layout, &NETPOL, progress)?;
    Ok(Binaries { components, netpol })
}

/// The real helm, built on demand.
pub(crate) fn helm(layout: &Layout, progress: Progress) -> anyhow::Result<PathBuf> {
    ensure_built(layout, &HELM, progress)?;
    Ok(layout.bin().join(HELM.name))
}

/// The pause program: what holds a pod's namespaces open.
pub(crate) fn pause(layout: &Layout) -> anyhow::Result<PathBuf> {
    let binary = layout.bin().join("pause");
    if binary.exists() {
        return Ok(binary);
    }
    let mut list = go(layout, &COMPONENTS);
    list.args(["list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"]);
    let module = output(&mut list, QUERY_LIMIT)?;
    let source = Path::new(module.trim()).join("build/pause/linux/pause.c");
    let made = layout.bin().join("pause.new");
    let mut compile = Command::new("gcc");
    compile
        .args(["-Os", "-static", "-DVERSION=local", "-o"])
        .arg(&made)
        .arg(&source);
    run(&mut compile, QUERY_LIMIT)?;
    fs::rename(&made, &binary)?;
    Ok(binary)
}

/// Builds unless the stamp says that it was built from just these sources, and
/// returns the stamp.
fn ensure_built(layout: &Layout, module: &Module, progress: Progress) -> anyhow::Result<String> {
    let binary = layout.bin().join(module.name);
    let stamp_file = layout.bin().join(format!("{}.stamp", module.name));
    let stamp = stamp(layout, module)?;
    if binary.exists() && fs::read_to_string(&stamp_file).is_ok_and(|built| built == stamp) {
        return Ok(stamp);
    }
    fs::create_dir_all(layout.bin())?;
    progress.step(module.what, || {
        // Renamed into place, because the old one may be running.
        let made = layout.bin().join(format!("{}.new", module.name));
        let mut build = go(layout, module);
        build
            .args(["build", "-trimpath", "-ldflags"])
            .arg(linker_flags(layout, module)?);
        run(build.arg("-o").arg(&made).arg(module.package), BUILD_LIMIT)?;
        fs::rename(&made, &binary)?;
        fs::write(&stamp_file, &stamp)?;
        Ok(stamp)
    })
}

fn go(layout: &Layout, module: &Module) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(layout.modules().join(module.directory))
        .env("CGO_ENABLED", "0");
    command
}

/// A digest of all that the binary is made from: sources, versions, flags, compiler.
fn stamp(layout: &Layout, module: &Module) -> anyhow::Result<String> {
    let directory = layout.modules().join(module.directory);
    let mut files: Vec<_> = fs::read_dir(&directory)
        .with_context(|| format!("failed to list {}", directory.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let mut digest = Sha256::new();
    for file in files.iter().filter(|file| file.is_file()) {
        digest.update(fs::read(file)?);
    }
    digest.update(linker_flags(layout, module)?);
    let compiler = output(Command::new("go").arg("version"), QUERY_LIMIT)
        .context("the components are built with Go; install the toolchain")?;
    digest.update(compiler);
    Ok(format!("{:x}", digest.finalize()))
}

/// Strips symbols, and gives Kubernetes its version: without, it calls itself v0.0.0-master.
fn linker_flags(layout: &Layout, module: &Module) -> anyhow::Result<String> {
    let mut flags = String::from("-s -w");
    if module.name == COMPONENTS.name {
        let path = layout.modules().join(module.directory).join("go.mod");
        let version = kubernetes_version(&fs::read_to_string(path)?)?;
        for package in [
            "k8s.io/component-base/version",
            "k8s.io/client-go/pkg/version",
        ] {
            let (major, minor) = major_minor(&version)?;
            for (name, value) in [
                ("gitVersion", version.as_str()),
                ("gitMajor", major),
                ("gitMinor", minor),
            ] {
                flags.push_str(" -X ");
                flags.push_str(&format_args!("{package}.{name}={value}").to_string());
            }
        }
    }
    Ok(flags)
}

fn kubernetes_version(go_mod: &str) -> anyhow::Result<String> {
    go_mod
        .lines()
        .find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
        .map(|version| version.trim().to_owned())
        .context("go.mod requires no k8s.io/kubernetes")
}

fn major_minor(version: &str) -> anyhow::Result<(&str, &str)> {
    let mut parts = version.trim_start_matches('v').split('.');
    let pair = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    ensure!(
        !pair.0.is_empty() && !pair.1.is_empty(),
        "{version:?} is no version"
    );
    Ok(pair)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_go_mod_requires() {
        let go_mod =
            "module x\n\nrequire (\n\tk8s.io/kubectl v0.36.3\n\tk8s.io/kubernetes v1.36.3\n)\n";
        let version = kubernetes_version(go_mod).unwrap();
        assert_eq!(version, "v1.36.3");
        assert_eq!(major_minor(&version).unwrap(), ("1", "36"));
    }

    #[test]
    fn a_go_mod_without_kubernetes_is_an_error() {
        assert!(kubernetes_version("module x\n").is_err());
    }
}

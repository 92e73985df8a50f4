//! What a crate must never reach: the boundaries that keep the engine pure and the runtimes free of
//! Kubernetes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;

use crate::command;

const LIMIT: Duration = Duration::from_mins(1);

/// Crates of ours, each with those that it must not reach, however indirectly.
const BOUNDARIES: [(&str, &[&str]); 6] = [
    (
        "orlop-api",
        &[
            "kube",
            "kube-core",
            "k8s-openapi",
            "orlop-crds",
            "orlop-plan",
        ],
    ),
    ("orlop-contract", &["tokio", "hyper", "kube", "kube-core"]),
    ("orlop-crds", &["tokio", "hyper", "kube-client"]),
    (
        "orlop-plan",
        &["tokio", "hyper", "kube-client", "rand", "getrandom"],
    ),
    (
        "orlop-telemetry",
        &[
            "kube",
            "kube-core",
            "k8s-openapi",
            "orlop-crds",
            "orlop-plan",
        ],
    ),
    (
        "orlop-worker",
        &[
            "kube",
            "kube-core",
            "k8s-openapi",
            "orlop-crds",
            "orlop-plan",
        ],
    ),
];

pub(super) fn check(root: &Path) -> anyhow::Result<()> {
    let mut crossed = Vec::new();
    for (ours, forbidden) in BOUNDARIES {
        let reached = reached(root, ours)?;
        crossed
            .extend(crossings(&reached, forbidden).map(|name| {
                format!("{ours} reaches {name}: see `cargo tree -p {ours} -i {name}`")
            }));
    }
    ensure!(crossed.is_empty(), "{}", crossed.join("\n"));
    Ok(())
}

fn crossings<'a>(reached: &'a str, forbidden: &'a [&str]) -> impl Iterator<Item = &'a str> {
    forbidden
        .iter()
        .copied()
        .filter(|name| reached.lines().any(|line| line == *name))
}

/// Names of all that is linked into the crate, one a line. Asked of `cargo tree`, which, unlike
/// `cargo metadata`, counts only the features that this crate asks for.
fn reached(root: &Path, ours: &str) -> anyhow::Result<String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--package", ours])
        .args(["--edges", "normal", "--prefix", "none", "--format", "{lib}"])
        .current_dir(root);
    Ok(command::output(&mut tree, LIMIT)?.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crossing_is_a_whole_name() {
        let reached = "orlop-plan\nkube-core\ntokio\n";
        let found: Vec<_> = crossings(reached, &["kube", "tokio", "hyper"]).collect();
        assert_eq!(found, ["tokio"]);
    }

    #[test]
    fn the_tree_of_a_crate_names_what_it_reaches() {
        let reached = reached(&crate::workspace::root(), "orlop-crds").unwrap();
        assert!(
            crossings(&reached, &["serde"]).next().is_some(),
            "{reached}"
        );
    }
}

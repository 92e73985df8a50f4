//! Which of the workspace's tests need a cluster.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::command;

const SUITES: &str = "orlop-suites";
/// Reads manifests only.
const LIMIT: Duration = Duration::from_mins(1);

/// Names of the workspace's integration tests.
pub(super) struct Targets {
    unit: BTreeSet<String>,
    suites: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Targets {
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut metadata = command::cargo();
        metadata
            .args(["metadata", "--locked", "--no-deps", "--format-version", "1"])
            .current_dir(root);
        let text = command::output(&mut metadata, LIMIT)?;
        Self::of(&text)
    }

    fn of(metadata: &str) -> Result<Self> {
        let metadata: Metadata = serde_json::from_str(metadata)
            .context("failed to read what `cargo metadata` printed")?;
        let (mut unit, mut suites) = (BTreeSet::new(), BTreeSet::new());
        for Package { name, targets } in metadata.packages {
            let names = if name == SUITES {
                &mut suites
            } else {
                &mut unit
            };
            let tests = targets
                .into_iter()
                .filter(|target| target.kind.iter().any(|kind| kind == "test"));
            names.extend(tests.map(|target| target.name));
        }
        // They are chosen by their names alone.
        let shared: Vec<_> = unit.intersection(&suites).cloned().collect();
        ensure!(
            shared.is_empty(),
            "tests of {SUITES} are called as tests of other packages: {}",
            shared.join(", ")
        );
        ensure!(!suites.is_empty(), "{SUITES} has no tests");
        Ok(Self { unit, suites })
    }

    /// What needs no cluster.
    pub(super) fn unit(&self) -> Vec<String> {
        let mut arguments = vec!["--workspace".into(), "--lib".into(), "--bins".into()];
        arguments.extend(named(&self.unit));
        arguments
    }

    /// What needs one.
    pub(super) fn suites(&self) -> Vec<String> {
        let mut arguments = vec!["--workspace".into()];
        arguments.extend(named(&self.suites));
        arguments
    }
}

fn named(tests: &BTreeSet<String>) -> impl Iterator<Item = String> {
    let pairs = tests.iter().map(|name| ["--test".to_owned(), name.clone()]);
    pairs.flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(suite: &str) -> String {
        let target = |name: &str, kind: &str| serde_json::json!({"name": name, "kind": [kind]});
        serde_json::json!({"packages": [
            {"name": "rope", "targets": [target("rope", "lib"), target("knots", "test")]},
            {"name": SUITES, "targets": [target("suites", "lib"), target(suite, "test")]},
        ]})
        .to_string()
    }

    #[test]
    fn what_needs_a_cluster_is_told_from_the_rest() {
        let targets = Targets::of(&metadata("storm")).unwrap();
        let unit = ["--workspace", "--lib", "--bins", "--test", "knots"];
        assert_eq!(targets.unit(), unit);
        assert_eq!(targets.suites(), ["--workspace", "--test", "storm"]);
    }

    #[test]
    fn one_name_for_two_tests_is_refused() {
        let error = Targets::of(&metadata("knots")).err().unwrap();
        assert!(error.to_string().ends_with("other packages: knots"));
    }
}

//! The programs of this workspace, as they go into images.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use super::definition::Binary;
use crate::command;

/// A cold release build of everything takes about ten minutes on two cores.
const LIMIT: Duration = Duration::from_mins(40);

/// Where each built program lies, by name.
pub(super) type Programs = BTreeMap<String, PathBuf>;

/// Builds the programs in one cargo run, so that what they share is built once.
pub(super) fn build<'a>(root: &Path, wanted: impl Iterator<Item = &'a Binary>) -> Result<Programs> {
    let target = root.join("target");
    let mut cargo = command::cargo();
    cargo
        .current_dir(root)
        .args(["build", "--release", "--target-dir"])
        .arg(&target);
    let mut packages = BTreeSet::new();
    let mut programs = Programs::new();
    for Binary { package, name } in wanted {
        packages.insert(package);
        cargo.args(["--bin", name]);
        programs.insert(name.clone(), target.join("release").join(name));
    }
    for package in packages {
        cargo.args(["--package", package]);
    }
    command::run(&mut cargo, LIMIT)?;
    Ok(programs)
}

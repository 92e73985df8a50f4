//! The layer of Debian packages. Made once per definition and kept.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use glob::Pattern;
use serde::{Deserialize, Serialize};

use super::debian;
use super::definition::Definition;
use super::layer::{Layer, digest};
use crate::command;
use crate::progress::Progress;

/// Raised when this file makes another layer of the same definition.
const FORMAT: u32 = 1;

/// Each holds its unpacked packages, up to half a gigabyte, in memory for a moment.
const MADE_AT_ONCE: usize = 4;

/// Packages are up to a hundred megabytes; a slow mirror is still done by then.
const LIMIT: Duration = Duration::from_mins(15);

/// Runs where the packages lie unpacked and their archives are still there. Keeps name and
/// version of each where vulnerability scanners look for them, as no dpkg has run.
const KEEP_STATUS: &str = r#"mkdir "$1/var/lib/dpkg/status.d"
for archive in "$1"/var/cache/apt/archives/*.deb; do
    dpkg-deb --field "$archive" > "$1/var/lib/dpkg/status.d/$(dpkg-deb --field "$archive" Package)"
    dpkg-deb --show --showformat '${Package}=${Version}\n' "$archive" >> "$1/packages"
done"#;

/// A base layer and the packages it was made of, as `name=version`.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub(super) layer: Layer,
    pub(super) packages: Vec<String>,
}

/// Makes the bases that are not in `store/base` yet, several at a time: most of what they take is
/// the mirror's answer.
pub(super) fn prepare(definitions: &[Definition], store: &Path, progress: Progress) -> Result<()> {
    let mut missing = BTreeMap::new();
    for definition in definitions {
        let directory = directory(definition, store)?;
        if !directory.exists() {
            missing.insert(directory, definition);
        }
    }
    let missing: Vec<_> = missing.into_iter().collect();
    for some in missing.chunks(MADE_AT_ONCE) {
        let what = some.iter().map(|(_, definition)| described(definition));
        let what = what.collect::<Vec<_>>().join("; ");
        progress.step(&format!("make the bases {what}"), || make_all(some))?;
    }
    Ok(())
}

/// Reads the base that [`prepare`] has left.
pub(super) fn load(definition: &Definition, store: &Path) -> Result<Base> {
    let directory = directory(definition, store)?;
    read(&directory).with_context(|| {
        format!(
            "failed to read the base {}; remove it to have it made again",
            directory.display()
        )
    })
}

fn described(definition: &Definition) -> String {
    let names = definition.packages.iter().map(|package| {
        let name = package.split('=').next();
        name.unwrap_or(package)
    });
    let names = names.collect::<Vec<_>>().join(", ");
    format!("{names} of Debian {}", definition.suite)
}

fn make_all(some: &[(PathBuf, &Definition)]) -> Result<()> {
    std::thread::scope(|scope| {
        let all: Vec<_> = some
            .iter()
            .map(|(directory, definition)| scope.spawn(|| make(definition, directory)))
            .collect();
        all.into_iter().try_for_each(|one| match one.join() {
            Ok(made) => made,
            Err(_) => bail!("the making of a base stopped halfway"),
        })
    })
}

fn directory(definition: &Definition, store: &Path) -> Result<PathBuf> {
    Ok(store.join("base").join(key(definition)?))
}

/// What a base depends on. The mirror is no part of it: all mirrors hold the same packages.
fn key(definition: &Definition) -> Result<String> {
    #[derive(Serialize)]
    struct Input<'a> {
        format: u32,
        architecture: &'a str,
        suite: &'a str,
        packages: &'a [String],
        keep: Vec<&'a str>,
        leave_out: Vec<&'a str>,
    }
    let input = Input {
        format: FORMAT,
        architecture: std::env::consts::ARCH,
        suite: &definition.suite,
        packages: &definition.packages,
        keep: definition.keep.iter().map(Pattern::as_str).collect(),
        leave_out: definition.leave_out.iter().map(Pattern::as_str).collect(),
    };
    let text = serde_json::to_vec(&input).context("failed to describe the base")?;
    Ok(digest(&text)["sha256:".len()..][..16].to_owned())
}

/// Makes the base beside its place and moves it there whole, so that a crash leaves none behind.
fn make(definition: &Definition, directory: &Path) -> Result<()> {
    let unfinished = directory.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)
            .with_context(|| format!("failed to remove {}", unfinished.display()))?;
    }
    fs::create_dir_all(&unfinished)
        .with_context(|| format!("failed to create {}", unfinished.display()))?;

    let root_filesystem = unfinished.join("root.tar");
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap
        .args(["--quiet", "--variant=extract"])
        .arg(format!("--include={}", definition.packages.join(",")))
        .arg(format!("--extract-hook={KEEP_STATUS}"))
        // Some mirrors are snapshots, whose index says that it is out of date.
        .arg("--aptopt=Acquire::Check-Valid-Until \"false\"")
        .arg(&definition.suite)
        .arg(&root_filesystem)
        .arg(debian::mirror()?);
    command::run(&mut mmdebstrap, LIMIT)?;

    let tar = fs::read(&root_filesystem)
        .with_context(|| format!("failed to read {}", root_filesystem.display()))?;
    let layer = Layer::of_root_filesystem(&*tar, &definition.keep, &definition.leave_out)?;
    write(&unfinished.join("layer.tar"), &layer.tar)?;
    let packages = packages_in(&tar)?;
    let facts = Facts {
        diff_id: layer.diff_id,
        packages,
    };
    let text = serde_json::to_vec_pretty(&facts).context("failed to describe the base")?;
    write(&unfinished.join("facts.json"), &text)?;
    fs::remove_file(&root_filesystem)
        .with_context(|| format!("failed to remove {}", root_filesystem.display()))?;
    fs::rename(&unfinished, directory)
        .with_context(|| format!("failed to move the base to {}", directory.display()))
}

/// What is known of a base without reading it whole.
#[derive(Deserialize, Serialize)]
struct Facts {
    diff_id: String,
    packages: Vec<String>,
}

fn read(directory: &Path) -> Result<Base> {
    let Facts { diff_id, packages } =
        serde_json::from_slice(&fs::read(directory.join("facts.json"))?)?;
    let tar = fs::read(directory.join("layer.tar"))?;
    Ok(Base {
        layer: Layer {
            tar: tar.into(),
            diff_id,
        },
        packages,
    })
}

/// Reads the list that [`KEEP_STATUS`] left at the root.
fn packages_in(root_filesystem: &[u8]) -> Result<Vec<String>> {
    let mut archive = tar::Archive::new(root_filesystem);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()? == Path::new("./packages") {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            return Ok(text.lines().map(str::to_owned).collect());
        }
    }
    bail!("mmdebstrap left no list of packages")
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("failed to write {}", path.display()))
}

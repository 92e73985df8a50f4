//! `cargo xtask gen`: every file of the repository that follows from the types of the kinds.

mod reference;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use orlop_crds::schema;

/// Folders that hold generated files only: whatever else lies in them is stale.
const FOLDERS: [&str; 3] = ["crds/yaml", "charts/orlop/files/crds", "docs/reference"];

/// Room for `kubectl apply`, which stores a copy of the definition in an annotation of at most
/// 256 KiB.
const DEFINITION_LIMIT: usize = 200_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing, and fail when a file is not what it would be
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = crate::workspace::root();
    let files = files()?;
    let stale = stale(&root, &files)?;
    if args.check {
        if stale.is_empty() {
            println!("{} generated files are up to date", files.len());
            return Ok(());
        }
        let list: Vec<_> = stale
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        bail!(
            "these files are stale, run `cargo xtask gen`:\n  {}",
            list.join("\n  ")
        );
    }
    for path in &stale {
        match files.get(path) {
            Some(text) => write(&root.join(path), text)?,
            None => fs::remove_file(root.join(path))
                .with_context(|| format!("failed to remove {}", path.display()))?,
        }
        println!("{}", path.display());
    }
    Ok(())
}

/// All generated files, by their path in the repository.
fn files() -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::new();
    for definition in orlop_crds::definitions() {
        let name = definition.metadata.name.as_deref().unwrap_or_default();
        let yaml = serde_saphyr::to_string(&definition)
            .with_context(|| format!("failed to write the definition of {name}"))?;
        ensure!(
            yaml.len() <= DEFINITION_LIMIT,
            "the definition of {name} has {} bytes, but {DEFINITION_LIMIT} are allowed",
            yaml.len()
        );
        for folder in ["crds/yaml", "charts/orlop/files/crds"] {
            files.insert(Path::new(folder).join(format!("{name}.yaml")), yaml.clone());
        }
    }
    for kind in schema::kinds() {
        let path = format!("docs/reference/{}.md", kind.name.to_lowercase());
        files.insert(path.into(), reference::kind(kind));
    }
    files.insert("docs/reference/reasons.md".into(), reference::reasons());
    Ok(files)
}

/// Files that are missing, differ, or should not be there.
fn stale(root: &Path, files: &BTreeMap<PathBuf, String>) -> anyhow::Result<Vec<PathBuf>> {
    let mut stale: Vec<PathBuf> = files
        .iter()
        .filter(|(path, text)| fs::read_to_string(root.join(path)).ok().as_ref() != Some(text))
        .map(|(path, _)| path.clone())
        .collect();
    for folder in FOLDERS {
        let Ok(entries) = fs::read_dir(root.join(folder)) else {
            // A folder that does not exist yet: its files are in the list already.
            continue;
        };
        for entry in entries {
            let entry = entry.with_context(|| format!("failed to list {folder}"))?;
            let path = Path::new(folder).join(entry.file_name());
            if !files.contains_key(&path) {
                stale.push(path);
            }
        }
    }
    Ok(stale)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, text));
    written.with_context(|| format!("failed to write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_changed_and_foreign_files_are_stale() {
        let root = std::env::temp_dir().join(format!("orlop-generate-{}", std::process::id()));
        let file = |name: &str| Path::new(FOLDERS[0]).join(name);
        let files = BTreeMap::from(
            ["same", "changed", "missing"].map(|name| (file(name), "generated".to_owned())),
        );
        write(&root.join(file("same")), "generated").unwrap();
        write(&root.join(file("changed")), "edited by hand").unwrap();
        write(&root.join(file("foreign")), "of a kind that is gone").unwrap();

        let found = stale(&root, &files).unwrap();

        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, ["changed", "missing", "foreign"].map(file));
    }
}

//! Small helps with files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The paths in a directory; none if there is no such directory.
pub(crate) fn list(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    fs::read_dir(directory)?
        .map(|entry| Ok(entry?.path()))
        .collect()
}

/// Writes a file so that at any moment it is the old or the new one.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let name = path
        .file_name()
        .context("a file has a name")?
        .to_string_lossy();
    let made = path.with_file_name(format!(".{name}.{}", std::process::id()));
    fs::write(&made, content).with_context(|| format!("failed to write {}", made.display()))?;
    fs::rename(&made, path).with_context(|| format!("failed to write {}", path.display()))
}

pub(crate) fn remove_if_present(file: &Path) -> anyhow::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

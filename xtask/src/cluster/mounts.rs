//! The mounts that nodes leave behind: volumes, root file systems, pods' namespaces.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rustix::mount::{UnmountFlags, unmount};

/// Mount points at or below a directory, as deep ones last mounted.
pub(crate) fn below(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(points(&table)
        .into_iter()
        .filter(|point| point.starts_with(directory))
        .collect())
}

/// Unmounts everything at or below a directory, the last mounted first.
pub(crate) fn unmount_below(directory: &Path) -> anyhow::Result<()> {
    for point in below(directory)?.iter().rev() {
        // Detached: a process that is just ending may still hold it open.
        unmount(point, UnmountFlags::DETACH)
            .with_context(|| format!("failed to unmount {}", point.display()))?;
    }
    Ok(())
}

/// proc(5): the mount point is the fifth field, with octal escapes.
fn points(table: &str) -> Vec<PathBuf> {
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|field| PathBuf::from(unescape(field)))
        .collect()
}

fn unescape(field: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(field.to_owned(), |text, (escape, character)| {
        text.replace(escape, character)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_the_fifth_field_with_escapes_undone() {
        let table = "36 35 98:0 / / rw - ext4 /dev/root rw\n\
                     37 36 0:4 net:[4026532281] /a\\040b/netns/x rw shared:1 - nsfs nsfs rw\n";
        assert_eq!(
            points(table),
            [PathBuf::from("/"), PathBuf::from("/a b/netns/x")]
        );
    }
}

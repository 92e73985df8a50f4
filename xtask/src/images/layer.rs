//! A layer: files with everything fixed that could differ between two builds.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use glob::{MatchOptions, Pattern};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use super::binaries::Programs;
use super::definition::{Definition, File};

/// A tar and the hash that names it.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) tar: Arc<[u8]>,
    /// `sha256:` and the hash of the uncompressed tar.
    pub(super) diff_id: String,
}

impl Layer {
    /// The layer of our own files and programs.
    pub(super) fn of_files(definition: &Definition, programs: &Programs) -> Result<Self> {
        let mut tree = Tree::default();
        for File { from, to, mode } in &definition.files {
            tree.insert(to.clone(), Node::file(read(from)?, *mode));
        }
        for binary in &definition.binaries {
            let program = programs
                .get(&binary.name)
                .with_context(|| format!("program {} was not built", binary.name))?;
            let place = Path::new("usr/local/bin").join(&binary.name);
            tree.insert(place, Node::file(read(program)?, 0o755));
        }
        tree.write()
    }

    /// The layer of what a root filesystem's tar holds and `keep` names but not `leave_out`, with
    /// the links that make `/bin` and its like the same directories as those below `/usr`.
    pub(super) fn of_root_filesystem(
        tar: impl Read,
        keep: &[Pattern],
        leave_out: &[Pattern],
    ) -> Result<Self> {
        let mut tree = Tree::read(tar)?;
        tree.0
            .retain(|path, _| is_within(path, keep) && !is_within(path, leave_out));
        for (link, target) in [
            ("bin", "usr/bin"),
            ("sbin", "usr/sbin"),
            ("lib", "usr/lib"),
            ("lib64", "usr/lib64"),
        ] {
            tree.insert(
                link.into(),
                Node::Link {
                    target: target.into(),
                },
            );
        }
        tree.write()
    }

    pub(super) fn of_tar(tar: Vec<u8>) -> Self {
        let diff_id = digest(&tar);
        Self {
            tar: tar.into(),
            diff_id,
        }
    }
}

/// `sha256:` and the hash, as image formats write it.
pub(super) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

/// Whether a pattern matches the path or a directory that it lies in.
fn is_within(path: &Path, patterns: &[Pattern]) -> bool {
    let within_a_segment = MatchOptions {
        require_literal_separator: true,
        ..MatchOptions::new()
    };
    path.ancestors().any(|place| {
        patterns
            .iter()
            .any(|pattern| pattern.matches_path_with(place, within_a_segment))
    })
}

#[derive(Clone, Debug)]
enum Node {
    Directory { mode: u32 },
    File { mode: u32, bytes: Arc<[u8]> },
    Link { target: PathBuf },
}

impl Node {
    fn file(bytes: Vec<u8>, mode: u32) -> Self {
        Self::File {
            mode,
            bytes: bytes.into(),
        }
    }
}

/// Paths relative to the root, in order: a directory comes before what is in it.
#[derive(Debug, Default)]
struct Tree(BTreeMap<PathBuf, Node>);

impl Tree {
    fn read(tar: impl Read) -> Result<Self> {
        let mut tree = Self::default();
        let mut archive = tar::Archive::new(tar);
        for entry in archive
            .entries()
            .context("failed to read the root filesystem")?
        {
            let mut entry = entry.context("failed to read the root filesystem")?;
            let path = relative(&entry.path()?);
            if path.as_os_str().is_empty() {
                continue;
            }
            // Set-user-id programs have no place where nobody may become root.
            let mode = entry.header().mode()? & 0o1777;
            let target = entry
                .link_name()?
                .map(std::borrow::Cow::into_owned)
                .unwrap_or_default();
            let node = match entry.header().entry_type() {
                EntryType::Directory => Node::Directory { mode },
                EntryType::Regular => {
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes)?;
                    Node::file(bytes, mode)
                }
                EntryType::Symlink => Node::Link { target },
                // A second name of a file that came before.
                EntryType::Link => match tree.0.get(&relative(&target)) {
                    Some(node) => node.clone(),
                    None => bail!("{} links to nothing", path.display()),
                },
                // Devices: the container runtime makes its own.
                _ => continue,
            };
            tree.0.insert(path, node);
        }
        Ok(tree)
    }

    fn insert(&mut self, path: PathBuf, node: Node) {
        self.0.insert(path, node);
    }

    fn write(mut self) -> Result<Layer> {
        self.add_parents();
        let mut tar = tar::Builder::new(Vec::new());
        for (path, node) in &self.0 {
            let mut header = Header::new_gnu();
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            match node {
                Node::Directory { mode } => {
                    header.set_entry_type(EntryType::Directory);
                    header.set_mode(*mode);
                    header.set_size(0);
                    tar.append_data(&mut header, path, std::io::empty())
                }
                Node::File { mode, bytes } => {
                    header.set_entry_type(EntryType::Regular);
                    header.set_mode(*mode);
                    header.set_size(bytes.len() as u64);
                    tar.append_data(&mut header, path, &**bytes)
                }
                Node::Link { target } => {
                    header.set_entry_type(EntryType::Symlink);
                    header.set_mode(0o777);
                    header.set_size(0);
                    tar.append_link(&mut header, path, target)
                }
            }
            .with_context(|| format!("failed to add {}", path.display()))?;
        }
        Ok(Layer::of_tar(
            tar.into_inner().context("failed to finish the layer")?,
        ))
    }

    fn add_parents(&mut self) {
        let parents: Vec<PathBuf> = self
            .0
            .keys()
            .flat_map(|path| path.ancestors().skip(1))
            .filter(|parent| !parent.as_os_str().is_empty())
            .map(Path::to_path_buf)
            .collect();
        for parent in parents {
            self.0
                .entry(parent)
                .or_insert(Node::Directory { mode: 0o755 });
        }
    }
}

/// `./usr/bin/` and `/usr/bin` are both `usr/bin`.
fn relative(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| matches!(part, std::path::Component::Normal(_)))
        .collect()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("failed to read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_filesystem() -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, mode, time) in [
            ("./usr/bin/sail", 0o4755, 11),
            ("./usr/share/doc/sail/README", 0o644, 12),
            ("./tmp/x", 0o644, 13),
        ] {
            let mut header = Header::new_gnu();
            header.set_mode(mode);
            header.set_mtime(time);
            header.set_uid(33);
            header.set_size(4);
            tar.append_data(&mut header, path, &b"wind"[..]).unwrap();
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Link);
        header.set_mode(0o755);
        header.set_size(0);
        tar.append_link(&mut header, "./usr/bin/jib", "./usr/bin/sail")
            .unwrap();
        tar.into_inner().unwrap()
    }

    fn listing(layer: &Layer) -> Vec<String> {
        tar::Archive::new(&*layer.tar)
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                let path = entry.path().unwrap().display().to_string();
                let kind = match header.entry_type() {
                    EntryType::Directory => 'd',
                    EntryType::Symlink => 'l',
                    _ => '-',
                };
                let (mode, owner, time) = (
                    header.mode().unwrap(),
                    header.uid().unwrap(),
                    header.mtime().unwrap(),
                );
                format!("{kind}{mode:o} {owner} {time} {path}")
            })
            .collect()
    }

    #[test]
    fn a_base_holds_what_is_kept_without_times_owners_and_set_user_id() {
        let keep = ["usr/bin/*"].map(|text| Pattern::new(text).unwrap());
        let layer = Layer::of_root_filesystem(&*root_filesystem(), &keep, &[]).unwrap();
        assert_eq!(
            listing(&layer),
            [
                "l777 0 0 bin",
                "l777 0 0 lib",
                "l777 0 0 lib64",
                "l777 0 0 sbin",
                "d755 0 0 usr",
                "d755 0 0 usr/bin",
                "-755 0 0 usr/bin/jib",
                "-755 0 0 usr/bin/sail",
            ]
        );
    }

    #[test]
    fn a_star_stays_within_its_segment_and_a_match_brings_what_is_below() {
        let keeps = |pattern: &str| {
            let keep = [Pattern::new(pattern).unwrap()];
            let layer = Layer::of_root_filesystem(&*root_filesystem(), &keep, &[]).unwrap();
            listing(&layer)
                .iter()
                .any(|line| line.ends_with("usr/share/doc/sail/README"))
        };
        assert!(keeps("usr/share/doc"));
        assert!(keeps("usr/*/doc/*/README"));
        assert!(!keeps("usr/*/README"));
        assert!(!keeps("usr/bin"));
    }

    #[test]
    fn what_is_left_out_goes_although_something_above_it_is_kept() {
        let patterns = |text| [Pattern::new(text).unwrap()];
        let (keep, leave_out) = (patterns("usr"), patterns("usr/share/*"));
        let layer = Layer::of_root_filesystem(&*root_filesystem(), &keep, &leave_out).unwrap();
        let listing = listing(&layer);
        assert!(listing.iter().any(|line| line.ends_with("usr/bin/sail")));
        assert!(!listing.iter().any(|line| line.contains("usr/share")));
    }

    #[test]
    fn the_same_files_make_the_same_layer() {
        let keep = [Pattern::new("usr").unwrap()];
        let once = Layer::of_root_filesystem(&*root_filesystem(), &keep, &[]).unwrap();
        let again = Layer::of_root_filesystem(&*root_filesystem(), &keep, &[]).unwrap();
        assert_eq!(once.diff_id, again.diff_id);
    }
}

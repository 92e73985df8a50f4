//! Container images made of Debian packages and our own binaries, without a container engine.
//!
//! An image is two layers: a *base* that `mmdebstrap` makes of packages (kept in
//! `target/images/base` for as long as its definition stays the same) and a *top* of our
//! files. Everything that could differ between two builds of the same input (times, owners,
//! order) is fixed, and the tag is the hash of the content: a rebuilt binary that came out the
//! same rolls nothing. Docker and buildah were passed over because neither may be needed to
//! try Orlop out.

mod archive;
mod base;
mod binaries;
mod debian;
mod definition;
mod deliver;
mod layer;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::progress::Progress;
pub(crate) use deliver::deliver;

/// The registry part of the images' names in manifests and in the local cluster.
pub(crate) const LOCAL_REGISTRY: &str = "orlop.dev";

/// An image that lies on disk, ready to be imported or pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Image {
    /// The repository's name below the registry: `orlop-edge`.
    pub(crate) name: String,
    /// Hash of the content, 12 hexadecimal digits.
    pub(crate) tag: String,
    /// Further `repository:tag` names, for manifests that people write.
    pub(crate) aliases: Vec<String>,
    /// A docker-archive that carries all the names of [`LOCAL_REGISTRY`].
    pub(crate) archive: PathBuf,
    /// The Debian packages inside, as `name=version`.
    pub(crate) packages: Vec<String>,
}

impl Image {
    /// What a pod asks for: `REGISTRY/NAME:TAG`.
    pub(crate) fn reference(&self, registry: &str) -> String {
        format!("{registry}/{}:{}", self.name, self.tag)
    }

    /// Every name of the image, the one with the content's hash first.
    pub(crate) fn references(&self, registry: &str) -> Vec<String> {
        let aliases = self
            .aliases
            .iter()
            .map(|alias| format!("{registry}/{alias}"));
        std::iter::once(self.reference(registry))
            .chain(aliases)
            .collect()
    }
}

/// Builds every image that `runtime-services/images` defines, sorted by name, and records
/// them in `target/images/images.json`.
pub(crate) fn build(root: &Path, progress: Progress) -> Result<Vec<Image>> {
    let definitions = definition::read_all(&root.join("runtime-services/images"))?;
    let store = root.join("target/images");
    std::fs::create_dir_all(&store)
        .with_context(|| format!("failed to create {}", store.display()))?;

    let wanted = definitions
        .iter()
        .flat_map(|definition| &definition.binaries);
    let programs = progress.step("build the binaries", || binaries::build(root, wanted))?;
    base::prepare(&definitions, &store, progress)?;
    let images = definitions
        .iter()
        .map(|definition| {
            let base = base::load(definition, &store)?;
            let top = layer::Layer::of_files(definition, &programs)?;
            archive::write(definition, &base, &top, &store)
                .with_context(|| format!("failed to make image {}", definition.name))
        })
        .collect::<Result<Vec<_>>>()?;
    record(&images, &store.join("images.json"))?;
    Ok(images)
}

fn record(images: &[Image], path: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(images).context("failed to describe the images")?;
    std::fs::write(path, text + "\n").with_context(|| format!("failed to write {}", path.display()))
}

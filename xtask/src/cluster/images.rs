//! Images of the nodes: imported from archives, since there is no registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::binaries;
use super::config::PAUSE_IMAGE;
use super::files::write_atomically;
use super::layout::{Layout, Node};
use crate::command::{output, run};
use crate::progress::Progress;

/// A gigabyte took half a minute on a busy disk.
const IMPORT_LIMIT: Duration = Duration::from_mins(5);
const QUERY_LIMIT: Duration = Duration::from_secs(30);
/// Which archive an image came from, in the image's own labels.
const LABEL: &str = "orlop.dev/archive";

/// Imports archives (docker-archive or OCI layout, as a tar) into all nodes that
/// do not have just these. Names must be whole: `docker.io/...`.
///
/// # Errors
/// When an archive cannot be read, names no image, or a node refuses it.
pub(crate) fn import(
    layout: &Layout,
    archives: &[PathBuf],
    progress: Progress,
) -> anyhow::Result<()> {
    for archive in archives {
        let contents = Contents::of(archive)
            .with_context(|| format!("failed to read the image archive {}", archive.display()))?;
        let lacking = nodes_without(layout, &contents)?;
        if !lacking.is_empty() {
            progress.step(&format!("loading {}", contents.names.join(", ")), || {
                import_into_all(layout, &lacking, archive, &contents)
            })?;
        }
    }
    Ok(())
}

/// Makes the image of the pause program and imports it.
pub(crate) fn import_pause(layout: &Layout, progress: Progress) -> anyhow::Result<()> {
    let archive = layout.images().join("pause.tar");
    if !archive.exists() {
        make_pause(layout, &archive).context("failed to make the pause image")?;
    }
    import(layout, &[archive], progress)
}

/// What an archive holds, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    names: Vec<String>,
    /// Digest of what in turn holds the digests of all layers.
    digest: String,
}

impl Contents {
    fn of(archive: &Path) -> anyhow::Result<Self> {
        match member(archive, "manifest.json") {
            Ok(manifest) => Self::of_docker(&manifest, |config| member(archive, config)),
            Err(_) => Self::of_oci(&member(archive, "index.json")?),
        }
    }

    fn of_docker(
        manifest: &str,
        read: impl Fn(&str) -> anyhow::Result<String>,
    ) -> anyhow::Result<Self> {
        let manifest: Value = serde_json::from_str(manifest)?;
        let images = manifest.as_array().context("manifest.json is no list")?;
        let mut names = Vec::new();
        let mut digest = Sha256::new();
        for image in images {
            let tags = image["RepoTags"]
                .as_array()
                .context("an image without RepoTags")?;
            names.extend(tags.iter().filter_map(Value::as_str).map(str::to_owned));
            digest.update(read(
                image["Config"]
                    .as_str()
                    .context("an image without Config")?,
            )?);
        }
        Self::named(names, digest)
    }

    fn of_oci(index: &str) -> anyhow::Result<Self> {
        let parsed: Value = serde_json::from_str(index)?;
        let manifests = parsed["manifests"]
            .as_array()
            .context("index.json without manifests")?;
        let name = |manifest: &Value| {
            let annotations = &manifest["annotations"];
            [
                "io.containerd.image.name",
                "org.opencontainers.image.ref.name",
            ]
            .iter()
            .find_map(|key| annotations[*key].as_str().map(str::to_owned))
        };
        Self::named(
            manifests.iter().filter_map(name).collect(),
            Sha256::new_with_prefix(index),
        )
    }

    fn label(&self) -> String {
        format!("{LABEL}={}", self.digest)
    }

    fn named(names: Vec<String>, digest: Sha256) -> anyhow::Result<Self> {
        if names.is_empty() {
            bail!("it names no image");
        }
        Ok(Self {
            names,
            digest: format!("{:x}", digest.finalize()),
        })
    }
}

fn nodes_without(layout: &Layout, contents: &Contents) -> anyhow::Result<Vec<Node>> {
    let label = contents.label();
    let mut lacking = Vec::new();
    for node in Node::all() {
        let present = output(ctr(layout, node).args(["images", "list"]), QUERY_LIMIT)?;
        if !contents
            .names
            .iter()
            .all(|name| has_image(&present, name, &label))
        {
            lacking.push(node);
        }
    }
    Ok(lacking)
}

fn import_into_all(
    layout: &Layout,
    nodes: &[Node],
    archive: &Path,
    contents: &Contents,
) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let imports: Vec<_> = nodes
            .iter()
            .map(|node| scope.spawn(move || import_into(layout, *node, archive, contents)))
            .collect();
        imports
            .into_iter()
            .try_for_each(|import| match import.join() {
                Ok(done) => done,
                Err(_) => bail!("an import stopped halfway"),
            })
    })
}

fn import_into(
    layout: &Layout,
    node: Node,
    archive: &Path,
    contents: &Contents,
) -> anyhow::Result<()> {
    run(
        ctr(layout, node).args(["images", "import"]).arg(archive),
        IMPORT_LIMIT,
    )
    .with_context(|| {
        format!(
            "failed to import {} into {}",
            archive.display(),
            node.name()
        )
    })?;
    // Last, so that an image without it was imported only in part.
    for name in &contents.names {
        run(
            ctr(layout, node).args(["images", "label", name, &contents.label()]),
            QUERY_LIMIT,
        )?;
    }
    Ok(())
}

/// Whether a line of `ctr images list` (name first, labels last) shows the image.
fn has_image(list: &str, name: &str, label: &str) -> bool {
    list.lines().any(|line| {
        line.split_whitespace().next() == Some(name)
            && line
                .split_whitespace()
                .next_back()
                .is_some_and(|labels| labels.split(',').any(|present| present == label))
    })
}

fn ctr(layout: &Layout, node: Node) -> Command {
    let mut command = Command::new("ctr");
    command
        .arg("--address")
        .arg(layout.containerd_socket(node))
        .args(["--namespace", "k8s.io"]);
    command
}

fn member(archive: &Path, name: &str) -> anyhow::Result<String> {
    output(
        Command::new("tar").arg("-xOf").arg(archive).arg(name),
        QUERY_LIMIT,
    )
}

/// A docker-archive of one layer with one file.
fn make_pause(layout: &Layout, archive: &Path) -> anyhow::Result<()> {
    let binary = binaries::pause(layout)?;
    let work = layout.images().join("pause");
    fs::create_dir_all(&work)?;
    let layer = work.join("layer.tar");
    let mut tar = reproducible_tar(&layer, &layout.bin());
    run(
        tar.arg(binary.file_name().context("the binary has a name")?),
        QUERY_LIMIT,
    )?;
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {
            "type": "layers",
            "diff_ids": [format!("sha256:{:x}", Sha256::digest(fs::read(&layer)?))],
        },
    });
    let manifest = json!([{
        "Config": "config.json",
        "RepoTags": [PAUSE_IMAGE],
        "Layers": ["layer.tar"],
    }]);
    write_atomically(&work.join("config.json"), config.to_string().as_bytes())?;
    write_atomically(&work.join("manifest.json"), manifest.to_string().as_bytes())?;
    // Named only when complete, because what is there is taken as it is.
    let made: PathBuf = archive.with_extension("new");
    let mut tar = reproducible_tar(&made, &work);
    run(
        tar.args(["manifest.json", "config.json", "layer.tar"]),
        QUERY_LIMIT,
    )?;
    fs::rename(&made, archive)?;
    Ok(())
}

fn reproducible_tar(archive: &Path, directory: &Path) -> Command {
    let mut command = Command::new("tar");
    command.args([
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mtime=@0",
        "--sort=name",
        "-cf",
    ]);
    command.arg(archive).arg("-C").arg(directory);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_docker_archive_is_known_by_its_names_and_its_configuration() {
        let manifest = r#"[{"Config":"c.json","RepoTags":["docker.io/a/b:1"],"Layers":["l.tar"]}]"#;
        let one = Contents::of_docker(manifest, |_| Ok("layers 1".to_owned())).unwrap();
        let same = Contents::of_docker(manifest, |_| Ok("layers 1".to_owned())).unwrap();
        let other = Contents::of_docker(manifest, |_| Ok("layers 2".to_owned())).unwrap();
        assert_eq!(one.names, ["docker.io/a/b:1"]);
        assert_eq!(one, same);
        assert_ne!(one.digest, other.digest);
    }

    #[test]
    fn an_oci_layout_is_known_by_its_index() {
        let index = r#"{"manifests":[{"digest":"sha256:1","annotations":
            {"org.opencontainers.image.ref.name":"docker.io/a/b:1"}}]}"#;
        assert_eq!(Contents::of_oci(index).unwrap().names, ["docker.io/a/b:1"]);
    }

    #[test]
    fn an_archive_that_names_no_image_is_refused() {
        assert!(Contents::of_oci(r#"{"manifests":[{"digest":"sha256:1"}]}"#).is_err());
    }

    #[test]
    fn an_image_is_present_only_from_the_same_archive() {
        let list = "REF TYPE DIGEST SIZE PLATFORMS LABELS\n\
                    docker.io/a/b:1 type sha256:1 1.0 MiB linux/amd64 io.cri-containerd.image=managed,orlop.dev/archive=x \n";
        assert!(has_image(list, "docker.io/a/b:1", "orlop.dev/archive=x"));
        assert!(!has_image(list, "docker.io/a/b:1", "orlop.dev/archive=y"));
        assert!(!has_image(list, "docker.io/a/b", "orlop.dev/archive=x"));
    }
}

//! The docker-archive format: a tar of `manifest.json`, the image's configuration and one tar
//! a layer. containerd imports it and skopeo pushes it. An OCI layout would do as well, but
//! only containerd takes its names from there.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tar::Header;

use super::base::Base;
use super::definition::Definition;
use super::layer::{Layer, digest};
use super::{Image, LOCAL_REGISTRY};

/// Digits of the content's hash that make the tag: enough that two never meet.
const TAG_DIGITS: usize = 12;

/// Writes `store/NAME-TAG.tar`, unless it is there, and removes the image's earlier archives.
pub(super) fn write(
    definition: &Definition,
    base: &Base,
    top: &Layer,
    store: &Path,
) -> Result<Image> {
    let layers = [&base.layer, top];
    let configuration = serde_json::to_vec(&configuration(definition, &layers)?)?;
    let tag = digest(&configuration)["sha256:".len()..][..TAG_DIGITS].to_owned();
    let image = Image {
        name: definition.name.clone(),
        archive: store.join(format!("{}-{tag}.tar", definition.name)),
        tag,
        aliases: definition.aliases.clone(),
        packages: base.packages.clone(),
    };
    if !image.archive.exists() {
        remove_earlier(&image.name, store)?;
        let unfinished = image.archive.with_extension("unfinished");
        std::fs::write(&unfinished, pack(&image, &configuration, &layers)?)
            .with_context(|| format!("failed to write {}", unfinished.display()))?;
        std::fs::rename(&unfinished, &image.archive)
            .with_context(|| format!("failed to write {}", image.archive.display()))?;
    }
    Ok(image)
}

/// The image's configuration, after the OCI image specification.
fn configuration(definition: &Definition, layers: &[&Layer]) -> Result<Value> {
    let ports: serde_json::Map<_, _> = definition
        .ports
        .iter()
        .map(|port| (format!("{port}/tcp"), json!({})))
        .collect();
    let user = definition.user;
    Ok(json!({
        "architecture": architecture()?,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "User": format!("{user}:{user}"),
            "Env": definition.env,
            "Entrypoint": definition.entrypoint,
            "ExposedPorts": ports,
            "WorkingDir": "/",
            "StopSignal": definition.stop_signal,
            "Labels": {
                "org.opencontainers.image.title": definition.name,
                "org.opencontainers.image.description": definition.description,
                "org.opencontainers.image.licenses": "Apache-2.0",
            },
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>(),
        },
    }))
}

fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("images for {other} are not made"),
    }
}

fn pack(image: &Image, configuration: &[u8], layers: &[&Layer]) -> Result<Vec<u8>> {
    let file = |layer: &Layer| format!("{}.tar", &layer.diff_id["sha256:".len()..]);
    let manifest = json!([{
        "Config": "config.json",
        "RepoTags": image.references(LOCAL_REGISTRY),
        "Layers": layers.iter().map(|layer| file(layer)).collect::<Vec<_>>(),
    }]);
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, bytes: &[u8]| {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, path, bytes)
            .with_context(|| format!("failed to add {path}"))
    };
    add("manifest.json", &serde_json::to_vec(&manifest)?)?;
    add("config.json", configuration)?;
    for layer in layers {
        add(&file(layer), &layer.tar)?;
    }
    tar.into_inner().context("failed to finish the archive")
}

fn remove_earlier(name: &str, store: &Path) -> Result<()> {
    let prefix = format!("{name}-");
    for entry in std::fs::read_dir(store)? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let hash = file
            .strip_prefix(&prefix)
            .and_then(|rest| rest.strip_suffix(".tar"));
        if hash.is_some_and(|hash| hash.len() == TAG_DIGITS) {
            std::fs::remove_file(&path)
                .with_context(|| format!("failed to remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::Read;

    fn definition() -> Definition {
        Definition {
            name: "mast".into(),
            description: "A mast".into(),
            suite: "oak".into(),
            packages: Vec::new(),
            keep: Vec::new(),
            leave_out: Vec::new(),
            files: Vec::new(),
            binaries: Vec::new(),
            user: 7,
            entrypoint: vec!["/mast".into()],
            env: vec!["PATH=/bin".into()],
            stop_signal: "SIGQUIT".into(),
            ports: vec![80],
            aliases: vec!["mast:1".into()],
        }
    }

    fn made(top: &[u8]) -> (Image, Vec<u8>) {
        let layers = [
            &Layer::of_tar(b"base".to_vec()),
            &Layer::of_tar(top.to_vec()),
        ];
        let configuration =
            serde_json::to_vec(&configuration(&definition(), &layers).unwrap()).unwrap();
        let image = Image {
            name: "mast".into(),
            tag: digest(&configuration)[7..][..TAG_DIGITS].into(),
            aliases: definition().aliases,
            archive: "mast.tar".into(),
            packages: Vec::new(),
        };
        let archive = pack(&image, &configuration, &layers).unwrap();
        (image, archive)
    }

    fn unpacked(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.path().unwrap().display().to_string(), bytes)
        };
        tar::Archive::new(archive)
            .entries()
            .unwrap()
            .map(read)
            .collect()
    }

    #[test]
    fn an_archive_names_every_tag_and_holds_every_layer_that_it_names() {
        let (image, archive) = made(b"top");
        let files = unpacked(&archive);
        let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        let expected = [
            format!("orlop.dev/mast:{}", image.tag),
            "orlop.dev/mast:1".into(),
        ];
        assert_eq!(manifest[0]["RepoTags"], json!(expected));
        let layers = manifest[0]["Layers"].as_array().unwrap();
        let content: Vec<_> = layers
            .iter()
            .map(|file| &files[file.as_str().unwrap()][..])
            .collect();
        assert_eq!(content, [&b"base"[..], b"top"]);
    }

    #[test]
    fn the_configuration_says_who_runs_and_how_to_stop() {
        let files = unpacked(&made(b"top").1);
        let configuration: Value = serde_json::from_slice(&files["config.json"]).unwrap();
        assert_eq!(configuration["config"]["User"], "7:7");
        assert_eq!(configuration["config"]["StopSignal"], "SIGQUIT");
        assert_eq!(
            configuration["config"]["ExposedPorts"],
            json!({"80/tcp": {}})
        );
    }

    #[test]
    fn the_tag_follows_the_content() {
        assert_eq!(made(b"top").0.tag, made(b"top").0.tag);
        assert_ne!(made(b"top").0.tag, made(b"top!").0.tag);
    }
}

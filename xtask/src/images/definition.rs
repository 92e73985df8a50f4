//! What an image is made of: `runtime-services/images/NAME/image.toml`, together with what
//! holds for all of them (`common.toml`) and the versions of packages (`versions.toml`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use glob::Pattern;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// One image, complete: nobody looks at the TOML files afterwards.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) suite: String,
    /// Each package as apt takes it, with its version: `nginx=1.30.*`.
    pub(super) packages: Vec<String>,
    pub(super) keep: Vec<Pattern>,
    /// What goes although `keep` names it or something above it.
    pub(super) leave_out: Vec<Pattern>,
    pub(super) files: Vec<File>,
    pub(super) binaries: Vec<Binary>,
    pub(super) user: u32,
    pub(super) entrypoint: Vec<String>,
    /// Variables of every process in the image, as `NAME=value`.
    pub(super) env: Vec<String>,
    pub(super) stop_signal: String,
    pub(super) ports: Vec<u16>,
    pub(super) aliases: Vec<String>,
}

/// A file of the repository and its place in the image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Relative to `runtime-services/images`; absolute once the definition is read.
    pub(super) from: PathBuf,
    pub(super) to: PathBuf,
    pub(super) mode: u32,
}

/// A program of this workspace; it goes to `/usr/local/bin`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Binary {
    pub(super) package: String,
    pub(super) name: String,
}

/// Reads every image below `directory`, sorted by name.
///
/// # Errors
/// A file that cannot be read or has unknown keys, a package without a version in
/// `versions.toml`, a pattern that is none.
pub(super) fn read_all(directory: &Path) -> Result<Vec<Definition>> {
    let common: Common = read(&directory.join("common.toml"))?;
    let versions: Versions = read(&directory.join("versions.toml"))?;
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("failed to list {}", directory.display()))?;
    let mut definitions = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("failed to list {}", directory.display()))?
            .path();
        let file = path.join("image.toml");
        if file.is_file() {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let definition = complete(name, read(&file)?, &common, &versions, directory)
                .with_context(|| format!("{} is not an image", file.display()))?;
            definitions.push(definition);
        }
    }
    ensure!(
        !definitions.is_empty(),
        "no image is defined in {}",
        directory.display()
    );
    definitions.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(definitions)
}

/// Suite, then package, then the pattern of its version.
type Versions = BTreeMap<String, BTreeMap<String, String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Common {
    keep: Vec<String>,
    user: u32,
    /// An image's own value of a name wins.
    env: BTreeMap<String, String>,
    files: Vec<File>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    description: String,
    suite: String,
    packages: Vec<String>,
    #[serde(default)]
    keep: Vec<String>,
    #[serde(default)]
    leave_out: Vec<String>,
    #[serde(default)]
    files: Vec<File>,
    #[serde(default)]
    binaries: Vec<Binary>,
    entrypoint: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    stop_signal: String,
    ports: Vec<u16>,
    #[serde(default)]
    aliases: Vec<String>,
}

fn complete(
    name: String,
    own: Own,
    common: &Common,
    versions: &Versions,
    directory: &Path,
) -> Result<Definition> {
    let Own {
        description,
        suite,
        packages,
        keep,
        leave_out,
        files,
        binaries,
        entrypoint,
        env,
        stop_signal,
        ports,
        aliases,
    } = own;
    let packages = packages
        .iter()
        .map(|package| pin(package, &suite, versions))
        .collect::<Result<_>>()?;
    let keep = common
        .keep
        .iter()
        .chain(&keep)
        .map(|text| pattern(text))
        .collect::<Result<_>>()?;
    let leave_out = leave_out
        .iter()
        .map(|text| pattern(text))
        .collect::<Result<_>>()?;
    let env = common.env.iter().chain(&env).collect::<BTreeMap<_, _>>();
    let files = common
        .files
        .iter()
        .chain(&files)
        .map(|file| File {
            from: directory.join(&file.from),
            ..file.clone()
        })
        .collect();
    Ok(Definition {
        name,
        description,
        suite,
        packages,
        keep,
        leave_out,
        files,
        binaries,
        user: common.user,
        entrypoint,
        env: env
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        stop_signal,
        ports,
        aliases,
    })
}

fn pin(package: &str, suite: &str, versions: &Versions) -> Result<String> {
    let Some(version) = versions
        .get(suite)
        .and_then(|packages| packages.get(package))
    else {
        bail!("package {package} of suite {suite} has no version in versions.toml");
    };
    Ok(format!("{package}={version}"))
}

fn pattern(text: &str) -> Result<Pattern> {
    Pattern::new(text).with_context(|| format!("failed to understand the pattern {text:?}"))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("failed to understand {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(packages: &str) -> Own {
        toml::from_str(&format!(
            "description = 'A mast'\nsuite = 'oak'\npackages = [{packages}]\nkeep = ['mast/*']\n\
             entrypoint = ['/mast']\nenv = {{ HOME = '/hold' }}\nstop_signal = 'SIGTERM'\n\
             ports = [1]"
        ))
        .unwrap()
    }

    fn versions() -> Versions {
        toml::from_str("[oak]\nsail = '2.*'").unwrap()
    }

    fn completed(packages: &str) -> Result<Definition> {
        let common = Common {
            keep: vec!["tmp".into()],
            user: 7,
            env: BTreeMap::from([("PATH".into(), "/bin".into())]),
            files: Vec::new(),
        };
        complete(
            "mast".into(),
            own(packages),
            &common,
            &versions(),
            Path::new("/images"),
        )
    }

    #[test]
    fn an_image_takes_versions_from_its_suite_and_the_rest_from_common() {
        let mast = completed("'sail'").unwrap();
        assert_eq!(mast.packages, ["sail=2.*"]);
        assert_eq!(
            mast.keep.iter().map(Pattern::as_str).collect::<Vec<_>>(),
            ["tmp", "mast/*"]
        );
        assert_eq!(mast.user, 7);
        assert_eq!(mast.env, ["HOME=/hold", "PATH=/bin"]);
    }

    #[test]
    fn a_package_without_a_version_is_refused_by_name() {
        let error = completed("'sail', 'rope'").unwrap_err();
        assert_eq!(
            error.to_string(),
            "package rope of suite oak has no version in versions.toml"
        );
    }

    #[test]
    fn the_images_of_this_repository_are_complete() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime-services/images");
        let images = read_all(&directory).unwrap();
        let names: Vec<_> = images.iter().map(|image| image.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "orlop-api",
                "orlop-edge",
                "orlop-fixture-mailer",
                "orlop-fixture-page",
                "orlop-fixture-revision",
                "orlop-fixture-shop-page",
                "orlop-operator",
                "orlop-postgres",
                "orlop-rabbitmq",
                "orlop-valkey",
                "orlop-worker",
            ]
        );
        for file in images.iter().flat_map(|image| &image.files) {
            assert!(file.from.is_file(), "{} is missing", file.from.display());
        }
    }
}

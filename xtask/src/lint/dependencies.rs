//! deny.toml, held against what cargo resolved: licences, banned crates, duplicates, sources.
//! cargo-deny reads the same file; it takes minutes to build, so it is asked only where it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::command;

const LIMIT: Duration = Duration::from_mins(2);
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(super) fn check(root: &Path) -> anyhow::Result<()> {
    let text =
        std::fs::read_to_string(root.join("deny.toml")).context("failed to read deny.toml")?;
    let policy: Policy = toml::from_str(&text).context("failed to read deny.toml")?;
    let complaints = complaints(&policy, &resolved(root)?);
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));

    let installed = Command::new(env!("CARGO"))
        .args(["deny", "--version"])
        .output();
    if installed.is_ok_and(|output| output.status.success()) {
        let mut deny = Command::new(env!("CARGO"));
        deny.args(["deny", "check", "bans", "licenses", "sources"]);
        command::run(deny.current_dir(root), LIMIT)?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Policy {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Named>,
    skip: Vec<Named>,
}

/// `name`, or `name@1.2` for all versions that begin so. Every entry has its reason.
#[derive(Deserialize)]
struct Named {
    #[serde(rename = "crate")]
    spec: String,
    reason: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

impl Named {
    fn covers(&self, package: &Package) -> bool {
        match self.spec.split_once('@') {
            None => self.spec == package.name,
            Some((name, version)) => {
                name == package.name
                    && format!("{}.", package.version).starts_with(&format!("{version}."))
            }
        }
    }
}

/// All packages that are built for this platform, also for tests.
fn resolved(root: &Path) -> anyhow::Result<Vec<Package>> {
    let mut metadata = Command::new(env!("CARGO"));
    metadata
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--all-features",
        ])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root);
    let text = command::output(&mut metadata, LIMIT)?;
    let metadata: Metadata =
        serde_json::from_str(&text).context("failed to read what `cargo metadata` printed")?;
    let built: BTreeSet<_> = metadata
        .resolve
        .nodes
        .into_iter()
        .map(|node| node.id)
        .collect();
    let packages = metadata.packages.into_iter();
    Ok(packages
        .filter(|package| built.contains(&package.id))
        .collect())
}

fn complaints(policy: &Policy, packages: &[Package]) -> Vec<String> {
    let mut complaints = Vec::new();
    for package in packages {
        let name = format!("{} {}", package.name, package.version);
        if let Some(ban) = policy.bans.deny.iter().find(|ban| ban.covers(package)) {
            complaints.push(format!("{name} is banned: {}", ban.reason));
        }
        if package
            .source
            .as_deref()
            .is_some_and(|source| source != REGISTRY)
        {
            complaints.push(format!("{name} does not come from crates.io"));
        }
        if !is_allowed(package.license.as_deref(), &policy.licenses.allow) {
            let license = package.license.as_deref().unwrap_or("none");
            complaints.push(format!(
                "{name} has a licence that is not allowed: {license}"
            ));
        }
    }
    complaints.extend(duplicates(&policy.bans.skip, packages));
    complaints
}

fn is_allowed(license: Option<&str>, allowed: &[String]) -> bool {
    let Some(license) = license else {
        return false;
    };
    // `MIT/Apache-2.0` is how old manifests say OR.
    spdx::Expression::parse_mode(license, spdx::ParseMode::LAX).is_ok_and(|expression| {
        expression.evaluate(|wanted| allowed.iter().any(|name| *name == wanted.to_string()))
    })
}

/// Names with more than one version that is not excused, and excuses that nobody needs.
fn duplicates(skip: &[Named], packages: &[Package]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(package);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let unexcused = versions.iter().filter_map(|(name, versions)| {
        let left: Vec<_> = versions
            .iter()
            .filter(|package| !skip.iter().any(|excuse| excuse.covers(package)))
            .map(|package| package.version.as_str())
            .collect();
        (left.len() > 1).then(|| {
            format!(
                "{name} is there in {} versions: {}",
                left.len(),
                left.join(", ")
            )
        })
    });
    let needless = skip
        .iter()
        .filter(|excuse| {
            !versions
                .values()
                .flatten()
                .any(|package| excuse.covers(package))
        })
        .map(|excuse| format!("deny.toml skips {}, which is no duplicate", excuse.spec));
    unexcused.chain(needless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, license: &str) -> Package {
        Package {
            id: format!("{name} {version}"),
            name: name.to_owned(),
            version: version.to_owned(),
            license: Some(license.to_owned()),
            source: Some(REGISTRY.to_owned()),
        }
    }

    fn policy() -> Policy {
        toml::from_str(
            r#"
            [licenses]
            allow = ["MIT", "Apache-2.0"]
            [bans]
            deny = [{crate = "bad", reason = "it is bad"}]
            skip = [{crate = "twice@1", reason = "old friend"}]
            "#,
        )
        .unwrap()
    }

    #[test]
    fn what_the_policy_allows_passes() {
        let packages = [
            package("fine", "0.1.0", "MIT/Apache-2.0"),
            package("choice", "0.1.0", "GPL-3.0-only OR (MIT AND Apache-2.0)"),
            package("twice", "1.9.0", "MIT"),
            package("twice", "2.0.0", "MIT"),
        ];
        assert_eq!(complaints(&policy(), &packages), Vec::<String>::new());
    }

    #[test]
    fn what_it_does_not_is_told_by_name() {
        let mut foreign = package("foreign", "0.1.0", "MIT");
        foreign.source = Some("git+https://example.com/foreign".to_owned());
        let packages = [
            package("bad", "0.1.0", "MIT"),
            package("copyleft", "0.1.0", "MIT AND GPL-3.0-only"),
            package("thrice", "1.0.0", "MIT"),
            package("thrice", "2.0.0", "MIT"),
            foreign,
        ];
        assert_eq!(
            complaints(&policy(), &packages),
            [
                "bad 0.1.0 is banned: it is bad",
                "copyleft 0.1.0 has a licence that is not allowed: MIT AND GPL-3.0-only",
                "foreign 0.1.0 does not come from crates.io",
                "thrice is there in 2 versions: 1.0.0, 2.0.0",
                "deny.toml skips twice@1, which is no duplicate",
            ]
        );
    }
}

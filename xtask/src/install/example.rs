//! An example: the manifests of one directory.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::registry;
use super::release::prepare_namespace;
use super::tools::Tools;
use crate::command;
use crate::images::{Image, LOCAL_REGISTRY};
use crate::progress::Progress;
use crate::target::Target;

/// Pods start within seconds, data services and who waits for them within a minute; five tell a slow
/// registry from a broken application.
const READY_LIMIT: Duration = Duration::from_mins(5);
const KUBECTL_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Example {
    manifests: String,
    applications: Vec<Application>,
}

/// An AppPlatform of the example.
#[derive(Debug, PartialEq, Eq)]
struct Application {
    name: String,
    namespace: String,
}

impl Example {
    /// Reads the YAML files of a directory, in the order of their names, or one file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let mut files = Vec::new();
        if path.is_dir() {
            let entries = std::fs::read_dir(path);
            for entry in entries.with_context(|| format!("failed to list {}", path.display()))? {
                files.push(
                    entry
                        .with_context(|| format!("failed to list {}", path.display()))?
                        .path(),
                );
            }
            files.retain(|file| {
                file.extension()
                    .is_some_and(|extension| extension == "yaml")
            });
            files.sort();
        } else {
            files.push(path.to_path_buf());
        }
        let mut texts = Vec::new();
        for file in &files {
            let text = std::fs::read_to_string(file);
            texts.push(text.with_context(|| format!("failed to read {}", file.display()))?);
        }
        Self::parse(texts.join("\n---\n"))
            .with_context(|| format!("{} is no example", path.display()))
    }

    fn parse(manifests: String) -> Result<Self> {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&manifests).context("failed to understand the YAML")?;
        let applications: Vec<_> = documents.iter().filter_map(Application::of).collect();
        ensure!(!applications.is_empty(), "found no AppPlatform");
        Ok(Self {
            manifests,
            applications,
        })
    }

    /// Applies the manifests, waits until every application is ready, and says how to reach them.
    pub(super) fn start(
        &self,
        tools: &Tools<'_>,
        target: &Target,
        images: &[Image],
        progress: Progress,
    ) -> Result<String> {
        if matches!(target, Target::Local { .. }) {
            for application in &self.applications {
                prepare_namespace(tools, &application.namespace)?;
            }
        }
        let manifests = with_images_of(&self.manifests, images, registry(target));
        let mut apply = tools.kubectl();
        apply.args([
            "apply",
            "--server-side",
            "--force-conflicts",
            // As `orlop apply` has it, so that it can go on from here.
            "--field-manager=orlop-cli",
            "--filename=-",
        ]);
        command::output_with_input(&mut apply, &manifests, KUBECTL_LIMIT)?;
        let mut addresses = Vec::new();
        for application in &self.applications {
            let name = format!("wait for {}", application.name);
            progress.step(&name, || application.wait(tools))?;
            addresses.push(application.how_to_reach(tools, target)?);
        }
        Ok(addresses.join("\n"))
    }
}

impl Application {
    fn of(document: &Value) -> Option<Self> {
        let metadata = document.get("metadata")?;
        let text = |key| metadata.get(key).and_then(Value::as_str);
        (document.get("kind")?.as_str()? == "AppPlatform").then_some(())?;
        Some(Self {
            name: text("name")?.to_owned(),
            namespace: text("namespace").unwrap_or("default").to_owned(),
        })
    }

    fn wait(&self, tools: &Tools<'_>) -> Result<()> {
        let seconds = READY_LIMIT.as_secs();
        let mut wait = tools.kubectl();
        wait.args([
            "--namespace",
            &self.namespace,
            "wait",
            "--for=condition=Ready",
        ]);
        wait.arg(format!("--timeout={seconds}s"))
            .arg(format!("appplatform/{}", self.name));
        let Err(error) = command::run(&mut wait, READY_LIMIT + KUBECTL_LIMIT) else {
            return Ok(());
        };
        let mut why = tools.kubectl();
        why.args([
            "--namespace",
            &self.namespace,
            "get",
            "orlop",
            "--output=wide",
        ]);
        let state =
            command::output(&mut why, KUBECTL_LIMIT).unwrap_or_else(|error| format!("{error:#}"));
        Err(error.context(format!("{} did not become ready:\n{state}", self.name)))
    }

    /// A line that a person can paste.
    fn how_to_reach(&self, tools: &Tools<'_>, target: &Target) -> Result<String> {
        let Self { name, namespace } = self;
        let service = format!("service/{name}-edge");
        if let Target::Context { name: context, .. } = target {
            return Ok(format!(
                "{name}: kubectl --context {context} -n {namespace} port-forward {service} 8080:80 \
                 & sleep 1; curl http://localhost:8080/"
            ));
        }
        let mut get = tools.kubectl();
        get.args([
            "--namespace",
            namespace,
            "get",
            &service,
            "--ignore-not-found",
        ]);
        get.arg("--output=jsonpath={.spec.clusterIP}:{.spec.ports[0].port}");
        let address = command::output(&mut get, KUBECTL_LIMIT)?;
        if address.is_empty() {
            return Ok(format!(
                "{name}: ready; it has no routes, so nothing is to be reached"
            ));
        }
        Ok(format!(
            "{name}: curl http://{}/",
            address.trim_end_matches(":80")
        ))
    }
}

/// The manifests with the names that our images have in the registry. Other images stay.
fn with_images_of(manifests: &str, images: &[Image], registry: &str) -> String {
    images
        .iter()
        .flat_map(|image| &image.aliases)
        .fold(manifests.to_owned(), |text, alias| {
            text.replace(
                &format!("{LOCAL_REGISTRY}/{alias}"),
                &format!("{registry}/{alias}"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: &str = "kind: AppPlatform\nmetadata: {name: brig}\nspec: {image: 'orlop.dev/sail:1'}\n\
                         ---\nkind: Secret\nmetadata: {name: map}\n\
                         ---\nkind: AppPlatform\nmetadata: {name: sloop, namespace: bay}\nspec: {image: 'acme/sail:1'}\n";

    #[test]
    fn every_application_is_found_with_its_namespace() {
        let example = Example::parse(FLEET.into()).unwrap();
        let found: Vec<_> = example
            .applications
            .iter()
            .map(|a| (a.name.as_str(), a.namespace.as_str()))
            .collect();
        assert_eq!(found, [("brig", "default"), ("sloop", "bay")]);
    }

    #[test]
    fn manifests_without_an_application_are_no_example() {
        let error = Example::parse("kind: Secret\nmetadata: {name: map}\n".into()).unwrap_err();
        assert_eq!(error.to_string(), "found no AppPlatform");
    }

    #[test]
    fn our_images_are_taken_from_the_targets_registry_and_others_stay() {
        let image = Image {
            name: "sail".into(),
            tag: "0".into(),
            aliases: vec!["sail:1".into()],
            archive: "sail.tar".into(),
            packages: Vec::new(),
        };
        let text = with_images_of(FLEET, &[image], "registry.example");
        assert!(text.contains("'registry.example/sail:1'"), "{text}");
        assert!(text.contains("'acme/sail:1'"), "{text}");
        assert!(!text.contains("orlop.dev/sail"), "{text}");
    }
}

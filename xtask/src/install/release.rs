//! The Helm release of the operator.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::NAMESPACE;
use super::tools::Tools;
use crate::command;
use crate::images::Image;
use crate::progress::Progress;

/// Name of the release, and the beginning of its objects' names.
const RELEASE: &str = "orlop";
const DEPLOYMENT: &str = "deployment/orlop-operator";

/// The chart's values under `images`; the image of each is called `orlop-` and the value's name.
const CHART_IMAGES: [&str; 7] = [
    "operator", "edge", "postgres", "rabbitmq", "valkey", "worker", "api",
];

/// Helm sends a dozen objects; an API server under load still answers by then.
const HELM_LIMIT: Duration = Duration::from_mins(3);
const KUBECTL_LIMIT: Duration = Duration::from_secs(30);
/// The operator starts within seconds; pulling its image from afar takes longer.
const READY_LIMIT: Duration = Duration::from_mins(3);

/// Installs or upgrades the chart with these images and waits until the operator is available.
pub(super) fn install(
    root: &Path,
    tools: &Tools<'_>,
    images: &[Image],
    registry: &str,
    progress: Progress,
) -> Result<()> {
    let chart = root.join("charts/orlop");
    let values = CHART_IMAGES
        .iter()
        .map(|name| {
            let reference = reference(images, &format!("orlop-{name}"), registry)?;
            Ok(format!("images.{name}={reference}"))
        })
        .collect::<Result<Vec<_>>>()?;
    progress.step("install the chart", || {
        prepare_namespace(tools, NAMESPACE)?;
        let mut helm = tools.helm();
        helm.args(["upgrade", "--install", RELEASE])
            .arg(&chart)
            .args(["--namespace", NAMESPACE, "--history-max", "3"]);
        for value in &values {
            helm.args(["--set-string", value]);
        }
        if tools.are_local() {
            forget_interrupted(tools)?;
            // Definitions outlive the release, and may have been applied by hand before it.
            helm.arg("--take-ownership");
        }
        command::run(&mut helm, HELM_LIMIT)
    })?;
    progress.step("wait for the operator", || wait(tools))
}

/// Creates the namespace, if need be, as one in which only restricted pods may run.
pub(super) fn prepare_namespace(tools: &Tools<'_>, name: &str) -> Result<()> {
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
        },
    });
    let mut kubectl = tools.kubectl();
    kubectl.args([
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=orlop-xtask",
        "--filename=-",
    ]);
    command::output_with_input(&mut kubectl, &namespace.to_string(), KUBECTL_LIMIT).map(drop)
}

/// Removes the record of a helm that was killed: it would refuse every later one as "in progress".
/// Nobody else installs into the local cluster, whereas elsewhere it may really be in progress.
fn forget_interrupted(tools: &Tools<'_>) -> Result<()> {
    let mut kubectl = tools.kubectl();
    kubectl.args(["--namespace", NAMESPACE, "delete", "secret", "--selector"]);
    kubectl.arg(format!(
        "owner=helm,name={RELEASE},status in (pending-install,pending-upgrade,pending-rollback)"
    ));
    command::run(&mut kubectl, KUBECTL_LIMIT)
}

fn wait(tools: &Tools<'_>) -> Result<()> {
    let mut kubectl = tools.kubectl();
    kubectl.args(["--namespace", NAMESPACE, "rollout", "status", DEPLOYMENT]);
    let verdict = command::run(&mut kubectl, READY_LIMIT);
    verdict.with_context(|| {
        format!(
            "the operator did not start; it says:\n{}",
            last_words(tools)
        )
    })
}

/// The end of the operator's log, for the one who reads the error.
fn last_words(tools: &Tools<'_>) -> String {
    let mut kubectl = tools.kubectl();
    kubectl.args([
        "--namespace",
        NAMESPACE,
        "logs",
        DEPLOYMENT,
        "--tail=20",
        "--all-pods",
    ]);
    command::output(&mut kubectl, KUBECTL_LIMIT).unwrap_or_else(|error| format!("{error:#}"))
}

fn reference(images: &[Image], name: &str, registry: &str) -> Result<String> {
    let image = images.iter().find(|image| image.name == name);
    let image = image.with_context(|| format!("no image is called {name}"))?;
    let reference = image.reference(registry);
    // Helm's `--set` would take a comma for the next value.
    ensure!(
        !reference.contains([',', '{']),
        "{reference} is no image reference"
    );
    Ok(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        Image {
            name: "orlop-mast".into(),
            tag: "0123456789ab".into(),
            aliases: Vec::new(),
            archive: "mast.tar".into(),
            packages: Vec::new(),
        }
    }

    #[test]
    fn the_chart_gets_the_image_from_the_targets_registry() {
        let reference = reference(&[image()], "orlop-mast", "registry.example:5000/team").unwrap();
        assert_eq!(
            reference,
            "registry.example:5000/team/orlop-mast:0123456789ab"
        );
    }

    #[test]
    fn an_image_that_was_not_built_is_named() {
        let error = reference(&[image()], "orlop-sail", "registry.example").unwrap_err();
        assert_eq!(error.to_string(), "no image is called orlop-sail");
    }
}

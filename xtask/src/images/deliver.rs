//! Bringing images to where the nodes of a cluster find them.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Image;
use crate::cluster::{self, Layout};
use crate::command;
use crate::progress::Progress;
use crate::target::Target;

/// Images are a few megabytes; a slow registry is still done by then.
const PUSH_LIMIT: Duration = Duration::from_mins(10);

/// Imports the images into every local node, or pushes them to the target's registry.
pub(crate) fn deliver(
    images: &[Image],
    layout: &Layout,
    target: &Target,
    progress: Progress,
) -> Result<()> {
    match target {
        Target::Local { .. } => {
            let archives: Vec<_> = images.iter().map(|image| image.archive.clone()).collect();
            cluster::images::import(layout, &archives, progress)
        }
        Target::Context { registry, .. } => progress
            .step(&format!("push the images to {registry}"), || {
                images.iter().try_for_each(|image| push(image, registry))
            }),
    }
}

/// Pushes every name of the image with skopeo, which reads the credentials that `docker login`
/// or `skopeo login` left.
fn push(image: &Image, registry: &str) -> Result<()> {
    for reference in image.references(registry) {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--quiet", "--retry-times", "3"]);
        if is_on_this_machine(registry) {
            // Such registries speak plain HTTP; container engines make the same exception.
            skopeo.arg("--dest-tls-verify=false");
        }
        skopeo
            .arg(format!(
                "docker-archive:{}:{}",
                image.archive.display(),
                image.reference(super::LOCAL_REGISTRY)
            ))
            .arg(format!("docker://{reference}"));
        command::run(&mut skopeo, PUSH_LIMIT).with_context(|| {
            format!(
                "failed to push {reference}; needs Debian's package skopeo and, for a registry \
                 that asks, `skopeo login {registry}`"
            )
        })?;
    }
    Ok(())
}

fn is_on_this_machine(registry: &str) -> bool {
    let host = registry.split(['/', ':']).next().unwrap_or(registry);
    matches!(host, "localhost" | "127.0.0.1")
}

#[cfg(test)]
mod tests {
    use super::is_on_this_machine;

    #[test]
    fn only_a_registry_on_this_machine_may_do_without_tls() {
        for (registry, local) in [
            ("localhost:5000", true),
            ("127.0.0.1:5000/team", true),
            ("localhost.example", false),
            ("registry.example:5000/localhost", false),
        ] {
            assert_eq!(is_on_this_machine(registry), local, "{registry}");
        }
    }
}

//! Orlop and an example on a cluster: images, chart, application.

#[cfg(test)]
mod chart_check;
mod example;
mod release;
mod tools;

use std::path::Path;

use anyhow::Result;

use crate::cluster::Layout;
use crate::images::{self, Image, LOCAL_REGISTRY};
use crate::progress::Progress;
use crate::target::Target;
use example::Example;
use tools::Tools;

/// The namespace of the operator.
pub(crate) const NAMESPACE: &str = "orlop-system";

/// Installs Orlop and the example, waits until both are ready and returns how to reach the
/// example. Changes nothing where all is as it should be.
///
/// # Errors
/// A step that failed, or did not end within its limit, with what is known of why.
pub(crate) fn install(
    layout: &Layout,
    target: &Target,
    example: &Path,
    progress: Progress,
) -> Result<String> {
    // Read first: a mistyped path should not cost a build.
    let example = Example::read(example)?;
    let images = operator(layout, target, progress)?;
    example.start(
        &Tools::of(layout, target, progress)?,
        target,
        &images,
        progress,
    )
}

/// Builds and delivers the images and installs the chart with them.
pub(crate) fn operator(layout: &Layout, target: &Target, progress: Progress) -> Result<Vec<Image>> {
    let images = images::build(layout.source(), progress)?;
    images::deliver(&images, layout, target, progress)?;
    release::install(
        layout.source(),
        &Tools::of(layout, target, progress)?,
        &images,
        registry(target),
        progress,
    )?;
    Ok(images)
}

/// Where the target's nodes find the images.
fn registry(target: &Target) -> &str {
    match target {
        Target::Local { .. } => LOCAL_REGISTRY,
        Target::Context { registry, .. } => registry,
    }
}

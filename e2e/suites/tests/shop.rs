//! The whole shop: examples/shop comes up, and the walk of its README is as it says there.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kube::ResourceExt as _;
use orlop_suites::{documents, figure, in_namespace, ready};

/// Fourteen pods, of which some wait for others.
const READY_WITHIN: Duration = Duration::from_mins(4);
/// The workers stay for a minute after their last job; the rest takes seconds.
const WALK_WITHIN: Duration = Duration::from_mins(6);

#[tokio::test]
async fn the_shop_comes_up_and_its_walk_is_as_its_readme_says() -> Result<()> {
    in_namespace("shop", async |namespace| {
        let application = documents("examples/shop/app.yaml")?
            .pop()
            .context("the example is empty")?;
        let started = Instant::now();
        let applied = namespace.apply(&application).await?;
        ready(namespace, &applied.name_any(), READY_WITHIN).await?;
        figure("shop_ready", started.elapsed().as_secs(), "s");
        let told = namespace
            .cluster
            .script("examples/shop/walk.sh", namespace.name(), WALK_WITHIN)
            .await?;
        println!("{told}");
        figure("shop_ready_and_walked", started.elapsed().as_secs(), "s");
        Ok(())
    })
    .await
}

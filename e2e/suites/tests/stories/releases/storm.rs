//! Sizes that change every second, while one revision after the other takes over.

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::api::{Patch, PatchParams};
use orlop_crds::AppService;
use orlop_suites::{Barge, eventually, in_namespace};
use serde_json::json;

use super::told;

const SETTLED_WITHIN: Duration = Duration::from_mins(2);
const CHANGES: u32 = 60;
/// In turn; never none, so that there is always somebody to answer.
const SIZES: [i32; 5] = [2, 4, 1, 3, 2];
/// The revisions, each declared after so many changes.
const DECLARED: [(u32, &str); 3] = [(2, "second"), (22, "third"), (42, "fourth")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_completes_while_the_size_changes_every_second() -> Result<()> {
    in_namespace("storm", async |namespace| {
        let quick = json!({"drain": "3s", "keepOld": "0s"});
        let barge = Barge::launch(namespace, &quick).await?;
        let load = barge.load().await?;

        let services = namespace.api::<AppService>();
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        for (change, size) in (0..CHANGES).zip(SIZES.into_iter().cycle()) {
            seconds.tick().await;
            let declared = DECLARED.iter().find(|(after, _)| *after == change);
            if let Some((_, revision)) = declared {
                barge.declare(revision, &[], &quick).await?;
            }
            let size = Patch::Merge(json!({"spec": {"replicas": size}}));
            services
                .patch_scale(Barge::NAME, &PatchParams::default(), &size)
                .await?;
        }
        let last = barge.released("fourth").await?;
        let size = SIZES[SIZES.len() - 1];
        eventually(SETTLED_WITHIN, "the last size stands", async || {
            let replicas = barge.replicas(&last).await?;
            ensure!(replicas == (size, size), "existing, ready: {replicas:?}");
            Ok(())
        })
        .await?;

        let load = load.stop().await?;
        told("storm", &load);
        load.ensure_nothing_lost()
    })
    .await
}

//! A revision that dies when requests have reached it.

use std::time::Duration;

use anyhow::{Result, ensure};
use orlop_crds::release::HoldReason;
use orlop_suites::{Barge, figure, in_namespace};
use serde_json::json;

use super::told;

/// Each death is followed by a longer pause of the kubelet: 10 s, 20 s, 40 s.
const HELD_WITHIN: Duration = Duration::from_mins(6);
/// What is promised is 2 s; a busy machine is forgiven some.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Long enough to become ready and be switched to first.
const DIES_AFTER_SECS: &str = "12";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_that_dies_after_the_switch_gives_the_requests_back() -> Result<()> {
    in_namespace("death", async |namespace| {
        let patient = json!({"drain": "20s", "keepOld": "10m"});
        let barge = Barge::launch(namespace, &patient).await?;
        let blue = barge.active().await?;
        let load = barge.load().await?;

        let doomed = [("DIE_AFTER_SECS", DIES_AFTER_SECS)];
        barge.declare("second", &doomed, &patient).await?;
        let hold = barge.held_within(HELD_WITHIN, HoldReason::Died).await?;
        ensure!(hold.instead == blue, "{hold:?}");
        barge.answers_at(Barge::NAME, "first").await?;
        ensure!(barge.active().await? == blue, "it came again by itself");

        let load = load.stop().await?;
        told("death", &load);
        let died = load.first_answer("second", Duration::ZERO..Duration::MAX);
        ensure!(died.is_some(), "it died before it was switched to");
        let silence = load.longest_silence();
        figure("release.death.silence", silence.as_millis(), "ms at most");
        ensure!(
            silence < SILENCE_MAX,
            "nothing was answered for {silence:?}"
        );
        Ok(())
    })
    .await
}

//! Revisions that are found out: by their deadline, before the switch, and after it.

use std::time::Duration;

use anyhow::{Result, ensure};
use orlop_crds::release::{HoldReason, ReleasePhase};
use orlop_suites::{Barge, figure, in_namespace, observe_for};
use serde_json::json;

use super::told;

const ALWAYS: std::ops::Range<Duration> = Duration::ZERO..Duration::MAX;
/// Three answers that fail, a second apart, while the machine is busy.
const SICK_FOR_MAX: Duration = Duration::from_secs(20);
/// The stop of what was held back, with the time in which endpoints are known.
const ENDED: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revision_that_is_late_is_held_back_until_another_is_declared() -> Result<()> {
    in_namespace("deadline", async |namespace| {
        let quick = json!({"drain": "3s", "keepOld": "0s"});
        let barge = Barge::launch(namespace, &quick).await?;
        let blue = barge.active().await?;
        let load = barge.load().await?;

        let never = [("NEVER_READY", "true")];
        let strict = json!({"drain": "3s", "keepOld": "0s", "deadline": "5s"});
        barge.declare("second", &never, &strict).await?;
        let hold = barge.held(HoldReason::DeadlineExceeded).await?;
        ensure!(hold.instead == blue, "{hold:?}");
        observe_for(ENDED, "the end of what was held back").await;
        barge.answers_at(Barge::NAME, "first").await?;
        let still = barge.held(HoldReason::DeadlineExceeded).await?;
        ensure!(still == hold, "{still:?} instead of {hold:?}");

        barge.declare("third", &[], &quick).await?;
        barge.released("third").await?;
        let load = load.stop().await?;
        told("deadline", &load);
        ensure!(load.first_answer("second", ALWAYS).is_none(), "it answered");
        load.ensure_nothing_lost()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_through_the_preview_keeps_a_bad_revision_from_requests() -> Result<()> {
    in_namespace("before", async |namespace| {
        let home = json!({"name": "home", "http": {"path": "/"}, "failures": 5});
        let asked = json!({"drain": "3s", "keepOld": "0s", "preview": {"replicas": 1},
            "checks": [home]});
        let barge = Barge::launch(namespace, &asked).await?;
        let blue = barge.active().await?;
        let load = barge.load().await?;

        let broken = [("ANSWER_STATUS", "500")];
        barge.declare("second", &broken, &asked).await?;
        let checked = barge.in_phase(ReleasePhase::Checking).await?;
        let (existing, _) = barge.replicas(&checked.to).await?;
        ensure!(existing == 1, "the preview has {existing} replicas");
        let hold = barge.held(HoldReason::CheckFailed).await?;
        ensure!(
            hold.revision == checked.to && hold.instead == blue,
            "{hold:?}"
        );
        ensure!(hold.message.contains("home"), "not said which: {hold:?}");

        barge.declare("third", &[], &asked).await?;
        let third = barge.released("third").await?;
        let replicas = barge.replicas(&third).await?;
        let all = (Barge::REPLICAS, Barge::REPLICAS);
        ensure!(replicas == all, "served by existing, ready: {replicas:?}");
        let load = load.stop().await?;
        told("check-before", &load);
        ensure!(load.first_answer("second", ALWAYS).is_none(), "it answered");
        load.ensure_nothing_lost()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_after_the_switch_brings_the_previous_revision_back() -> Result<()> {
    in_namespace("after", async |namespace| {
        let home = json!({"name": "home", "when": "AfterSwitch", "http": {"path": "/"},
            "count": 40, "failures": 3});
        let asked = json!({"drain": "60s", "keepOld": "10m", "preview": {"replicas": 1},
            "checks": [home]});
        let barge = Barge::launch(namespace, &asked).await?;
        let blue = barge.active().await?;
        let load = barge.load().await?;

        let sick = [("SICK_AFTER_SECS", "25")];
        barge.declare("second", &sick, &asked).await?;
        let hold = barge.held(HoldReason::CheckFailed).await?;
        ensure!(hold.instead == blue, "{hold:?}");
        barge.answers_at(Barge::NAME, "first").await?;

        let load = load.stop().await?;
        told("check-after", &load);
        let served = load.first_answer("second", ALWAYS);
        ensure!(served.is_some(), "it was sick before it was switched to");
        let sick: Vec<_> = load.lost().collect();
        let others = sick.iter().filter(|outcome| outcome.result != Ok(500));
        ensure!(others.count() == 0, "more than sick answers: {load}");
        let [from, to] = [sick.first(), sick.last()].map(|it| it.map(|it| it.at));
        let sick_for = to
            .unwrap_or_default()
            .saturating_sub(from.unwrap_or_default());
        figure("release.check-after.sick-for", sick_for.as_millis(), "ms");
        ensure!(sick_for < SICK_FOR_MAX, "sick answers for {sick_for:?}");
        Ok(())
    })
    .await
}

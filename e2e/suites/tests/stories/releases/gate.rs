//! A gate that only a promotion opens, and the warm way back.

use std::{ops::Range, time::Duration};

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{ListParams, Patch, PatchParams};
use orlop_crds::release::{CommandOutcome, HoldReason, ReleasePhase, ReleaseStatus, Verb};
use orlop_suites::{Barge, Operator, Report, eventually, figure, in_namespace, observe_for};
use serde_json::{Value, json};

use super::told;

/// What is asked is a second; a busy machine is forgiven some.
const REPAIRED_WITHIN: Duration = Duration::from_secs(5);
/// The whole log is read, which says when it was.
const RECORDED_WITHIN: Duration = Duration::from_mins(1);
const WARM_WITHIN: Duration = Duration::from_mins(2);
/// The drain of what was undone, a graceful stop, and the time in which endpoints are known.
const UNDONE: Duration = Duration::from_secs(15);
/// Times of the API are whole seconds, cut off in one place and rounded up in another. What was
/// there before is older by a whole drain.
const ROUNDED: SignedDuration = SignedDuration::from_secs(2);
const PREVIEW: &str = "barge-preview";
const REVISION: &str = "orlop.dev/revision";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_opens_for_a_promotion_alone_and_the_way_back_is_warm() -> Result<()> {
    in_namespace("gate", async |namespace| {
        let manual = json!({"promote": {"mode": "Manual"}, "drain": "5s", "keepOld": "10m"});
        let barge = Barge::launch(namespace, &manual).await?;
        let blue = barge.active().await?;
        let load = barge.load().await?;

        barge.declare("second", &[], &manual).await?;
        let green = barge.in_phase(ReleasePhase::Gated).await?.to;
        barge.answers_at(PREVIEW, "second").await?;
        barge.answers_at(Barge::NAME, "first").await?;
        a_selector_that_is_edited_is_repaired(&barge, &blue, &green).await?;
        a_late_command_does_nothing(&barge).await?;
        stays_gated(&barge, &green).await?;

        let promoted = load.elapsed();
        barge.order(Verb::Promote, &green).await?;
        let kept = barge.in_phase(ReleasePhase::Keeping).await?;
        barge.answers_at(Barge::NAME, "second").await?;
        is_warm(&barge, &kept).await?;

        let undone = load.elapsed();
        barge.order(Verb::Undo, &blue).await?;
        let hold = barge.held(HoldReason::Undone).await?;
        ensure!(
            hold.revision == green && hold.instead == blue,
            "held is another: {hold:?}"
        );
        barge.answers_at(Barge::NAME, "first").await?;
        observe_for(UNDONE, "the drain of what was undone").await;
        ensure!(barge.active().await? == blue, "it came again by itself");

        let load = load.stop().await?;
        told("gate", &load);
        switched("promoted", &load, promoted..undone, ["first", "second"])?;
        switched("undone", &load, undone..Duration::MAX, ["second", "first"])?;
        load.ensure_nothing_lost()
    })
    .await
}

/// Times of a switch from one revision to another, as clients saw it.
fn switched(how: &str, load: &Report, asked: Range<Duration>, [from, to]: [&str; 2]) -> Result<()> {
    let first = load.first_answer(to, asked.clone());
    let first = first.with_context(|| format!("{to} never answered"))?;
    let name = |measured: &str| format!("release.gate.{how}-to-{measured}");
    figure(&name("first-answer-of-new"), first.as_millis(), "ms");
    for (kept, connections) in [(false, "new"), (true, "kept")] {
        let last = load.last_answer(from, asked.clone(), kept);
        let last = last.unwrap_or_default().as_millis();
        let name = name(&format!(
            "last-answer-of-old-over-{connections}-connections"
        ));
        figure(&name, last, "ms");
    }
    Ok(())
}

/// What a person, or another tool, does to the Service while the gate is closed.
async fn a_selector_that_is_edited_is_repaired(
    barge: &Barge,
    blue: &str,
    green: &str,
) -> Result<()> {
    let operator = Operator::of(&barge.namespace.cluster).user().await?;
    let services = barge.namespace.api::<Service>();
    let mut longest = SignedDuration::ZERO;
    for (how, edit) in [
        ("leads to the new revision", json!({REVISION: green})),
        ("leads to every revision", json!({REVISION: null})),
        ("is stripped", Value::Null),
    ] {
        let began = Timestamp::now();
        let edit = Patch::Merge(json!({"spec": {"selector": edit}}));
        services
            .patch(Barge::NAME, &PatchParams::default(), &edit)
            .await?;
        let what = format!("a selector that {how} is repaired");
        eventually(REPAIRED_WITHIN, what, async || {
            let spec = services.get(Barge::NAME).await?.spec.unwrap_or_default();
            let selector = spec.selector.unwrap_or_default();
            let leads_to = selector.get(REVISION).map(String::as_str);
            ensure!(leads_to == Some(blue), "it is {selector:?}");
            Ok(())
        })
        .await?;
        let audit = barge.namespace.cluster.audit_log();
        let repaired = eventually(RECORDED_WITHIN, "the repair is recorded", async || {
            let writes = audit.writes_by(&operator, began).await?;
            let repair = writes.into_iter().find(|write| {
                write.resource == "services"
                    && write.namespace == barge.namespace.name()
                    && write.name == Barge::NAME
            });
            Ok(repair.context("the operator did not write it")?.at)
        })
        .await?;
        longest = longest.max(repaired.duration_since(began));
    }
    figure(
        "release.gate.edited-to-repaired",
        longest.as_millis(),
        "ms at most",
    );
    Ok(())
}

async fn a_late_command_does_nothing(barge: &Barge) -> Result<()> {
    for verb in [Verb::Promote, Verb::Undo, Verb::Abort] {
        let answer = barge.command(verb, "0123456789").await?;
        ensure!(
            answer.outcome == CommandOutcome::Refused,
            "a late command was followed: {answer:?}"
        );
    }
    Ok(())
}

async fn stays_gated(barge: &Barge, green: &str) -> Result<()> {
    let release = barge.in_phase(ReleasePhase::Gated).await?;
    ensure!(
        release.to == green && release.promoted.is_none(),
        "the gate is open: {release:?}"
    );
    barge.answers_at(Barge::NAME, "first").await?;
    barge.answers_at(PREVIEW, "second").await
}

/// What was served before is there in full, in pods that were never connected to.
async fn is_warm(barge: &Barge, kept: &ReleaseStatus) -> Result<()> {
    let revision = &kept.from;
    let of_revision = ListParams::default().labels(&format!("{REVISION}={revision}"));
    let pods = barge.namespace.api::<Pod>();
    let what = format!("{revision} is kept warm");
    eventually(WARM_WITHIN, what, async || {
        let pods = pods.list(&of_revision).await?.items;
        let old = pods.iter().filter(|pod| {
            let created = pod.metadata.creation_timestamp.as_ref();
            created.is_none_or(|created| created.0 + ROUNDED < kept.since.0)
        });
        ensure!(old.count() == 0, "not all pods are fresh");
        let replicas = barge.replicas(revision).await?;
        let all = (Barge::REPLICAS, Barge::REPLICAS);
        ensure!(replicas == all, "existing and ready: {replicas:?}");
        Ok(())
    })
    .await
}

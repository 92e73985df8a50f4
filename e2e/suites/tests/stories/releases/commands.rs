//! What people command of a release that is under way.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::api::{DeleteParams, ListParams, PostParams};
use orlop_crds::release::{CommandOutcome, HoldReason, ReleasePhase, Verb};
use orlop_suites::{Barge, eventually, in_namespace, observe_for};
use serde_json::{Value, json};

use super::told;

/// Longer than it would wait to be promoted by itself.
const PAUSED: Duration = Duration::from_secs(25);
const GONE_WITHIN: Duration = Duration::from_mins(2);
const NO_ROOM: &str = "no-room";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_is_paused_takes_no_step_until_it_is_resumed() -> Result<()> {
    in_namespace("pause", async |namespace| {
        let timed = json!({"promote": {"after": "20s"}, "drain": "3s", "keepOld": "0s"});
        let barge = Barge::launch(namespace, &timed).await?;
        let load = barge.load().await?;

        barge.declare("second", &[], &timed).await?;
        let green = barge.in_phase(ReleasePhase::Gated).await?.to;
        barge.order(Verb::Pause, &green).await?;
        observe_for(PAUSED, "a release that is paused").await;
        let release = barge.in_phase(ReleasePhase::Gated).await?;
        ensure!(release.paused_since.is_some(), "not paused: {release:?}");
        barge.answers_at(Barge::NAME, "first").await?;

        barge.order(Verb::Resume, &green).await?;
        ensure!(
            barge.released("second").await? == green,
            "another is served"
        );
        let load = load.stop().await?;
        told("pause", &load);
        load.ensure_nothing_lost()
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_revision_takes_the_place_of_one_that_waits() -> Result<()> {
    in_namespace("supersede", async |namespace| {
        let manual = json!({"promote": {"mode": "Manual"}, "drain": "3s", "keepOld": "0s"});
        let barge = Barge::launch(namespace, &manual).await?;
        let load = barge.load().await?;

        barge.declare("second", &[], &manual).await?;
        let second = barge.in_phase(ReleasePhase::Gated).await?.to;
        barge.declare("third", &[], &manual).await?;
        let third = barge
            .under_way("the third revision waits".into(), |release| {
                release.phase == ReleasePhase::Gated && release.to != second
            })
            .await?
            .to;
        eventually(GONE_WITHIN, "the second one is gone", async || {
            let (existing, _) = barge.replicas(&second).await?;
            ensure!(existing == 0, "{existing} replicas are left");
            Ok(())
        })
        .await?;
        barge.answers_at("barge-preview", "third").await?;
        let late = barge.command(Verb::Promote, &second).await?;
        ensure!(late.outcome == CommandOutcome::Refused, "{late:?}");
        barge.answers_at(Barge::NAME, "first").await?;

        barge.order(Verb::Promote, &third).await?;
        ensure!(barge.released("third").await? == third, "another is served");
        let load = load.stop().await?;
        told("supersede", &load);
        load.ensure_nothing_lost()
    })
    .await
}

/// A release that stays in a phase for as long as it takes to abort it.
struct Stay {
    phase: ReleasePhase,
    revision: &'static str,
    variables: &'static [(&'static str, &'static str)],
    release: Value,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_aborted_in_every_phase_that_lasts() -> Result<()> {
    in_namespace("abort", async |namespace| {
        let quick = json!({"drain": "3s", "keepOld": "0s"});
        let barge = Barge::launch(namespace, &quick).await?;
        let blue = barge.active().await?;
        let load = barge.load().await?;
        for stay in stays() {
            barge
                .declare(stay.revision, stay.variables, &stay.release)
                .await?;
            if stay.phase == ReleasePhase::Scaling {
                let green = barge.in_phase(ReleasePhase::Gated).await?.to;
                leave_no_room(&barge).await?;
                barge.order(Verb::Promote, &green).await?;
            }
            let green = barge.in_phase(stay.phase).await?.to;
            barge.order(Verb::Abort, &green).await?;
            let hold = barge.held(HoldReason::Aborted).await?;
            ensure!(hold.revision == green && hold.instead == blue, "{hold:?}");
            barge.answers_at(Barge::NAME, "first").await?;
            if stay.phase == ReleasePhase::Scaling {
                make_room(&barge).await?;
            }
        }
        barge.declare("last", &[], &quick).await?;
        barge.released("last").await?;
        let load = load.stop().await?;
        told("abort", &load);
        load.ensure_nothing_lost()
    })
    .await
}

fn stays() -> [Stay; 6] {
    let check = json!({"name": "home", "http": {"path": "/"}, "failures": 1000});
    let manual = json!({"mode": "Manual"});
    let stay = |phase, revision, variables, release| Stay {
        phase,
        revision,
        variables,
        release,
    };
    [
        stay(
            ReleasePhase::Starting,
            "never-ready",
            &[("NEVER_READY", "true")],
            json!({"drain": "3s"}),
        ),
        stay(
            ReleasePhase::Checking,
            "failing",
            &[("ANSWER_STATUS", "500")],
            json!({"checks": [check]}),
        ),
        stay(
            ReleasePhase::Gated,
            "gated",
            &[],
            json!({"promote": manual}),
        ),
        stay(
            ReleasePhase::Scaling,
            "too-large",
            &[],
            json!({"promote": manual, "preview": {"replicas": 1}}),
        ),
        stay(
            ReleasePhase::Draining,
            "drained",
            &[],
            json!({"drain": "10m"}),
        ),
        stay(
            ReleasePhase::Keeping,
            "kept",
            &[],
            json!({"drain": "3s", "keepOld": "10m"}),
        ),
    ]
}

/// Lets the namespace have no pod more than it has.
async fn leave_no_room(barge: &Barge) -> Result<()> {
    let pods = barge.namespace.api::<Pod>();
    let pods = pods.list(&ListParams::default()).await?.items.len();
    let quota =
        json!({"metadata": {"name": NO_ROOM}, "spec": {"hard": {"pods": pods.to_string()}}});
    let quotas = barge.namespace.api::<ResourceQuota>();
    quotas
        .create(&PostParams::default(), &serde_json::from_value(quota)?)
        .await?;
    eventually(GONE_WITHIN, "the quota is counted", async || {
        let quota = quotas.get(NO_ROOM).await?;
        let used = quota.status.and_then(|status| status.used);
        ensure!(used.is_some(), "not yet");
        Ok(())
    })
    .await
}

async fn make_room(barge: &Barge) -> Result<()> {
    let quotas = barge.namespace.api::<ResourceQuota>();
    quotas.delete(NO_ROOM, &DeleteParams::default()).await?;
    Ok(())
}

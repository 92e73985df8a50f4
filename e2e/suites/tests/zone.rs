//! A zone is cut off for a minute: the service answers from the others.
//!
//! Alone in its binary, because it disturbs whatever else runs.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, ResourceExt as _, api::ListParams};
use orlop_suites::{
    Load, OPERATOR_NAMESPACE, Operator, Outcome, Report, TestNamespace, ZoneFault, edge_address,
    eventually, figure, fixture, in_namespace, observe_for, ready,
};

const READY_WITHIN: Duration = Duration::from_secs(150);
const CUT_FOR: Duration = Duration::from_mins(1);
/// Load goes on for so long after the zone has come back.
const AFTER_HEAL: Duration = Duration::from_secs(20);
/// The cluster takes a node for lost 16 s after its last sign of life (its grace period), looks
/// every 5 s, and the rules of the other nodes and requests under way (5 s) follow.
const DETECTED_WITHIN: Duration = Duration::from_secs(16 + 5 + 5);
const REQUESTS_PER_SECOND: u32 = 50;
const ZONE: &str = "topology.kubernetes.io/zone";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zone_cut_off_for_a_minute_costs_requests_only_until_it_is_detected() -> Result<()> {
    in_namespace("zone", async |namespace| {
        namespace.apply(&fixture("lantern")?).await?;
        ready(namespace, "lantern", READY_WITHIN).await?;
        let zones = zones(namespace).await?;
        ensure!(
            zones.values().filter(|zone| **zone == 3).count() > 0,
            "nothing runs in zone 3"
        );
        let edge = edge_address(namespace, "lantern").await?;
        // One whose loss takes a pod of the edge and of the service, and not what replaces them.
        let lost = 3;

        let load = Load::begin(edge, "/", REQUESTS_PER_SECOND);
        observe_for(Duration::from_secs(5), "load before the cut").await;
        let cut_at = load.elapsed();
        namespace.cluster.zone(ZoneFault::Cut, lost).await?;
        observe_for(CUT_FOR, "a zone is cut off").await;
        let heal_at = load.elapsed();
        let healed = namespace.cluster.zone(ZoneFault::Heal, lost).await;
        healed?;
        observe_for(AFTER_HEAL, "the zone is back").await;
        let report = load.stop().await?;
        println!("cut at {cut_at:.1?}, healed at {heal_at:.1?}; load: {report}");

        told(&report, cut_at);
        answered_from_elsewhere(&report, &zones, lost, cut_at, heal_at)?;
        let late: Vec<_> = report
            .lost()
            .filter(|lost| lost.at < cut_at || lost.at > cut_at + DETECTED_WITHIN)
            .collect();
        ensure!(
            late.is_empty(),
            "lost outside the time of detection: {late:#?}"
        );
        all_is_well(namespace).await
    })
    .await
}

fn told(report: &Report, cut_at: Duration) {
    let until = report.lost().map(|lost| lost.at).max().unwrap_or(cut_at);
    let span = until.saturating_sub(cut_at).as_secs_f64();
    figure("zone.requests", report.outcomes.len(), "requests");
    figure("zone.requests-lost", report.lost().count(), "requests");
    figure("zone.losses-last-for", format!("{span:.1}"), "s");
}

/// Every second of the cut had answers, after detection from all zones but the lost one.
fn answered_from_elsewhere(
    report: &Report,
    zones: &BTreeMap<String, u8>,
    lost: u8,
    cut_at: Duration,
    heal_at: Duration,
) -> Result<()> {
    let mut second = cut_at;
    while second + Duration::from_secs(1) <= heal_at {
        let end = second + Duration::from_secs(1);
        let within = |at: Duration| at >= second && at < end;
        let answered: Vec<_> = report
            .outcomes
            .iter()
            .filter(|outcome| outcome.is_ok() && within(outcome.at))
            .collect();
        ensure!(
            !answered.is_empty(),
            "no answer in the second from {second:.1?}"
        );
        // An answer that came after the cut's end may come from anywhere.
        let of_cut = |outcome: &&&Outcome| outcome.at + outcome.took < heal_at;
        for outcome in answered.iter().filter(of_cut) {
            let zone = zones.get(&outcome.pod).copied();
            let detected = second > cut_at + DETECTED_WITHIN;
            ensure!(
                !detected || zone.is_some_and(|zone| zone != lost),
                "{} of zone {zone:?} answered at {:.1?}",
                outcome.pod,
                outcome.at
            );
        }
        second = end;
    }
    Ok(())
}

/// The application, the nodes and the operator.
async fn all_is_well(namespace: &TestNamespace) -> Result<()> {
    ready(namespace, "lantern", READY_WITHIN).await?;
    let nodes = Api::<Node>::all(namespace.client());
    eventually(READY_WITHIN, "all nodes are Ready", async || {
        for node in nodes.list(&ListParams::default()).await? {
            let name = node.name_any();
            let conditions = node
                .status
                .and_then(|status| status.conditions)
                .unwrap_or_default();
            let ready = conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True");
            ensure!(ready, "{name} is not");
        }
        Ok(())
    })
    .await?;
    Operator::of(&namespace.cluster)
        .leads()
        .await
        .with_context(|| format!("the operator in {OPERATOR_NAMESPACE} did not come back"))
}

/// Number of the zone of each pod.
async fn zones(namespace: &TestNamespace) -> Result<BTreeMap<String, u8>> {
    let nodes = Api::<Node>::all(namespace.client());
    let mut zones = BTreeMap::new();
    for pod in namespace.api::<Pod>().list(&ListParams::default()).await? {
        let name = pod.name_any();
        let node = pod.spec.and_then(|spec| spec.node_name);
        let node = nodes
            .get(&node.with_context(|| format!("{name} has no node"))?)
            .await?;
        let zone = node.labels().get(ZONE).context("the node is in no zone")?;
        let number = zone.trim_start_matches("zone-").parse()?;
        zones.insert(name, number);
    }
    Ok(zones)
}

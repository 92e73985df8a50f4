//! The first five minutes: examples/hello.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, ResourceExt as _, api::ListParams};
use orlop_suites::{
    Cluster, TestNamespace, documents, edge_address, eventually, figure, get, in_namespace, made,
    normalised, ready,
};
use tokio::time::Instant;

const READY_WITHIN: Duration = Duration::from_mins(3);
/// A node may learn of an address later than the status.
const ANSWERS_WITHIN: Duration = Duration::from_mins(1);
const ZONE: &str = "topology.kubernetes.io/zone";

#[tokio::test]
async fn what_up_installed_answers_through_its_edge() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let namespace = TestNamespace::existing(cluster, "default");
    ready(&namespace, "hello", READY_WITHIN).await?;
    let answer = get(edge_address(&namespace, "hello").await?, "/").await?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
    ensure!(
        answer.body.contains("<h1>hello</h1>"),
        "not the page: {}",
        answer.body
    );
    Ok(())
}

#[tokio::test]
async fn the_first_example_answers_through_its_edge_from_three_zones() -> Result<()> {
    in_namespace("hello", async |namespace| {
        let application = documents("examples/hello/app.yaml")?
            .pop()
            .context("the example is empty")?;
        let applied = namespace.apply(&application).await?;
        let name = applied.name_any();
        let platform = ready(namespace, &name, READY_WITHIN).await?;

        let edge = edge_address(namespace, &name).await?;
        let began = Instant::now();
        let answer = eventually(ANSWERS_WITHIN, "the edge answers", async || {
            let answer = get(edge, "/").await?;
            ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
            Ok(answer)
        })
        .await?;
        figure("hello.ready-to-answer", began.elapsed().as_millis(), "ms");
        ensure!(
            answer.body.contains("<h1>"),
            "not the page: {}",
            answer.body
        );
        ensure!(
            !answer.header("x-pod").is_empty(),
            "no pod signed the answer"
        );

        for component in platform.status.unwrap_or_default().components {
            let zones = zones(namespace, &component.name).await?;
            let replicas = component.replicas.unwrap_or_default();
            let wanted = replicas
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .parse::<usize>()?;
            let expected = wanted.min(3);
            ensure!(
                zones.len() == expected,
                "{} replicas of {} run in {zones:?}",
                wanted,
                component.name
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_second_apply_of_the_same_file_changes_nothing() -> Result<()> {
    in_namespace("again", async |namespace| {
        let application = documents("examples/hello/app.yaml")?
            .pop()
            .context("the example is empty")?;
        let name = namespace.apply(&application).await?.name_any();
        let before = ready(namespace, &name, READY_WITHIN).await?;
        let objects = state(namespace).await?;

        let again = namespace.apply(&application).await?;
        ensure!(
            again.metadata.resource_version == before.metadata.resource_version,
            "the application itself was written"
        );
        // A touch makes the operator look again; once it has, nothing may differ.
        let after = ready(namespace, &name, READY_WITHIN).await?;
        ensure!(after.spec == before.spec, "the spec has changed");
        ensure!(state(namespace).await? == objects, "objects have changed");
        Ok(())
    })
    .await
}

/// Every object with its identity in time: one that was deleted and made again differs.
async fn state(
    namespace: &TestNamespace,
) -> Result<Vec<(String, Option<String>, serde_json::Value)>> {
    made(namespace)
        .await?
        .into_iter()
        .map(|(identity, object)| Ok((identity.to_string(), object.uid(), normalised(&object)?)))
        .collect()
}

/// Zones in which a component's pods run.
async fn zones(namespace: &TestNamespace, component: &str) -> Result<BTreeSet<String>> {
    let nodes = Api::<Node>::all(namespace.client());
    let pods = ListParams::default().labels(&format!("app.kubernetes.io/name={component}"));
    let mut zones = BTreeSet::new();
    for pod in namespace.api::<Pod>().list(&pods).await? {
        let node = pod.spec.and_then(|spec| spec.node_name);
        let node = nodes.get(&node.context("the pod has no node")?).await?;
        zones.insert(node.labels()[ZONE].clone());
    }
    Ok(zones)
}

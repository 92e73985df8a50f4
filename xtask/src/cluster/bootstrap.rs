//! The objects that make a cluster complete: access, default storage, DNS.

use std::time::Duration;

use anyhow::Context;

use super::binaries::Binaries;
use super::config::PAUSE_IMAGE;
use super::layout::{DNS_SERVICE, Layout, Node};
use crate::command::{output, output_with_input, run, wait_until};

const ACCESS: &str = include_str!("../../../e2e/cluster/manifests/access.yaml");
const STORAGE: &str = include_str!("../../../e2e/cluster/manifests/storage.yaml");
const DNS: &str = include_str!("../../../e2e/cluster/manifests/dns.yaml");

const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Nodes were ready 12 s after their start on two cores; these may be busy.
const READY_LIMIT: Duration = Duration::from_mins(3);

/// Until the apiserver says that all its parts work.
pub(crate) fn wait_for_apiserver(layout: &Layout) -> anyhow::Result<()> {
    wait_until("the apiserver's readiness", READY_LIMIT, || {
        is_apiserver_ready(layout)
    })
}

pub(crate) fn apply(layout: &Layout, binaries: &Binaries) -> anyhow::Result<()> {
    let dns = DNS
        .replace("${DNS_SERVICE}", DNS_SERVICE)
        .replace("${PAUSE_IMAGE}", PAUSE_IMAGE)
        .replace("${COMPONENTS}", &binaries.components)
        .replace("${BIN}", &layout.bin().display().to_string());
    let manifests = [ACCESS, STORAGE, &dns].join("---\n");
    let mut command = layout.kubectl();
    command.args([
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=orlop-cluster",
    ]);
    output_with_input(command.args(["-f", "-"]), &manifests, REQUEST_LIMIT)
        .map(drop)
        .context("failed to apply the cluster's own manifests")
}

/// Until all nodes know themselves, so that what runs on a node finds its object.
pub(crate) fn wait_for_registration(layout: &Layout) -> anyhow::Result<()> {
    wait_until("the registration of all nodes", READY_LIMIT, || {
        let names = get(
            layout,
            &["nodes", "-o", "jsonpath={.items[*].metadata.name}"],
        )?;
        Ok(Node::all().all(|node| names.split(' ').any(|name| name == node.name())))
    })
}

pub(crate) fn wait_for_nodes(layout: &Layout) -> anyhow::Result<()> {
    const READY: &str = r#"jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}"#;
    wait_until("the readiness of all nodes", READY_LIMIT, || {
        let ready = get(layout, &["nodes", "-o", READY])?;
        Ok(ready.split(' ').filter(|status| *status == "True").count() == Node::all().count())
    })
}

pub(crate) fn wait_for_dns(layout: &Layout) -> anyhow::Result<()> {
    let limit = format!("--timeout={}s", READY_LIMIT.as_secs());
    run(
        layout
            .kubectl()
            .args([
                "-n",
                "kube-system",
                "rollout",
                "status",
                "daemonset/coredns",
            ])
            .arg(limit),
        READY_LIMIT + REQUEST_LIMIT,
    )
}

fn is_apiserver_ready(layout: &Layout) -> anyhow::Result<bool> {
    let answer = output(
        layout
            .kubectl()
            .args(["get", "--raw", "/readyz", "--request-timeout=5s"]),
        REQUEST_LIMIT,
    )?;
    Ok(answer == "ok")
}

fn get(layout: &Layout, words: &[&str]) -> anyhow::Result<String> {
    output(
        layout
            .kubectl()
            .args(["get", "--request-timeout=10s"])
            .args(words),
        REQUEST_LIMIT,
    )
}

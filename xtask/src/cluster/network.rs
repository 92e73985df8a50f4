//! One bridge on the host, one network namespace a node with a link into it,
//! static routes between them. Nothing of the cluster's range leaves the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::layout::{BRIDGE, HOST, Layout, NODES_PREFIX, Node, PODS, PREFIX, RANGE, SERVICES};
use crate::command::{output, run};

const LIMIT: Duration = Duration::from_secs(10);

/// Makes whatever is missing of bridge, namespaces, links and routes.
pub(crate) fn ensure(layout: &Layout) -> anyhow::Result<()> {
    if !link_exists(BRIDGE) {
        ensure_range_is_free()?;
        ip(&format!("link add {BRIDGE} type bridge"))?;
    }
    ip(&format!(
        "link set {BRIDGE} alias {}",
        layout.state().display()
    ))?;
    ip(&format!(
        "address replace {HOST}/{NODES_PREFIX} dev {BRIDGE}"
    ))?;
    ip(&format!("link set {BRIDGE} up"))?;
    for node in Node::all() {
        ensure_node(node).with_context(|| format!("failed to connect {}", node.name()))?;
    }
    for node in Node::all() {
        ip(&format!(
            "route replace {} via {}",
            node.pods(),
            node.address()
        ))?;
    }
    if gateway()?.is_none() {
        choose_gateway()?;
    }
    Ok(())
}

/// The network namespace's file, for who wants to join it.
pub(crate) fn netns(node: Node) -> PathBuf {
    Path::new("/run/netns").join(node.netns())
}

/// Lets nothing in or out of the node, as when its zone is lost.
pub(crate) fn cut(node: Node) -> anyhow::Result<()> {
    ip(&format!("link set {} down", node.link()))?;
    choose_gateway()
}

pub(crate) fn heal(node: Node) -> anyhow::Result<()> {
    ensure_node(node)?;
    choose_gateway()
}

/// The state directory of the checkout whose cluster runs on this machine: it is
/// written on the bridge, of which there is one.
pub(crate) fn owner() -> Option<PathBuf> {
    let alias =
        fs::read_to_string(Path::new("/sys/class/net").join(BRIDGE).join("ifalias")).ok()?;
    let alias = alias.trim();
    (!alias.is_empty()).then(|| PathBuf::from(alias))
}

/// Removes all of it.
pub(crate) fn remove() -> anyhow::Result<()> {
    for name in namespaces()? {
        ip(&format!("netns delete {name}"))?;
    }
    // The kernel removes a namespace's links a moment after the namespace.
    for link in links()? {
        if link_exists(&link) {
            ip(&format!("link delete {link}")).or_else(|error| {
                if link_exists(&link) {
                    Err(error)
                } else {
                    Ok(())
                }
            })?;
        }
    }
    Ok(())
}

/// Our network namespaces that exist.
pub(crate) fn namespaces() -> anyhow::Result<Vec<String>> {
    let directory = Path::new("/run/netns");
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(PREFIX) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Our links on the host that exist.
pub(crate) fn links() -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir("/sys/class/net")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(PREFIX) || name == BRIDGE {
            names.push(name);
        }
    }
    Ok(names)
}

/// Destinations of the host's routes into the cluster's range.
pub(crate) fn routes() -> anyhow::Result<Vec<String>> {
    let text = output(Command::new("ip").args(["-json", "route", "show"]), LIMIT)?;
    let all = parse_routes(&text)?;
    Ok(all
        .into_iter()
        .map(|route| route.destination)
        .filter(|to| is_in_range(to))
        .collect())
}

fn ensure_node(node: Node) -> anyhow::Result<()> {
    let (name, link) = (node.netns(), node.link());
    // A namespace's file without a namespace behind it is what a reboot leaves.
    if netns(node).exists() && inside(node, "link show lo").is_err() {
        ip(&format!("netns delete {name}"))?;
    }
    if !netns(node).exists() {
        // A link that is left leads into a namespace which lost its name.
        if link_exists(&link) {
            ip(&format!("link delete {link}"))?;
        }
        ip(&format!("netns add {name}"))?;
    }
    if !link_exists(&link) {
        ip(&format!(
            "link add {link} type veth peer name eth0 netns {name}"
        ))?;
    }
    ip(&format!("link set {link} master {BRIDGE}"))?;
    ip(&format!("link set {link} up"))?;
    inside(node, "link set lo up")?;
    inside(
        node,
        &format!("address replace {}/{NODES_PREFIX} dev eth0", node.address()),
    )?;
    inside(node, "link set eth0 up")?;
    for other in Node::all().filter(|other| *other != node) {
        inside(
            node,
            &format!("route replace {} via {}", other.pods(), other.address()),
        )?;
    }
    // The node's own connections to Services need a route before kube-proxy's rules
    // see them. Nobody answers on this one: a Service without rules is unreachable.
    inside(node, &format!("route replace {SERVICES} dev eth0"))?;
    for (key, value) in [("ip_forward", "1"), ("conf/all/send_redirects", "0")] {
        sysctl(node, key, value)?;
    }
    Ok(())
}

/// Lets the host reach cluster IPs through the first node whose link is up.
///
/// Connections that went through another node break: their translation is kept there.
fn choose_gateway() -> anyhow::Result<()> {
    let Some(node) = Node::all().find(|node| is_up(*node)) else {
        return Ok(());
    };
    let current = gateway()?;
    let stays =
        Node::all().any(|node| is_up(node) && current.as_deref() == Some(node.address().as_str()));
    if stays {
        return Ok(());
    }
    ip(&format!("route replace {SERVICES} via {}", node.address()))
}

/// The node through which the host reaches cluster IPs.
fn gateway() -> anyhow::Result<Option<String>> {
    let text = output(
        Command::new("ip").args(["-json", "route", "show", SERVICES]),
        LIMIT,
    )?;
    Ok(parse_routes(&text)?
        .into_iter()
        .find_map(|route| route.gateway))
}

fn is_up(node: Node) -> bool {
    let flags = Path::new("/sys/class/net").join(node.link()).join("flags");
    // linux/if.h: IFF_UP is the lowest bit.
    fs::read_to_string(flags)
        .ok()
        .and_then(|text| u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok())
        .is_some_and(|flags| flags & 1 == 1)
}

fn link_exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

fn ensure_range_is_free() -> anyhow::Result<()> {
    let taken = routes()?;
    ensure!(
        taken.is_empty(),
        "the cluster's addresses {RANGE} (pods {PODS}, Services {SERVICES}) are in use here: {}",
        taken.join(", ")
    );
    Ok(())
}

#[derive(Deserialize)]
struct Route {
    #[serde(rename = "dst")]
    destination: String,
    gateway: Option<String>,
}

fn parse_routes(json: &str) -> anyhow::Result<Vec<Route>> {
    // With nothing to say, ip prints nothing at all.
    if json.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(json).context("failed to read the host's routes")
}

/// Whether a route's destination lies in the cluster's range, a /16.
fn is_in_range(destination: &str) -> bool {
    let octets = |address: &str| {
        address
            .split('.')
            .take(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    octets(destination) == octets(RANGE)
}

fn sysctl(node: Node, key: &str, value: &str) -> anyhow::Result<()> {
    let script = format!("echo {value} > /proc/sys/net/ipv4/{key}");
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net={}", netns(node).display()))
        .args(["sh", "-c", &script]);
    run(&mut command, LIMIT)
}

fn inside(node: Node, words: &str) -> anyhow::Result<()> {
    ip(&format!("-netns {} {words}", node.netns()))
}

fn ip(words: &str) -> anyhow::Result<()> {
    run(Command::new("ip").args(words.split(' ')), LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_the_range_are_told_from_others() {
        assert!(is_in_range("10.231.17.0/24"));
        assert!(is_in_range("10.231.0.0/16"));
        assert!(!is_in_range("10.23.0.0/16"));
        assert!(!is_in_range("default"));
    }

    #[test]
    fn routes_are_read_from_what_ip_prints() {
        let json = r#"[{"dst":"default","gateway":"198.51.100.1","dev":"eth0"},
                       {"dst":"10.231.0.0/24","dev":"orlop0","protocol":"kernel"}]"#;
        let routes = parse_routes(json).unwrap();
        assert_eq!(routes[0].gateway.as_deref(), Some("198.51.100.1"));
        assert_eq!(routes[1].destination, "10.231.0.0/24");
        assert!(parse_routes("").unwrap().is_empty());
    }
}

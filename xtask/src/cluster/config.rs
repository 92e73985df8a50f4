//! The components' configuration files, rendered from the layout alone.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::files::write_atomically;
use super::layout::{API_PORT, DNS_SERVICE, HOST, Layout, Node, PODS};
use super::{cgroup, pki};

/// The whole name: containerd stores `docker.io/` in front, and a short one is not found.
pub(crate) const PAUSE_IMAGE: &str = "docker.io/orlop/pause:local";

/// Seconds that a node's lease lasts. The kubelet renews it after a quarter, 4 s.
const NODE_LEASE: u32 = 16;
/// A node is lost after four renewals missed in a row: short, so that tests of a lost
/// zone need not wait for the usual 40 s, and long enough for a busy machine of two cores.
pub(crate) const NODE_GRACE: &str = "16s";

/// Writes a file unless it is the same already, and returns its path.
pub(crate) fn write(path: PathBuf, content: &str) -> anyhow::Result<PathBuf> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    if !fs::read_to_string(&path).is_ok_and(|present| present == content) {
        write_atomically(&path, content.as_bytes())?;
    }
    Ok(path)
}

/// A kubeconfig that speaks as one identity of [`pki`]. JSON is YAML.
pub(crate) fn kubeconfig(layout: &Layout, identity: &str) -> String {
    let (certificate, key) = pki::pair(layout, identity);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "orlop-local", "cluster": {
            "server": format!("https://{HOST}:{API_PORT}"),
            "certificate-authority": pki::authority(layout),
        }}],
        "users": [{"name": identity, "user": {
            "client-certificate": certificate,
            "client-key": key,
        }}],
        "contexts": [{"name": "orlop-local", "context": {
            "cluster": "orlop-local",
            "user": identity,
        }}],
        "current-context": "orlop-local",
    });
    text(&config)
}

/// Every write is logged with who made it; reads are not.
pub(crate) fn audit_policy() -> String {
    text(&json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {
                "level": "Metadata",
                "verbs": ["create", "update", "patch", "delete", "deletecollection"],
            },
            {"level": "None"},
        ],
    }))
}

pub(crate) fn kubelet(layout: &Layout, node: Node) -> String {
    let (certificate, key) = pki::pair(layout, &node.name());
    let directory = layout.node_dir(node);
    text(&json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address(),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki::authority(layout)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": certificate,
        "tlsPrivateKeyFile": key,
        "containerRuntimeEndpoint": format!("unix://{}", layout.containerd_socket(node).display()),
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS_SERVICE],
        // Empty, so that the machine's own search domains stay out of the pods.
        "resolvConf": layout.config().join("resolv.conf"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", node.cgroup()),
        "failCgroupV1": false,
        // Below zero is refused where root lacks CAP_SYS_RESOURCE.
        "oomScoreAdj": 0,
        "failSwapOn": false,
        "podLogsDir": directory.join("pod-logs"),
        "volumePluginDir": directory.join("volume-plugins"),
        "serializeImagePulls": false,
        "nodeStatusUpdateFrequency": "4s",
        // Leases are the heartbeat; an unchanged status need not be written.
        "nodeStatusReportFrequency": "5m0s",
        "nodeLeaseDurationSeconds": NODE_LEASE,
        // The images were imported and can be pulled from nowhere: never remove one.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "imageMinimumGCAge": "8760h0m0s",
        // The disk is shared with everything else on the machine: how full it is in
        // percent says nothing about the cluster. The last bytes are still kept free.
        "evictionHard": {
            "memory.available": "128Mi",
            "nodefs.available": "256Mi",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "256Mi",
            "imagefs.inodesFree": "1%",
        },
    }))
}

pub(crate) fn kube_proxy(kubeconfig: &Path, node: Node) -> String {
    text(&json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig},
        "hostnameOverride": node.name(),
        "bindAddress": node.address(),
        "mode": "iptables",
        "clusterCIDR": PODS,
        "detectLocalMode": "ClusterCIDR",
        "nodePortAddresses": ["primary"],
        "oomScoreAdj": 0,
        // Zero leaves the kernel's connection tracking limits alone.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        // A changed endpoint is in the rules after a tenth of a second, not after one.
        "iptables": {"minSyncPeriod": "100ms", "syncPeriod": "30s", "localhostNodePorts": false},
    }))
}

/// Pods are routed, not bridged: so policies see connections between pods of one
/// node too, and nothing depends on br_netfilter.
pub(crate) fn cni(layout: &Layout, node: Node) -> String {
    text(&json!({
        "cniVersion": "0.4.0",
        "name": node.netns(),
        "plugins": [
            {
                "type": "ptp",
                "ipam": {
                    "type": "host-local",
                    "dataDir": layout.node_dir(node).join("addresses"),
                    "ranges": [[{"subnet": node.pods()}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    }))
}

pub(crate) fn containerd(layout: &Layout, node: Node) -> String {
    let directory = layout.node_dir(node);
    format!(
        r#"version = 2
root = "{root}"
state = "{state}"
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{opt}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Where root lacks CAP_SYS_RESOURCE a lower score is refused, and the sandbox with it.
  restrict_oom_score_adj = true
  # Below the state directory, where `down` finds all of them.
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = "{runc}"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
"#,
        root = directory.join("containerd").display(),
        state = layout.containerd_state(node).display(),
        socket = layout.containerd_socket(node).display(),
        opt = directory.join("opt").display(),
        runc = directory.join("runc").display(),
        cni = directory.join("cni").display(),
    )
}

/// The child of the node's cgroup in which containerd and the kubelet run.
pub(crate) fn runtime_cgroup(node: Node) -> String {
    cgroup::runtime(node)
}

fn text(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        Layout::at(Path::new("/c"))
    }

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn each_node_has_its_own_sockets_directories_and_addresses() {
        let layout = layout();
        let mut seen = std::collections::BTreeSet::new();
        for node in Node::all() {
            let kubelet = parsed(&kubelet(&layout, node));
            let cni = parsed(&cni(&layout, node));
            for value in [
                &kubelet["containerRuntimeEndpoint"],
                &kubelet["address"],
                &kubelet["cgroupRoot"],
                &kubelet["podLogsDir"],
                &cni["name"],
                &cni["plugins"][0]["ipam"]["dataDir"],
                &cni["plugins"][0]["ipam"]["ranges"][0][0]["subnet"],
            ] {
                assert!(
                    seen.insert(value.to_string()),
                    "{value} is shared between nodes"
                );
            }
        }
        assert_eq!(seen.len(), 21);
    }

    #[test]
    fn the_kubelet_talks_to_the_socket_that_containerd_serves() {
        let layout = layout();
        let node = Node::all().next().unwrap();
        let served = containerd(&layout, node);
        let asked = parsed(&kubelet(&layout, node));
        let socket = asked["containerRuntimeEndpoint"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(served.contains(socket.strip_prefix("unix://").unwrap()));
    }

    #[test]
    fn the_lease_is_renewed_four_times_within_the_grace_period() {
        // The kubelet renews after a quarter of the lease's duration.
        let grace: u32 = NODE_GRACE.strip_suffix('s').unwrap().parse().unwrap();
        assert!(grace >= 4 * (NODE_LEASE / 4));
    }

    #[test]
    fn the_audit_policy_logs_all_writes_and_nothing_else() {
        let policy = parsed(&audit_policy());
        assert_eq!(policy["rules"][0]["verbs"].as_array().unwrap().len(), 5);
        assert_eq!(policy["rules"][1], json!({"level": "None"}));
    }
}

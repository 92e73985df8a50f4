//! Every process of the cluster with its command line.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::binaries::Binaries;
use super::layout::{API_PORT, HOST, Layout, Node, SERVICES};
use super::process::Program;
use super::{config, network, packages, pki};

const ETCD_PORT: u16 = 2379;
const ETCD_PEER_PORT: u16 = 2380;

/// Writes configuration files and composes programs from them.
pub(crate) struct Components<'a> {
    layout: &'a Layout,
    binaries: &'a Binaries,
    containerd_version: String,
}

impl<'a> Components<'a> {
    pub(crate) fn new(layout: &'a Layout, binaries: &'a Binaries) -> anyhow::Result<Self> {
        let containerd_version = packages::containerd_version()?;
        config::write(
            layout.config().join("resolv.conf"),
            "# nothing outside of the cluster\n",
        )?;
        config::write(layout.kubeconfig(), &config::kubeconfig(layout, "admin"))?;
        Ok(Self {
            layout,
            binaries,
            containerd_version,
        })
    }

    pub(crate) fn etcd(&self) -> anyhow::Result<Program> {
        let (certificate, key) = pki::pair(self.layout, "etcd");
        let url = |port| format!("https://{HOST}:{port}");
        let authority = path(&pki::authority(self.layout));
        let arguments = flags([
            ("name", "local".to_owned()),
            ("data-dir", path(&self.layout.etcd())),
            ("listen-client-urls", url(ETCD_PORT)),
            ("advertise-client-urls", url(ETCD_PORT)),
            ("listen-peer-urls", url(ETCD_PEER_PORT)),
            ("initial-advertise-peer-urls", url(ETCD_PEER_PORT)),
            ("initial-cluster", format!("local={}", url(ETCD_PEER_PORT))),
            ("cert-file", path(&certificate)),
            ("key-file", path(&key)),
            ("client-cert-auth", "true".to_owned()),
            ("trusted-ca-file", authority.clone()),
            ("peer-cert-file", path(&certificate)),
            ("peer-key-file", path(&key)),
            ("peer-client-cert-auth", "true".to_owned()),
            ("peer-trusted-ca-file", authority),
            // A test cluster need not survive a power failure, only crashes of processes;
            // waiting for the disk would slow every write down.
            ("unsafe-no-fsync", "true".to_owned()),
            ("quota-backend-bytes", (2_u64 << 30).to_string()),
        ]);
        self.program("etcd", arguments, &[certificate])
    }

    pub(crate) fn apiserver(&self) -> anyhow::Result<Program> {
        let pki = |file: &str| path(&self.layout.pki().join(file));
        let policy = config::write(
            self.layout.config().join("audit-policy.json"),
            &config::audit_policy(),
        )?;
        let arguments = flags([
            ("advertise-address", HOST.to_owned()),
            ("bind-address", HOST.to_owned()),
            ("secure-port", API_PORT.to_string()),
            ("etcd-servers", format!("https://{HOST}:{ETCD_PORT}")),
            ("etcd-cafile", pki("ca.crt")),
            ("etcd-certfile", pki("etcd-client.crt")),
            ("etcd-keyfile", pki("etcd-client.key")),
            ("tls-cert-file", pki("apiserver.crt")),
            ("tls-private-key-file", pki("apiserver.key")),
            ("client-ca-file", pki("ca.crt")),
            ("service-cluster-ip-range", SERVICES.to_owned()),
            (
                "service-account-issuer",
                "https://kubernetes.default.svc.cluster.local".to_owned(),
            ),
            ("service-account-key-file", pki("service-accounts.pub")),
            (
                "service-account-signing-key-file",
                pki("service-accounts.key"),
            ),
            ("kubelet-certificate-authority", pki("ca.crt")),
            (
                "kubelet-client-certificate",
                pki("apiserver-kubelet-client.crt"),
            ),
            ("kubelet-client-key", pki("apiserver-kubelet-client.key")),
            // Node names are in nobody's DNS.
            ("kubelet-preferred-address-types", "InternalIP".to_owned()),
            ("authorization-mode", "Node,RBAC".to_owned()),
            ("enable-admission-plugins", "NodeRestriction".to_owned()),
            ("allow-privileged", "true".to_owned()),
            ("requestheader-client-ca-file", pki("front-proxy-ca.crt")),
            ("requestheader-allowed-names", "front-proxy".to_owned()),
            ("requestheader-username-headers", "X-Remote-User".to_owned()),
            ("requestheader-group-headers", "X-Remote-Group".to_owned()),
            (
                "requestheader-extra-headers-prefix",
                "X-Remote-Extra-".to_owned(),
            ),
            ("proxy-client-cert-file", pki("front-proxy.crt")),
            ("proxy-client-key-file", pki("front-proxy.key")),
            ("enable-aggregator-routing", "true".to_owned()),
            ("audit-policy-file", path(&policy)),
            ("audit-log-path", path(&self.layout.audit_log())),
            // Megabytes; a test that reads the log must not see it turned under its eyes.
            ("audit-log-maxsize", "1024".to_owned()),
            ("audit-log-maxbackup", "1".to_owned()),
        ]);
        self.program(
            "kube-apiserver",
            arguments,
            &[policy, self.layout.pki().join("apiserver.crt")],
        )
    }

    pub(crate) fn controller_manager(&self) -> anyhow::Result<Program> {
        let pki = |file: &str| path(&self.layout.pki().join(file));
        let name = "kube-controller-manager";
        let kubeconfig = self.kubeconfig(name)?;
        let arguments = flags([
            ("kubeconfig", path(&kubeconfig)),
            ("authentication-kubeconfig", path(&kubeconfig)),
            ("authorization-kubeconfig", path(&kubeconfig)),
            ("bind-address", HOST.to_owned()),
            ("root-ca-file", pki("ca.crt")),
            (
                "service-account-private-key-file",
                pki("service-accounts.key"),
            ),
            ("cluster-signing-cert-file", pki("ca.crt")),
            ("cluster-signing-key-file", pki("ca.key")),
            ("use-service-account-credentials", "true".to_owned()),
            // There is one of it.
            ("leader-elect", "false".to_owned()),
            ("allocate-node-cidrs", "false".to_owned()),
            ("node-monitor-period", "2s".to_owned()),
            ("node-monitor-grace-period", config::NODE_GRACE.to_owned()),
        ]);
        self.program(name, arguments, &[kubeconfig])
    }

    pub(crate) fn scheduler(&self) -> anyhow::Result<Program> {
        let name = "kube-scheduler";
        let kubeconfig = self.kubeconfig(name)?;
        let arguments = flags([
            ("kubeconfig", path(&kubeconfig)),
            ("authentication-kubeconfig", path(&kubeconfig)),
            ("authorization-kubeconfig", path(&kubeconfig)),
            ("bind-address", HOST.to_owned()),
            ("leader-elect", "false".to_owned()),
        ]);
        self.program(name, arguments, &[kubeconfig])
    }

    pub(crate) fn provisioner(&self) -> anyhow::Result<Program> {
        let kubeconfig = self.kubeconfig("provisioner")?;
        let arguments = flags([
            ("kubeconfig", path(&kubeconfig)),
            ("nodes", path(&self.layout.nodes())),
        ]);
        self.program("provisioner", arguments, &[kubeconfig])
    }

    pub(crate) fn containerd(&self, node: Node) -> anyhow::Result<Program> {
        let directory = self.layout.node_dir(node);
        let cni = config::write(
            directory.join("cni/10-orlop.conflist"),
            &config::cni(self.layout, node),
        )?;
        let settings = config::write(
            directory.join("containerd.toml"),
            &config::containerd(self.layout, node),
        )?;
        let mut program = Program {
            name: format!("containerd-{}", node.name()),
            command: vec![
                "/usr/bin/containerd".to_owned(),
                "--config".to_owned(),
                path(&settings),
            ],
            made_of: String::new(),
            netns: Some(network::netns(node)),
            cgroup: Some(config::runtime_cgroup(node)),
        };
        program.made_of = digest(&program, &self.containerd_version, &[cni, settings])?;
        Ok(program)
    }

    pub(crate) fn kubelet(&self, node: Node) -> anyhow::Result<Program> {
        let directory = self.layout.node_dir(node);
        let kubeconfig = self.kubeconfig(&node.name())?;
        let settings = config::write(
            directory.join("kubelet.json"),
            &config::kubelet(self.layout, node),
        )?;
        let arguments = flags([
            ("config", path(&settings)),
            ("kubeconfig", path(&kubeconfig)),
            ("hostname-override", node.name()),
            ("node-ip", node.address()),
            (
                "node-labels",
                format!("topology.kubernetes.io/zone={}", node.zone()),
            ),
            ("root-dir", path(&self.layout.kubelet_dir(node))),
            ("cert-dir", path(&directory.join("kubelet-pki"))),
        ]);
        self.node_program("kubelet", node, arguments, &[settings, kubeconfig])
    }

    pub(crate) fn kube_proxy(&self, node: Node) -> anyhow::Result<Program> {
        let kubeconfig = self.kubeconfig("kube-proxy")?;
        let settings = config::write(
            self.layout.node_dir(node).join("kube-proxy.json"),
            &config::kube_proxy(&kubeconfig, node),
        )?;
        let arguments = flags([("config", path(&settings))]);
        self.node_program("kube-proxy", node, arguments, &[settings, kubeconfig])
    }

    pub(crate) fn netpol(&self, node: Node) -> anyhow::Result<Program> {
        let kubeconfig = self.kubeconfig("netpol")?;
        let mut command = vec![path(&self.layout.bin().join("netpol"))];
        command.extend(flags([
            ("kubeconfig", path(&kubeconfig)),
            ("node", node.name()),
            ("services", SERVICES.to_owned()),
        ]));
        let mut program = Program {
            name: format!("netpol-{}", node.name()),
            command,
            made_of: String::new(),
            netns: Some(network::netns(node)),
            cgroup: Some(config::runtime_cgroup(node)),
        };
        program.made_of = digest(&program, &self.binaries.netpol, &[kubeconfig])?;
        Ok(program)
    }

    fn kubeconfig(&self, identity: &str) -> anyhow::Result<PathBuf> {
        config::write(
            self.layout.config().join(format!("{identity}.kubeconfig")),
            &config::kubeconfig(self.layout, identity),
        )
    }

    fn node_program(
        &self,
        component: &str,
        node: Node,
        arguments: Vec<String>,
        files: &[PathBuf],
    ) -> anyhow::Result<Program> {
        let mut program = self.program(component, arguments, files)?;
        program.name = format!("{component}-{}", node.name());
        program.netns = Some(network::netns(node));
        program.cgroup = Some(config::runtime_cgroup(node));
        Ok(program)
    }

    fn program(
        &self,
        component: &str,
        arguments: Vec<String>,
        files: &[PathBuf],
    ) -> anyhow::Result<Program> {
        let mut command = vec![
            path(&self.layout.bin().join("cluster")),
            component.to_owned(),
        ];
        command.extend(arguments);
        let mut program = Program {
            name: component.to_owned(),
            command,
            made_of: String::new(),
            netns: None,
            cgroup: None,
        };
        program.made_of = digest(&program, &self.binaries.components, files)?;
        // All of them trust the authority: a new one makes all of them start anew.
        program.made_of = digest(&program, &program.made_of, &[pki::authority(self.layout)])?;
        Ok(program)
    }
}

/// A digest of the command line, the binary's version and the files that it reads.
fn digest(program: &Program, version: &str, files: &[PathBuf]) -> anyhow::Result<String> {
    let mut digest = Sha256::new();
    for word in &program.command {
        digest.update(word);
        digest.update([0]);
    }
    digest.update(version);
    for file in files {
        let content =
            fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
        digest.update(content);
    }
    Ok(format!("{:x}", digest.finalize()))
}

fn flags<const N: usize>(pairs: [(&str, String); N]) -> Vec<String> {
    pairs
        .into_iter()
        .map(|(name, value)| format!("--{name}={value}"))
        .collect()
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_made_of_its_command_line_its_version_and_its_files() {
        let file = std::env::temp_dir().join(format!("orlop-digest-{}", std::process::id()));
        let program = |argument: &str| Program {
            name: "one".to_owned(),
            command: vec!["/bin/one".to_owned(), argument.to_owned()],
            made_of: String::new(),
            netns: None,
            cgroup: None,
        };
        let with = |argument, version, content| {
            fs::write(&file, content).unwrap();
            digest(&program(argument), version, std::slice::from_ref(&file)).unwrap()
        };
        let first = with("--a", "v1", "x");
        assert_eq!(first, with("--a", "v1", "x"));
        assert_ne!(first, with("--b", "v1", "x"));
        assert_ne!(first, with("--a", "v2", "x"));
        assert_ne!(first, with("--a", "v1", "y"));
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_program_whose_file_cannot_be_read_is_an_error_that_names_the_file() {
        let program = Program {
            name: "one".to_owned(),
            command: vec!["/bin/one".to_owned()],
            made_of: String::new(),
            netns: None,
            cgroup: None,
        };
        let error = digest(&program, "v1", &[PathBuf::from("/nonexistent/file")]).unwrap_err();
        assert!(format!("{error:#}").contains("/nonexistent/file"));
    }
}

//! What the runtimes' tests run against: real services, not imitations.
//!
//! PostgreSQL and Redis are Debian's, started by the tests themselves on loopback. RabbitMQ is a
//! BrokerTier on the local Kubernetes, so that it is the version that Orlop ships.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::cluster::{Layout, packages};
use crate::command::{output, output_with_input, run};
use crate::progress::Progress;

const NEEDED: [(&str, &str); 2] = [
    ("postgresql", "/usr/lib/postgresql"),
    ("redis-server", "/usr/bin/redis-server"),
];
const NAMESPACE: &str = "orlop-runtime-tests";
const TIER: &str = "mq";
const KUBECTL_LIMIT: Duration = Duration::from_secs(30);
/// A broker starts within 20 s; on a machine that also compiles it takes longer.
const READY_SECS: u64 = 180;
/// The broker's Service and its pods are gone.
const GONE_LIMIT: Duration = Duration::from_mins(2);

/// Installs PostgreSQL and Redis where they are missing, without starting them as the system's.
pub(super) fn install(progress: Progress) -> Result<()> {
    packages::ensure(&NEEDED, progress)
}

/// A broker of its own, for as long as this lives.
pub(super) struct Broker<'a> {
    layout: &'a Layout,
    host: String,
    password: String,
}

impl<'a> Broker<'a> {
    pub(super) fn start(layout: &'a Layout, progress: Progress) -> Result<Self> {
        let mut broker = Self {
            layout,
            host: String::new(),
            password: String::new(),
        };
        progress.step("start a broker for the runtimes' tests", || {
            let objects = objects().to_string();
            let mut apply = broker.kubectl(&["apply", "--server-side", "--filename=-"]);
            output_with_input(&mut apply, &objects, KUBECTL_LIMIT)?;
            let timeout = format!("--timeout={READY_SECS}s");
            let target = format!("brokertier/{TIER}");
            let wait = ["wait", "--for=condition=Ready", &timeout, &target];
            let limit = Duration::from_secs(READY_SECS) + KUBECTL_LIMIT;
            run(&mut broker.kubectl(&wait), limit)
        })?;
        broker.host = broker.read("service", TIER, "{{.spec.clusterIP}}")?;
        let password = "{{index .data \"admin-password\" | base64decode}}";
        broker.password = broker.read("secret", &format!("{TIER}-auth"), password)?;
        Ok(broker)
    }

    /// How the tests are told of it.
    pub(super) fn environment(&self) -> [(&'static str, String); 2] {
        let Self { host, password, .. } = self;
        [
            ("ORLOP_TEST_RABBITMQ", format!("{host} {password}")),
            (
                "ORLOP_TEST_AMQP_URL",
                format!("amqp://orlop-admin:{password}@{host}:5672/orlop"),
            ),
        ]
    }

    pub(super) fn stop(self) -> Result<()> {
        let mut kubectl = self.layout.kubectl();
        kubectl.args(["delete", "namespace", NAMESPACE, "--ignore-not-found"]);
        run(&mut kubectl, GONE_LIMIT)
    }

    fn read(&self, kind: &str, name: &str, template: &str) -> Result<String> {
        let template = format!("--output=go-template={template}");
        let text = output(
            &mut self.kubectl(&["get", kind, name, &template]),
            KUBECTL_LIMIT,
        )
        .with_context(|| format!("failed to read {kind} {name} of the broker"))?;
        ensure!(!text.is_empty(), "{kind} {name} of the broker says nothing");
        Ok(text)
    }

    fn kubectl(&self, words: &[&str]) -> Command {
        let mut kubectl = self.layout.kubectl();
        kubectl.args(["--namespace", NAMESPACE]).args(words);
        kubectl
    }
}

fn objects() -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": NAMESPACE,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        },
        {
            "apiVersion": "orlop.dev/v1alpha1",
            "kind": "BrokerTier",
            "metadata": {"name": TIER, "namespace": NAMESPACE},
            "spec": {"deletion": "Delete", "rabbitmq": {"storage": "512Mi"}},
        },
    ]})
}

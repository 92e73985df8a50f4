//! The objects of a broker, as values.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{
        ConfigMap, EnvVar, EnvVarSource, ObjectFieldSelector, Probe, Secret, SecretKeySelector,
        Service, ServicePort, ServiceSpec, TCPSocketAction,
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};
use orlop_contract::queue::{AMQP_PORT, APP_USER, MANAGEMENT_PORT, PROMETHEUS_PORT, VHOST};

use super::{
    config::{self, ADVANCED, CONF, CONFIG_PATH, DEFINITIONS, DEFINITIONS_PATH, PLUGINS},
    reading::User,
    validate::ValidatedBroker,
};
use crate::{
    Object, Observed,
    tier::{Credential, Credentials, DataNodes, Mounted, binding},
};

const COOKIE: &str = "erlang-cookie";
pub(super) const ADMIN_PASSWORD: &str = "admin-password";
const PASSWORD: &str = "password";

const CREDENTIALS: [Credential; 3] = [
    Credential {
        key: COOKIE,
        published: None,
    },
    Credential {
        key: ADMIN_PASSWORD,
        published: None,
    },
    Credential {
        key: PASSWORD,
        published: Some("password"),
    },
];

/// Names and numbers.
const PORTS: [(&str, u16); 3] = [
    ("amqp", AMQP_PORT),
    ("management", MANAGEMENT_PORT),
    ("prometheus", PROMETHEUS_PORT),
];

/// What the official image says, and ours.
const DATA_PATH: &str = "/var/lib/rabbitmq";

/// Time to close connections and to write what is in memory.
const GRACE_SECS: i64 = 60;

/// Seconds between two looks at a node that starts, and at one that runs.
const STARTUP_PERIOD_SECS: i32 = 1;
const READINESS_PERIOD_SECS: i32 = 5;
/// Ten minutes: a node reads its logs again at its start.
const STARTUP_FAILURES_MAX: i32 = 600;

/// What a broker has of passwords.
#[derive(Clone, Debug)]
pub(super) struct Access(Credentials);

impl Access {
    pub(super) fn of(broker: &ValidatedBroker, observed: &Observed) -> Self {
        Self(Credentials::of(&broker.tier, &CREDENTIALS, observed))
    }

    pub(super) fn admin_password(&self) -> &str {
        self.0.get(ADMIN_PASSWORD)
    }

    pub(super) fn users(&self) -> BTreeMap<String, User> {
        config::users(self.admin_password(), self.0.get(PASSWORD))
    }

    /// What pods must have been started with.
    pub(super) fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }
}

/// All objects, in the order in which they are applied: what is referred to comes first.
pub(super) fn objects(broker: &ValidatedBroker, access: &Access) -> Vec<Object> {
    let Access(credentials) = access;
    vec![
        credentials.auth(&broker.tier, BTreeMap::new()).into(),
        definitions(broker, access).into(),
        published(broker, credentials).into(),
        config_map(broker).into(),
        nodes_service(broker).into(),
        service(broker).into(),
        nodes(broker, access).stateful_set(&broker.tier).into(),
    ]
}

/// Names of the Secrets of a broker called `tier`.
pub(super) fn secrets(tier: &str) -> Vec<String> {
    ["auth", "binding", "definitions"]
        .map(|part| format!("{tier}-{part}"))
        .into()
}

/// Where clients find the broker.
pub(super) fn host(broker: &ValidatedBroker) -> String {
    broker.tier.host(&broker.tier.name, &broker.cluster_domain)
}

/// Not in the Secret of the credentials, which never changes: a later version may import more.
fn definitions(broker: &ValidatedBroker, access: &Access) -> Secret {
    let text = config::definitions(&access.users()).to_string();
    Secret {
        metadata: broker.tier.metadata(broker.tier.object_name("definitions")),
        type_: Some("Opaque".to_owned()),
        data: Some(BTreeMap::from([(
            DEFINITIONS.to_owned(),
            ByteString(text.into_bytes()),
        )])),
        ..Secret::default()
    }
}

fn published(broker: &ValidatedBroker, credentials: &Credentials) -> Secret {
    let (host, password) = (host(broker), credentials.get(PASSWORD));
    let entries = [
        ("type", "rabbitmq".to_owned()),
        ("provider", "orlop".to_owned()),
        (
            "uri",
            format!("amqp://{APP_USER}:{password}@{host}:{AMQP_PORT}/{VHOST}"),
        ),
        ("host", host),
        ("port", AMQP_PORT.to_string()),
        ("virtual-host", VHOST.to_owned()),
        ("username", APP_USER.to_owned()),
        ("password", password.to_owned()),
    ];
    binding(&broker.tier, entries.into())
}

fn config_map(broker: &ValidatedBroker) -> ConfigMap {
    ConfigMap {
        metadata: broker.tier.metadata(broker.tier.object_name("config")),
        data: Some(config::files(broker)),
        ..ConfigMap::default()
    }
}

fn service(broker: &ValidatedBroker) -> Service {
    Service {
        metadata: broker.tier.metadata(broker.tier.name.clone()),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(broker.tier.selector()),
            ports: Some(service_ports()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// Gives each node its name, also before it is ready.
fn nodes_service(broker: &ValidatedBroker) -> Service {
    Service {
        metadata: broker.tier.metadata(nodes_name(broker)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(broker.tier.selector()),
            ports: Some(service_ports()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn nodes_name(broker: &ValidatedBroker) -> String {
    broker.tier.object_name("nodes")
}

fn service_ports() -> Vec<ServicePort> {
    let port = |(name, number): (&str, u16)| ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    };
    PORTS.into_iter().map(port).collect()
}

fn nodes<'a>(broker: &'a ValidatedBroker, access: &Access) -> DataNodes<'a> {
    DataNodes {
        name: broker.tier.name.clone(),
        extra_labels: BTreeMap::new(),
        nodes: broker.nodes,
        service: nodes_name(broker),
        pods: &broker.pods,
        resources: Some(&broker.resources),
        image: broker.image.clone(),
        command: None,
        args: None,
        env: env(broker),
        ports: PORTS.map(|(name, number)| (name, i32::from(number))).into(),
        data_path: DATA_PATH,
        storage: Quantity(broker.storage.to_string()),
        mounted: vec![
            Mounted::config_map(broker.tier.object_name("config"), CONFIG_PATH),
            Mounted::secret(broker.tier.object_name("definitions"), DEFINITIONS_PATH),
        ],
        scratch: Vec::new(),
        startup: Some(Probe {
            failure_threshold: Some(STARTUP_FAILURES_MAX),
            ..listens(STARTUP_PERIOD_SECS)
        }),
        readiness: Some(listens(READINESS_PERIOD_SECS)),
        // A node that still takes connections but does nothing would not be found by one either.
        liveness: None,
        grace_secs: GRACE_SECS,
        affinity: None,
        spread: Vec::new(),
        config: access.fingerprint(),
    }
}

/// The command-line tools would start an Erlang machine of their own for each look.
fn listens(period_secs: i32) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction {
            port: IntOrString::String("amqp".to_owned()),
            ..TCPSocketAction::default()
        }),
        period_seconds: Some(period_secs),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

fn env(broker: &ValidatedBroker) -> Vec<EnvVar> {
    let value = |name: &str, value: String| EnvVar {
        name: name.to_owned(),
        value: Some(value),
        ..EnvVar::default()
    };
    let from = |name: &str, source: EnvVarSource| EnvVar {
        name: name.to_owned(),
        value_from: Some(source),
        ..EnvVar::default()
    };
    let domain = broker
        .tier
        .host(&nodes_name(broker), &broker.cluster_domain);
    vec![
        from(
            "POD_NAME",
            EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    field_path: "metadata.name".to_owned(),
                    ..ObjectFieldSelector::default()
                }),
                ..EnvVarSource::default()
            },
        ),
        // The data lies under this name: it stays the same wherever the pod runs.
        value("RABBITMQ_NODENAME", format!("rabbit@$(POD_NAME).{domain}")),
        value("RABBITMQ_USE_LONGNAME", "true".to_owned()),
        from(
            "RABBITMQ_ERLANG_COOKIE",
            EnvVarSource {
                secret_key_ref: Some(SecretKeySelector {
                    name: broker.tier.object_name("auth"),
                    key: COOKIE.to_owned(),
                    ..SecretKeySelector::default()
                }),
                ..EnvVarSource::default()
            },
        ),
        value("RABBITMQ_CONFIG_FILE", format!("{CONFIG_PATH}/{CONF}")),
        value(
            "RABBITMQ_ADVANCED_CONFIG_FILE",
            format!("{CONFIG_PATH}/{ADVANCED}"),
        ),
        value(
            "RABBITMQ_ENABLED_PLUGINS_FILE",
            format!("{CONFIG_PATH}/{PLUGINS}"),
        ),
        value("RABBITMQ_MNESIA_BASE", format!("{DATA_PATH}/mnesia")),
        value("RABBITMQ_LOG_BASE", "/tmp/log".to_owned()),
        // What an image says here would win over the configuration.
        value("RABBITMQ_LOGS", String::new()),
        // Erlang insists on a cookie file that its group cannot read, which a volume's group can.
        value("HOME", "/tmp".to_owned()),
        // The log tells the cause; a dump would fill the volume that is full already.
        value("ERL_CRASH_DUMP_SECONDS", "0".to_owned()),
    ]
}

//! The objects of a cache, as values.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::{
        core::v1::{
            Affinity, ConfigMap, EnvVar, EnvVarSource, ObjectFieldSelector, PodAffinityTerm,
            PodAntiAffinity, Probe, Secret, Service, ServicePort, ServiceSpec, TCPSocketAction,
            TopologySpreadConstraint,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        api::resource::Quantity, apis::meta::v1::LabelSelector, util::intstr::IntOrString,
    },
};
use serde_json::json;

use super::{
    config::{
        self, ACCESS_PATH, APP_USER, BUS_PORT, CONF, CONFIG_PATH, DATA_PATH, PORT, Passwords,
        REPLICATION, USERS,
    },
    shape::ZoneRule,
    validate::ValidatedCache,
};
use crate::{
    Object, Observed,
    difference::fingerprint,
    labels,
    tier::{Credential, Credentials, DataNodes, Mounted, binding},
};

const ADMIN_PASSWORD: &str = "admin-password";
const REPLICA_PASSWORD: &str = "replica-password";
const PASSWORD: &str = "password";

const CREDENTIALS: [Credential; 3] = [
    Credential {
        key: ADMIN_PASSWORD,
        published: None,
    },
    Credential {
        key: REPLICA_PASSWORD,
        published: None,
    },
    Credential {
        key: PASSWORD,
        published: Some("password"),
    },
];

/// Names and numbers.
const PORTS: [(&str, u16); 2] = [("valkey", PORT), ("bus", BUS_PORT)];

const ZONE: &str = "topology.kubernetes.io/zone";

/// Time to write what is in memory.
const GRACE_SECS: i64 = 30;

/// Seconds between two looks at a node that starts, and at one that runs.
const STARTUP_PERIOD_SECS: i32 = 1;
const READINESS_PERIOD_SECS: i32 = 5;
/// Two minutes to open the port; reading the data comes after that.
const STARTUP_FAILURES_MAX: i32 = 120;

/// What a cache has of passwords.
pub(super) struct Access(Credentials);

impl Access {
    pub(super) fn of(cache: &ValidatedCache, observed: &Observed) -> Self {
        Self(Credentials::of(&cache.tier, &CREDENTIALS, observed))
    }

    pub(super) fn admin_password(&self) -> &str {
        self.0.get(ADMIN_PASSWORD)
    }

    fn passwords(&self) -> Passwords<'_> {
        Passwords {
            admin: self.0.get(ADMIN_PASSWORD),
            app: self.0.get(PASSWORD),
            replica: self.0.get(REPLICA_PASSWORD),
        }
    }
}

/// All objects, in the order in which they are applied: what is referred to comes first.
pub(super) fn objects(cache: &ValidatedCache, access: &Access, all_nodes: bool) -> Vec<Object> {
    let Access(credentials) = access;
    let mut objects: Vec<Object> = vec![
        credentials.auth(&cache.tier, BTreeMap::new()).into(),
        rights(cache, access).into(),
        published(cache, credentials).into(),
        config_map(cache).into(),
        nodes_service(cache).into(),
        service(cache).into(),
        disruption_budget(cache).into(),
    ];
    let config = fingerprint(&json!([
        config::conf(cache),
        config::users(&access.passwords()),
        config::replication(&access.passwords()),
    ]));
    let homes = cache.shape.homes();
    // Replicas are placed where their primary is not, so it must have its place first.
    let now = homes.filter(|(_, index)| all_nodes || *index == 0);
    objects.extend(now.map(|(shard, index)| {
        let nodes = node(cache, shard, index, config.clone());
        Object::from(nodes.stateful_set(&cache.tier))
    }));
    objects
}

/// Names of the Secrets of a cache called `tier`.
pub(super) fn secrets(tier: &str) -> Vec<String> {
    ["auth", "binding", "access"]
        .map(|part| format!("{tier}-{part}"))
        .into()
}

/// Where clients find any node.
pub(super) fn host(cache: &ValidatedCache) -> String {
    cache.tier.host(&cache.tier.name, &cache.cluster_domain)
}

/// Not in the Secret of the credentials, which never changes: a later version may grant otherwise.
fn rights(cache: &ValidatedCache, access: &Access) -> Secret {
    let passwords = access.passwords();
    let files = [
        (USERS, config::users(&passwords)),
        (REPLICATION, config::replication(&passwords)),
    ];
    let files = files.map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes())));
    Secret {
        metadata: cache.tier.metadata(cache.tier.object_name("access")),
        type_: Some("Opaque".to_owned()),
        data: Some(files.into()),
        ..Secret::default()
    }
}

/// `nodes` is what a cluster client starts from.
fn published(cache: &ValidatedCache, credentials: &Credentials) -> Secret {
    let (host, password) = (host(cache), credentials.get(PASSWORD));
    let nodes = cache.tier.host(&nodes_name(cache), &cache.cluster_domain);
    let nodes: Vec<_> = cache
        .shape
        .homes()
        .map(|(shard, index)| format!("{}.{nodes}:{PORT}", cache.shape.pod(shard, index)))
        .collect();
    let entries = [
        ("type", "redis".to_owned()),
        ("provider", "orlop".to_owned()),
        (
            "uri",
            format!("redis://{APP_USER}:{password}@{host}:{PORT}"),
        ),
        ("host", host),
        ("port", PORT.to_string()),
        ("nodes", nodes.join(",")),
        ("username", APP_USER.to_owned()),
        ("password", password.to_owned()),
    ];
    binding(&cache.tier, entries.into())
}

fn config_map(cache: &ValidatedCache) -> ConfigMap {
    ConfigMap {
        metadata: cache.tier.metadata(cache.tier.object_name("config")),
        data: Some(BTreeMap::from([(CONF.to_owned(), config::conf(cache))])),
        ..ConfigMap::default()
    }
}

fn nodes_name(cache: &ValidatedCache) -> String {
    cache.tier.object_name("nodes")
}

/// Names of nodes that are not ready, too: they must find each other to become so.
fn nodes_service(cache: &ValidatedCache) -> Service {
    Service {
        metadata: cache.tier.metadata(nodes_name(cache)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(cache.tier.selector()),
            ports: Some(PORTS.map(service_port).into()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn service(cache: &ValidatedCache) -> Service {
    Service {
        metadata: cache.tier.metadata(cache.tier.name.clone()),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(cache.tier.selector()),
            ports: Some(vec![service_port(PORTS[0])]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn service_port((name, number): (&str, u16)) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}

/// Voluntary disruptions take one node at a time.
fn disruption_budget(cache: &ValidatedCache) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: cache.tier.metadata(cache.tier.name.clone()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selecting(cache.tier.selector())),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

fn node(cache: &ValidatedCache, shard: u16, index: u16, config: String) -> DataNodes<'_> {
    DataNodes {
        name: cache.shape.stateful_set(shard, index),
        extra_labels: BTreeMap::from([
            (labels::SHARD.to_owned(), shard.to_string()),
            (labels::NODE_INDEX.to_owned(), index.to_string()),
        ]),
        nodes: 1,
        service: nodes_name(cache),
        pods: &cache.pods,
        resources: Some(&cache.resources),
        image: cache.effective.image.clone(),
        command: Some(vec!["valkey-server".to_owned()]),
        args: Some(vec![
            format!("{CONFIG_PATH}/{CONF}"),
            // Others are told this address; what the node sees of itself may be another one.
            "--cluster-announce-ip".to_owned(),
            "$(POD_IP)".to_owned(),
        ]),
        env: vec![pod_ip()],
        ports: PORTS.map(|(name, number)| (name, i32::from(number))).into(),
        data_path: DATA_PATH,
        storage: Quantity(cache.effective.storage.to_string()),
        mounted: vec![
            Mounted::config_map(cache.tier.object_name("config"), CONFIG_PATH),
            Mounted::secret(cache.tier.object_name("access"), ACCESS_PATH),
        ],
        scratch: Vec::new(),
        startup: Some(Probe {
            failure_threshold: Some(STARTUP_FAILURES_MAX),
            ..listens(STARTUP_PERIOD_SECS)
        }),
        readiness: Some(listens(READINESS_PERIOD_SECS)),
        // A node that hangs is replaced by its replica, and told by the operator, which asks it.
        liveness: None,
        grace_secs: GRACE_SECS,
        affinity: Some(apart_from_its_shard(cache, shard)),
        spread: vec![even_over_zones(cache, index)],
        config,
    }
}

fn pod_ip() -> EnvVar {
    EnvVar {
        name: "POD_IP".to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                field_path: "status.podIP".to_owned(),
                ..ObjectFieldSelector::default()
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

fn listens(period_secs: i32) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction {
            port: IntOrString::String(PORTS[0].0.to_owned()),
            ..TCPSocketAction::default()
        }),
        period_seconds: Some(period_secs),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

/// No two nodes of a shard in one zone, whatever happens.
fn apart_from_its_shard(cache: &ValidatedCache, shard: u16) -> Affinity {
    let mut selector = cache.tier.selector();
    selector.insert(labels::SHARD.to_owned(), shard.to_string());
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            required_during_scheduling_ignored_during_execution: Some(vec![PodAffinityTerm {
                label_selector: Some(selecting(selector)),
                topology_key: ZONE.to_owned(),
                ..PodAffinityTerm::default()
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// The first nodes of all shards, which become primaries, evenly over zones. For the others that is
/// a wish: where they may be at all depends on their primary.
fn even_over_zones(cache: &ValidatedCache, index: u16) -> TopologySpreadConstraint {
    let mut selector = cache.tier.selector();
    selector.insert(labels::NODE_INDEX.to_owned(), index.to_string());
    let enforced = index == 0 && cache.shape.zones == ZoneRule::MajoritySurvives;
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: ZONE.to_owned(),
        when_unsatisfiable: if enforced {
            "DoNotSchedule"
        } else {
            "ScheduleAnyway"
        }
        .to_owned(),
        label_selector: Some(selecting(selector)),
        ..TopologySpreadConstraint::default()
    }
}

fn selecting(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        ..LabelSelector::default()
    }
}

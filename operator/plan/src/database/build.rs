//! The objects of a database, as values.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::StatefulSet,
        core::v1::{
            ConfigMap, EnvVar, ExecAction, Probe, Secret, Service, ServicePort, ServiceSpec,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};
use serde_json::json;

use super::{
    settings::{self, CONFIG_DIR, CONFIG_FILE, DATABASE, PORT, SOCKET_DIR, USER},
    validate::{Engine, ValidatedDatabase, ValidatedPostgres},
};
use crate::{
    Object, Observed, difference,
    tier::{self, Credential, Credentials, DataNodes, Mounted, Tier},
};

/// Ends of the names of its objects.
pub(super) const AUTH: &str = "auth";
pub(super) const BINDING: &str = "binding";
pub(super) const STATEMENTS: &str = "statements";
const CONFIG: &str = "config";
const NODES: &str = "nodes";

const PORT_NAME: &str = "postgres";
/// Where the image and the official one expect the volume, and the database on it.
const VOLUME_DIR: &str = "/var/lib/postgresql/data";
const DATA_DIR: &str = "/var/lib/postgresql/data/pgdata";
const AUTH_DIR: &str = "/etc/orlop/postgres/auth";
/// Where both images expect statements for a new database, in the order of their names.
const STATEMENTS_DIR: &str = "/docker-entrypoint-initdb.d";
/// Statements that make the users' database.
const CREATE: &str = "10-create.sql";
/// Statements that our image runs at every start: what the Secret says is the password, also where
/// somebody has changed it, or the Secret was lost.
const PASSWORD: &str = "20-password.sql";
/// Collations of the C library or of ICU may change with the image, and break indexes; PostgreSQL's
/// own do not (documentation, 23.1.4). Checksums tell of a disk that changes what was written.
const INITDB_ARGS: &str = "--data-checksums --encoding=UTF8 --locale=C --locale-provider=builtin \
                           --builtin-locale=C.UTF-8";
/// A fast shutdown writes all changed buffers; a quarter of the memory takes a slow disk so long.
const GRACE_SECS: i64 = 120;

const SUPERUSER_PASSWORD: &str = "superuser-password";
const USER_PASSWORD: &str = "password";
const CREDENTIALS: [Credential; 2] = [
    Credential {
        key: SUPERUSER_PASSWORD,
        published: None,
    },
    Credential {
        key: USER_PASSWORD,
        published: Some(USER_PASSWORD),
    },
];

/// What a binding holds, by the Service Binding specification and what PostgreSQL's clients need.
const BINDING_KEYS: [&str; 7] = [
    "type", "host", "port", "database", "username", "password", "uri",
];

/// All objects in the order in which they are applied, and why they are not all.
pub(super) struct Wanted {
    pub(super) objects: Vec<Object>,
    pub(super) hindered: Option<Hindered>,
}

/// What is wrong with the Secret of a database that exists elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hindered {
    SecretMissing,
    KeysMissing(Vec<&'static str>),
}

pub(super) fn objects(database: &ValidatedDatabase, observed: &Observed) -> Wanted {
    match &database.engine {
        Engine::Postgres(postgres) => Wanted {
            objects: of_postgres(database, postgres, observed),
            hindered: None,
        },
        Engine::External { secret_name } => match external(secret_name, observed) {
            Ok(entries) => Wanted {
                objects: vec![tier::binding(&database.tier, entries).into()],
                hindered: None,
            },
            Err(hindered) => Wanted {
                objects: Vec::new(),
                hindered: Some(hindered),
            },
        },
    }
}

/// Address of a database, without credentials.
pub(super) fn endpoint(host: &str, port: &str, database: &str) -> String {
    format!("postgresql://{host}:{port}/{database}")
}

/// Address of the database that Orlop runs.
pub(super) fn own_endpoint(database: &ValidatedDatabase) -> String {
    endpoint(&host(database), &PORT.to_string(), DATABASE)
}

fn host(database: &ValidatedDatabase) -> String {
    let tier = &database.tier;
    tier.host(&tier.name, &database.cluster_domain)
}

/// The entries of the Secret that somebody else made, as far as they belong to a binding.
pub(super) fn external(
    secret_name: &str,
    observed: &Observed,
) -> Result<BTreeMap<&'static str, String>, Hindered> {
    let secret = observed
        .secrets
        .iter()
        .find(|secret| secret.metadata.name.as_deref() == Some(secret_name))
        .ok_or(Hindered::SecretMissing)?;
    let entry = |key: &str| {
        let bytes = secret.data.as_ref()?.get(key)?;
        let text = String::from_utf8(bytes.0.clone()).ok()?;
        (!text.is_empty()).then_some(text)
    };
    let (mut entries, mut missing) = (BTreeMap::new(), Vec::new());
    for key in BINDING_KEYS {
        match entry(key) {
            Some(text) => drop(entries.insert(key, text)),
            None => missing.push(key),
        }
    }
    let optional = ["provider", "ca.crt"].map(|key| Some((key, entry(key)?)));
    entries.extend(optional.into_iter().flatten());
    if missing.is_empty() {
        Ok(entries)
    } else {
        Err(Hindered::KeysMissing(missing))
    }
}

fn of_postgres(
    database: &ValidatedDatabase,
    postgres: &ValidatedPostgres,
    observed: &Observed,
) -> Vec<Object> {
    let tier = &database.tier;
    let credentials = Credentials::of(tier, &CREDENTIALS, observed);
    let config = config_map(tier, postgres);
    let fingerprint = difference::fingerprint(&json!([config.data, credentials.fingerprint()]));
    vec![
        credentials.auth(tier, BTreeMap::new()).into(),
        statements(tier, &credentials).into(),
        config.into(),
        headless(tier).into(),
        service(tier).into(),
        stateful_set(tier, postgres, fingerprint).into(),
        binding(database, &credentials).into(),
    ]
}

/// The user owns the database and nothing else. Passwords are letters and digits: nothing in them
/// needs to be escaped.
fn statements(tier: &Tier, credentials: &Credentials) -> Secret {
    let password = credentials.get(USER_PASSWORD);
    let data = [
        (
            CREATE,
            format!(
                "CREATE ROLE \"{USER}\" LOGIN;\nCREATE DATABASE \"{DATABASE}\" OWNER \"{USER}\";\n"
            ),
        ),
        (
            PASSWORD,
            format!("ALTER ROLE \"{USER}\" PASSWORD '{password}';\n"),
        ),
    ];
    let data = data.map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes())));
    Secret {
        metadata: tier.metadata(tier.object_name(STATEMENTS)),
        type_: Some("Opaque".to_owned()),
        data: Some(data.into()),
        ..Secret::default()
    }
}

fn config_map(tier: &Tier, postgres: &ValidatedPostgres) -> ConfigMap {
    let data = [
        ("postgresql.conf", settings::postgresql_conf(postgres)),
        ("pg_hba.conf", settings::PG_HBA.to_owned()),
    ];
    let data = data.map(|(file, text)| (file.to_owned(), text));
    ConfigMap {
        metadata: tier.metadata(tier.object_name(CONFIG)),
        data: Some(data.into()),
        ..ConfigMap::default()
    }
}

/// Gives the pod its name, ready or not.
fn headless(tier: &Tier) -> Service {
    Service {
        metadata: tier.metadata(tier.object_name(NODES)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            ..service_spec(tier)
        }),
        ..Service::default()
    }
}

/// What users of the database reach.
fn service(tier: &Tier) -> Service {
    Service {
        metadata: tier.metadata(tier.name.clone()),
        spec: Some(service_spec(tier)),
        ..Service::default()
    }
}

fn service_spec(tier: &Tier) -> ServiceSpec {
    ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        selector: Some(tier.selector()),
        ports: Some(vec![ServicePort {
            name: Some(PORT_NAME.to_owned()),
            port: i32::from(PORT),
            protocol: Some("TCP".to_owned()),
            target_port: Some(IntOrString::String(PORT_NAME.to_owned())),
            ..ServicePort::default()
        }]),
        ..ServiceSpec::default()
    }
}

fn stateful_set(tier: &Tier, postgres: &ValidatedPostgres, fingerprint: String) -> StatefulSet {
    let nodes = DataNodes {
        name: tier.name.clone(),
        extra_labels: BTreeMap::new(),
        nodes: 1,
        service: tier.object_name(NODES),
        pods: &postgres.pods,
        resources: postgres.resources.as_ref(),
        image: postgres.image.clone(),
        command: None,
        args: Some(vec!["-c".to_owned(), format!("config_file={CONFIG_FILE}")]),
        env: env(),
        ports: vec![(PORT_NAME, i32::from(PORT))],
        data_path: VOLUME_DIR,
        storage: Quantity(postgres.storage.to_string()),
        mounted: vec![
            Mounted::config_map(tier.object_name(CONFIG), CONFIG_DIR),
            Mounted::secret(tier.object_name(AUTH), AUTH_DIR),
            Mounted::secret(tier.object_name(STATEMENTS), STATEMENTS_DIR),
        ],
        scratch: vec![SOCKET_DIR],
        startup: None,
        readiness: Some(accepts_connections()),
        // PostgreSQL restarts its own processes, and one that replays its log for long must not be
        // ended for it.
        liveness: None,
        grace_secs: GRACE_SECS,
        affinity: None,
        spread: Vec::new(),
        config: fingerprint,
    };
    nodes.stateful_set(tier)
}

/// Names as the official image has them, then our own.
fn env() -> Vec<EnvVar> {
    let variables = [
        ("PGDATA", DATA_DIR.to_owned()),
        (
            "POSTGRES_PASSWORD_FILE",
            format!("{AUTH_DIR}/{SUPERUSER_PASSWORD}"),
        ),
        ("POSTGRES_INITDB_ARGS", INITDB_ARGS.to_owned()),
        (
            "ORLOP_POSTGRES_STATEMENTS",
            format!("{STATEMENTS_DIR}/{PASSWORD}"),
        ),
    ];
    variables
        .map(|(name, value)| EnvVar {
            name: name.to_owned(),
            value: Some(value),
            ..EnvVar::default()
        })
        .into()
}

/// A server that is starting, stopping or replaying its log accepts a connection and refuses it
/// then: asking for the port is not enough. The user is named so that the log stays quiet.
fn accepts_connections() -> Probe {
    let command = ["pg_isready", "-h", "127.0.0.1", "-U", USER, "-d", DATABASE];
    Probe {
        exec: Some(ExecAction {
            command: Some(command.map(str::to_owned).into()),
        }),
        period_seconds: Some(2),
        timeout_seconds: Some(3),
        failure_threshold: Some(2),
        ..Probe::default()
    }
}

fn binding(database: &ValidatedDatabase, credentials: &Credentials) -> Secret {
    let (host, password) = (host(database), credentials.get(USER_PASSWORD));
    let entries = [
        ("type", "postgresql".to_owned()),
        ("provider", "orlop".to_owned()),
        ("host", host.clone()),
        ("port", PORT.to_string()),
        ("database", DATABASE.to_owned()),
        ("username", USER.to_owned()),
        ("password", password.to_owned()),
        (
            "uri",
            format!("postgresql://{USER}:{password}@{host}:{PORT}/{DATABASE}"),
        ),
    ];
    tier::binding(&database.tier, entries.into())
}

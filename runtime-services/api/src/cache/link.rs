//! The connection to the cache: one server or a cluster, with deadlines and a circuit breaker.

use std::{
    collections::HashSet,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Cmd, ConnectionInfo, ErrorKind, IntoConnectionInfo as _, RedisError,
    ServerErrorKind, Value,
    aio::{ConnectionLike as _, MultiplexedConnection},
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo},
};
use thiserror::Error;
use tokio::time::timeout;

/// Commands in a row that may fail before the cache is left alone until a probe succeeds: a slow
/// cache costs this many deadlines, then none.
const FAILURES_MAX: u32 = 5;
/// Probes in a row that may fail before the connection is made anew, with names resolved again:
/// the client follows moved slots by itself, but not a cluster all of whose addresses changed.
const PROBES_MAX: u32 = 4;
/// Shorter than a lease of the trust: a probe that waits longer tells nothing useful.
const PROBE: Duration = Duration::from_millis(250);
/// Of every cluster.
const SLOTS: u32 = 16_384;
/// How long making a connection may take; the API serves meanwhile.
const CONNECT: Duration = Duration::from_secs(2);

#[derive(Debug, Error)]
pub enum LinkError {
    #[error("the address of the cache is not valid")]
    Address(#[source] RedisError),
}

/// Why a command has no answer.
#[derive(Debug, Error)]
pub(super) enum CallError {
    /// The node does not know the epoch's script: it may have forgotten writes as well.
    #[error("the cache does not know the script of this epoch")]
    Forgotten,
    #[error("the cache is left alone until it answers probes")]
    Open,
    #[error("the cache did not answer in time")]
    Late,
    #[error("failed to speak to the cache")]
    Failed(#[source] RedisError),
    #[error("the cache answered what is not understood")]
    Strange,
}

/// Where the cache is.
#[derive(Clone, Debug)]
pub struct Address {
    /// Any of them leads to all.
    nodes: Vec<ConnectionInfo>,
}

/// The connection of this process; commands of all requests share it.
#[derive(Debug)]
pub(super) struct Link {
    address: Address,
    connection: RwLock<Option<Connection>>,
    usable: AtomicBool,
    failures: AtomicU32,
    failed_probes: AtomicU32,
    is_outage_told: AtomicBool,
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Address {
    /// `url` is `redis://user:password@host:port`; `nodes` is `host:port,host:port`, whose
    /// credentials are the URL's. `None` when neither is given.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn parse(url: Option<&str>, nodes: Option<&str>) -> Result<Option<Self>, LinkError> {
        let base = url
            .map(redis::IntoConnectionInfo::into_connection_info)
            .transpose()
            .map_err(LinkError::Address)?;
        let listed: Vec<&str> = nodes
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|node| !node.is_empty())
            .collect();
        if listed.is_empty() {
            return Ok(base.map(|base| Self { nodes: vec![base] }));
        }
        let nodes = listed
            .into_iter()
            .map(|node| {
                let info = format!("redis://{node}").into_connection_info()?;
                Ok(match &base {
                    Some(base) => base.clone().set_addr(info.addr().clone()),
                    None => info,
                })
            })
            .collect::<Result<_, _>>()
            .map_err(LinkError::Address)?;
        Ok(Some(Self { nodes }))
    }
}

impl Link {
    pub(super) fn new(address: Address) -> Self {
        Self {
            address,
            connection: RwLock::new(None),
            usable: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            failed_probes: AtomicU32::new(0),
            is_outage_told: AtomicBool::new(false),
        }
    }

    /// Whether commands are sent at all.
    pub(super) fn is_usable(&self) -> bool {
        self.usable.load(Ordering::Acquire)
    }

    /// Sends one command for one key.
    pub(super) async fn call(&self, command: Cmd, deadline: Duration) -> Result<Value, CallError> {
        if !self.is_usable() {
            return Err(CallError::Open);
        }
        let mut connection = self.current().ok_or(CallError::Open)?;
        let result = match timeout(deadline, connection.send(&command)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(sort(error)),
            Err(_) => Err(CallError::Late),
        };
        self.count(&result);
        result
    }

    /// Keeps the connection up and says whether every primary answers and is one: called again
    /// and again, by one task. Commands are sent from the first success on.
    pub(super) async fn probe(&self) -> Result<Roles, CallError> {
        let result = match self.current() {
            Some(_) => self.roles().await,
            None => match self.connect().await {
                Ok(_) => self.roles().await,
                Err(error) => Err(error),
            },
        };
        if let Err(error) = &result {
            let failed = self.failed_probes.fetch_add(1, Ordering::AcqRel) + 1;
            if failed >= 2 {
                self.open(error);
            }
            if failed >= PROBES_MAX {
                self.failed_probes.store(0, Ordering::Release);
                self.replace(None);
            }
        } else {
            self.failed_probes.store(0, Ordering::Release);
            self.failures.store(0, Ordering::Release);
            self.is_outage_told.store(false, Ordering::Release);
            if !self.usable.swap(true, Ordering::AcqRel) {
                tracing::info!("the cache answers");
            }
        }
        let roles = Roles::of(&result?);
        if roles == Roles::NotAllPrimaries {
            // The client learns where a slot has moved only by asking for it, which nobody does
            // while the cache is not trusted.
            self.replace(None);
        }
        Ok(roles)
    }

    /// Connects anew, to what the cluster is now, and does `command` on every primary. `None` when
    /// it was not all of them, or one of them is none.
    pub(super) async fn prepare(&self, command: Cmd) -> Result<Option<()>, CallError> {
        let connection = self.connect().await?;
        let primaries = timeout(PROBE, connection.primaries()).await;
        let primaries = primaries.map_err(|_| CallError::Late)?.map_err(sort)?;
        let prepared = self.on_primaries(command).await?.len();
        let roles = self.roles().await?;
        let all = primaries == Some(prepared)
            && prepared == roles.len()
            && Roles::of(&roles) == Roles::AllPrimaries;
        Ok(all.then_some(()))
    }

    /// What each node taken for a primary says of itself, by a command that ordinary users of a
    /// cluster may send; `ROLE` is an administrator's.
    async fn roles(&self) -> Result<Vec<Value>, CallError> {
        let mut command = redis::cmd("ROLE");
        if let Some(Connection::Cluster(_)) = self.current() {
            command = redis::cmd("CLUSTER");
            command.arg("NODES");
        }
        self.on_primaries(command).await
    }

    /// Sends a command to every primary that the client knows; fails when any of them does.
    async fn on_primaries(&self, command: Cmd) -> Result<Vec<Value>, CallError> {
        let connection = self.current().ok_or(CallError::Open)?;
        let answers = async {
            match connection {
                Connection::Single(mut single) => {
                    let answer = single.req_packed_command(&command).await?;
                    Ok(vec![answer.extract_error()?])
                }
                Connection::Cluster(mut cluster) => {
                    let everywhere = MultipleNodeRoutingInfo::AllMasters;
                    let routing = RoutingInfo::MultiNode((everywhere, None));
                    match cluster
                        .route_command(command, routing)
                        .await?
                        .extract_error()?
                    {
                        Value::Map(answers) => {
                            Ok(answers.into_iter().map(|(_, answer)| answer).collect())
                        }
                        answer => Ok(vec![answer]),
                    }
                }
            }
        };
        match timeout(PROBE, answers).await {
            Ok(answers) => answers.map_err(sort),
            Err(_) => Err(CallError::Late),
        }
    }

    fn current(&self) -> Option<Connection> {
        self.connection
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    async fn connect(&self) -> Result<Connection, CallError> {
        let connection = self.address.connect().await?;
        self.replace(Some(connection.clone()));
        Ok(connection)
    }

    fn replace(&self, connection: Option<Connection>) {
        let mut held = self
            .connection
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *held = connection;
    }

    fn count(&self, result: &Result<Value, CallError>) {
        match result {
            // An answer all the same.
            Ok(_) | Err(CallError::Forgotten) => self.failures.store(0, Ordering::Release),
            Err(error) => {
                if self.failures.fetch_add(1, Ordering::AcqRel) + 1 >= FAILURES_MAX {
                    self.open(error);
                }
            }
        }
    }

    fn open(&self, error: &CallError) {
        self.usable.store(false, Ordering::Release);
        if !self.is_outage_told.swap(true, Ordering::AcqRel) {
            let error = error as &dyn std::error::Error;
            tracing::warn!(
                error,
                "the cache does not answer: rows are read from the database"
            );
        }
    }
}

/// What the nodes taken for primaries say that they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Roles {
    AllPrimaries,
    /// One was demoted: what it knows is not to be relied on when it is promoted again.
    NotAllPrimaries,
}

impl Roles {
    fn of(answers: &[Value]) -> Self {
        if answers.iter().all(is_primary) {
            Self::AllPrimaries
        } else {
            Self::NotAllPrimaries
        }
    }
}

impl Address {
    async fn connect(&self) -> Result<Connection, CallError> {
        let mut last = CallError::Open;
        for node in &self.nodes {
            match timeout(CONNECT, self.connect_by(node)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = CallError::Failed(error),
                Err(_) => last = CallError::Late,
            }
        }
        Err(last)
    }

    async fn connect_by(&self, node: &ConnectionInfo) -> Result<Connection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            // The deadlines are the caller's.
            .set_response_timeout(None);
        let mut single = redis::Client::open(node.clone())?
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        let mut slots = redis::cmd("CLUSTER");
        let answer = single.req_packed_command(slots.arg("SLOTS")).await;
        match answer.and_then(Value::extract_error) {
            Ok(_) => {}
            // Cluster support is disabled: one server.
            Err(error) if matches!(error.kind(), ErrorKind::Server(_)) => {
                return Ok(Connection::Single(single));
            }
            Err(error) => return Err(error),
        }
        let client = ClusterClientBuilder::new(self.nodes.iter().cloned())
            .connection_timeout(CONNECT)
            .response_timeout(CONNECT)
            // Enough to follow a moved slot; what fails otherwise is read from the database.
            .retries(2)
            .min_retry_wait(5)
            .max_retry_wait(50)
            .build()?;
        client.get_async_connection().await.map(Connection::Cluster)
    }
}

impl Connection {
    /// How many primaries there are. `None` when slots of a cluster belong to nobody.
    async fn primaries(self) -> Result<Option<usize>, RedisError> {
        let Self::Cluster(mut cluster) = self else {
            return Ok(Some(1));
        };
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("SLOTS");
        let routing = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
        let told = cluster.route_command(slots, routing).await?;
        let ranges: Vec<Vec<Value>> = redis::from_redis_value(told.extract_error()?)?;
        let mut primaries = HashSet::new();
        let mut covered = 0;
        for range in ranges {
            let (first, last, primary) = range_of(range)?;
            covered += last.saturating_sub(first) + 1;
            primaries.insert(primary);
        }
        Ok((covered == SLOTS).then_some(primaries.len()))
    }

    async fn send(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let value = match self {
            Self::Single(single) => single.req_packed_command(command).await?,
            Self::Cluster(cluster) => cluster.req_packed_command(command).await?,
        };
        value.extract_error()
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Single(_) => "Single",
            Self::Cluster(_) => "Cluster",
        })
    }
}

/// An answer to `ROLE`, or to `CLUSTER NODES`: a line for each node, with its flags in the third
/// place, among which `myself` is that of the node asked.
fn is_primary(answer: &Value) -> bool {
    if let Value::Array(parts) = answer {
        return matches!(parts.first(), Some(Value::BulkString(role)) if role == b"master");
    }
    let text: String = redis::from_redis_value_ref(answer).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split(' ').nth(2))
        .find(|flags| flags.split(',').any(|flag| flag == "myself"))
        .is_some_and(|flags| flags.split(',').any(|flag| flag == "master"))
}

/// First and last slot, and host and port of their primary; more is told behind these.
fn range_of(range: Vec<Value>) -> Result<(u32, u32, (String, u16)), RedisError> {
    let mut range = range.into_iter();
    let mut next = || range.next().unwrap_or(Value::Nil);
    let (first, last, primary) = (next(), next(), next());
    let primary: Vec<Value> = redis::from_redis_value(primary)?;
    let mut primary = primary.into_iter();
    let mut part = || primary.next().unwrap_or(Value::Nil);
    let address = (
        redis::from_redis_value(part())?,
        redis::from_redis_value(part())?,
    );
    Ok((
        redis::from_redis_value(first)?,
        redis::from_redis_value(last)?,
        address,
    ))
}

fn sort(error: RedisError) -> CallError {
    if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) {
        CallError::Forgotten
    } else {
        CallError::Failed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(address: &Address) -> Vec<String> {
        address
            .nodes
            .iter()
            .map(|node| node.addr().to_string())
            .collect()
    }

    #[test]
    fn nodes_take_the_credentials_of_the_url() {
        let address = Address::parse(
            Some("redis://app:secret@lantern:6379"),
            Some("lantern-0:6379, lantern-1:6380"),
        )
        .unwrap()
        .unwrap();
        assert_eq!(hosts(&address), ["lantern-0:6379", "lantern-1:6380"]);
        for node in &address.nodes {
            assert_eq!(node.redis_settings().username(), Some("app"));
            assert_eq!(node.redis_settings().password(), Some("secret"));
        }
    }

    #[test]
    fn a_url_alone_is_enough_and_none_means_no_cache() {
        let address = Address::parse(Some("redis://lantern:7000"), None)
            .unwrap()
            .unwrap();
        assert_eq!(hosts(&address), ["lantern:7000"]);
        assert!(Address::parse(None, Some("")).unwrap().is_none());
        assert!(Address::parse(Some("lantern"), None).is_err());
    }

    #[test]
    fn a_demoted_node_is_noticed() {
        let role = |word: &str| Value::Array(vec![Value::BulkString(word.into())]);
        assert_eq!(Roles::of(&[role("master")]), Roles::AllPrimaries);
        assert_eq!(
            Roles::of(&[role("master"), role("slave")]),
            Roles::NotAllPrimaries
        );
        let nodes = |mine: &str| {
            let nodes = format!("a :1 master - 0 0 1 connected\nb :2 {mine} - 0 0 1 connected\n");
            Value::BulkString(nodes.into())
        };
        let (master, slave) = (nodes("myself,master"), nodes("myself,slave"));
        assert_eq!(
            Roles::of(std::slice::from_ref(&master)),
            Roles::AllPrimaries
        );
        assert_eq!(Roles::of(&[master, slave]), Roles::NotAllPrimaries);
    }
}

//! Data services as they are read and acted upon: not through the API server, but over their own
//! protocols.
//!
//! A plan says where they are ([`Sources`]), the controller polls them in the background, and the
//! next plan finds the last answers with their age ([`Snapshots`]). A service that hangs holds no
//! pass.

use std::{fmt, net::IpAddr};

use jiff::Timestamp;

use crate::{
    broker, cache,
    question::{self, QuestionsSource},
    worker,
};

/// What an object wants to be read. Two objects that want the same share one poll.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    pub rabbitmq: Option<RabbitMqSource>,
    pub valkey: Option<ValkeySource>,
    pub workers: Option<WorkersSource>,
    pub questions: Option<QuestionsSource>,
}

/// The management interface of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RabbitMqSource {
    /// Name or address.
    pub host: String,
    pub port: u16,
    pub vhost: String,
    pub user: String,
    pub password: Password,
}

/// All nodes of one cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ValkeySource {
    pub nodes: Vec<ValkeyNode>,
    pub port: u16,
    pub user: String,
    pub password: Password,
}

/// One node: its pod, and where that answers while it has an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValkeyNode {
    pub name: String,
    pub address: Option<IpAddr>,
    pub zone: Option<String>,
}

/// The pods of a worker pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkersSource {
    /// Name and address of each.
    pub pods: Vec<(String, IpAddr)>,
    pub port: u16,
}

impl WorkersSource {
    #[must_use]
    pub fn has(&self, pod: &str) -> bool {
        self.pods.iter().any(|(name, _)| name == pod)
    }
}

/// What was read last of each source that an object wants to be read. None until the first attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshots {
    pub rabbitmq: Option<Snapshot<broker::Reading>>,
    pub valkey: Option<Snapshot<cache::Reading>>,
    pub workers: Option<Snapshot<worker::Reading>>,
    pub questions: Option<Snapshot<question::Reading>>,
}

/// Something to be done to a data service over its own protocol.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    RabbitMq {
        source: RabbitMqSource,
        action: broker::Action,
    },
    Valkey(Box<ValkeyErrand>),
}

/// An action on a cache, with all that tells whether it is still right when it is done: see
/// [`cache::is_still_due`].
#[derive(Clone, Debug, PartialEq)]
pub struct ValkeyErrand {
    pub source: ValkeySource,
    pub shape: cache::Shape,
    pub formation: Option<cache::Formation>,
    pub action: cache::Action,
}

/// The last answer of a source, and why there was none since.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot<T> {
    pub answer: Option<Answer<T>>,
    /// Why the last attempt failed, if it did.
    pub failure: Option<ReadFailure>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Answer<T> {
    /// When it came.
    pub at: Timestamp,
    pub value: T,
}

/// Why a source gave no answer, in words that stay the same while the cause does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFailure {
    /// No connection, or no answer in time.
    Unreachable(String),
    /// The user or the password is not accepted.
    CredentialsRefused(String),
    /// An answer that makes no sense, or says that it went wrong.
    Failed(String),
}

impl fmt::Display for ReadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(cause) => write!(f, "does not answer: {cause}"),
            Self::CredentialsRefused(cause) => write!(f, "refuses the credentials: {cause}"),
            Self::Failed(cause) => write!(f, "answers with an error: {cause}"),
        }
    }
}

/// Never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Password(String);

impl Password {
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, to be sent to the service and nowhere else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

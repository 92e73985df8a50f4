//! What was read of a broker, without judgement.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::worker::History;

/// What a RabbitMQ broker answered, as far as it is looked at. Permissions, policies and queues are
/// those of one virtual host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Version of the server, `4.3.6`.
    pub version: String,
    /// Resource alarms in force on any node: while there is one, publishers are blocked.
    pub alarms: BTreeSet<Alarm>,
    /// Names of all virtual hosts.
    pub vhosts: BTreeSet<String>,
    /// All users by name.
    pub users: BTreeMap<String, User>,
    /// By name of the user.
    pub permissions: BTreeMap<String, Permission>,
    /// By name.
    pub policies: BTreeMap<String, Policy>,
    /// By name.
    pub queues: BTreeMap<String, Queue>,
    /// What was told of the queues before: filled by who polls.
    pub history: History,
}

/// A resource that has run short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alarm {
    Disk,
    Memory,
}

/// A user of the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// `administrator` and the like, sorted.
    pub tags: BTreeSet<String>,
    /// As [`password_hash`](super::password_hash) gives it.
    pub password_hash: String,
}

/// What a user may do in the virtual host: regular expressions of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    pub configure: String,
    pub write: String,
    pub read: String,
}

/// A policy: what holds for the queues whose names match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Policy {
    /// Regular expression of queue names.
    pub pattern: String,
    /// `quorum_queues` or another word of the broker's.
    pub apply_to: String,
    /// The one with the highest holds where several match.
    pub priority: i64,
    pub definition: BTreeMap<String, Argument>,
}

/// Value of a policy's key or of a queue's argument: the kinds that the broker has for them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Argument {
    Flag(bool),
    Number(i64),
    Text(String),
}

/// A queue, and what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// `quorum`, `classic`, `stream`.
    pub kind: String,
    pub durable: bool,
    /// As declared; the broker refuses to change them.
    pub arguments: BTreeMap<String, Argument>,
    pub statistics: QueueStatistics,
}

/// Counts of one queue. None is a count that the broker did not tell, which is not zero: a total is
/// told once it is above zero. Totals start anew with the broker's process and grow until it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStatistics {
    /// Messages that wait for a consumer.
    pub ready: Option<u64>,
    /// Messages handed to a consumer that has not settled them.
    pub unacknowledged: Option<u64>,
    /// Consumers that are attached.
    pub consumers: Option<u64>,
    /// Messages that clients published. What came from another queue as a dead letter is not counted.
    pub published_total: Option<u64>,
    /// Messages handed to consumers that settle them themselves, repetitions included.
    pub delivered_total: Option<u64>,
    /// Messages settled for good by a consumer.
    pub acknowledged_total: Option<u64>,
    /// Messages handed out again.
    pub redelivered_total: Option<u64>,
    /// Messages whose time in the queue was over. RabbitMQ up to 4.3 counts them for a whole node only.
    pub expired_total: Option<u64>,
    /// Messages passed on as dead letters, whatever the cause. As `expired_total`.
    pub dead_lettered_total: Option<u64>,
}

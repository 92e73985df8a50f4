//! What is declared on a broker, as its `/api/definitions` says it.

use std::collections::{BTreeMap, BTreeSet};

use orlop_plan::broker::{
    Reading,
    reading::{Argument, Permission, Policy, Queue, QueueStatistics, User},
};
use orlop_plan::worker::History;
use serde::Deserialize;

/// The whole answer, as far as it is looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Definitions {
    rabbitmq_version: String,
    #[serde(default)]
    vhosts: Vec<Named>,
    #[serde(default)]
    users: Vec<DefinedUser>,
    #[serde(default)]
    permissions: Vec<DefinedPermission>,
    #[serde(default)]
    policies: Vec<DefinedPolicy>,
    #[serde(default)]
    queues: Vec<DefinedQueue>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

#[derive(Debug, Deserialize)]
struct DefinedUser {
    name: String,
    tags: Tags,
    /// Absent for users of other means than a password.
    #[serde(default)]
    password_hash: String,
}

/// A list; text with commas from versions before 3.9.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Tags {
    List(BTreeSet<String>),
    Text(String),
}

#[derive(Debug, Deserialize)]
struct DefinedPermission {
    user: String,
    vhost: String,
    #[serde(flatten)]
    permission: Permission,
}

#[derive(Debug, Deserialize)]
struct DefinedPolicy {
    vhost: String,
    name: String,
    #[serde(flatten)]
    policy: Policy,
}

#[derive(Debug, Deserialize)]
struct DefinedQueue {
    vhost: String,
    name: String,
    durable: bool,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    arguments: BTreeMap<String, Argument>,
}

impl Definitions {
    /// What is told of one virtual host, and of the broker as a whole. Nothing is known of alarms.
    pub(super) fn reading(self, vhost: &str) -> Reading {
        let Self {
            rabbitmq_version,
            vhosts,
            users,
            permissions,
            policies,
            queues,
        } = self;
        let permissions = permissions.into_iter().filter(|it| it.vhost == vhost);
        let policies = policies.into_iter().filter(|it| it.vhost == vhost);
        let queues = queues.into_iter().filter(|it| it.vhost == vhost);
        Reading {
            version: rabbitmq_version,
            alarms: BTreeSet::new(),
            vhosts: vhosts.into_iter().map(|it| it.name).collect(),
            users: users.into_iter().map(user).collect(),
            permissions: permissions.map(|it| (it.user, it.permission)).collect(),
            policies: policies.map(|it| (it.name, it.policy)).collect(),
            queues: queues.map(queue).collect(),
            history: History::default(),
        }
    }
}

fn user(defined: DefinedUser) -> (String, User) {
    let tags = match defined.tags {
        Tags::List(tags) => tags,
        Tags::Text(text) => text
            .split(',')
            .filter(|tag| !tag.is_empty())
            .map(str::to_owned)
            .collect(),
    };
    let user = User {
        tags,
        password_hash: defined.password_hash,
    };
    (defined.name, user)
}

fn queue(defined: DefinedQueue) -> (String, Queue) {
    let queue = Queue {
        kind: defined.kind,
        durable: defined.durable,
        arguments: defined.arguments,
        statistics: QueueStatistics::default(),
    };
    (defined.name, queue)
}

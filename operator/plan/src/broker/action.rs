//! What can be done to a broker. Each action says how something shall be, so doing it twice is
//! doing it once. None of them removes a message: RabbitMQ cannot delete a quorum queue on the
//! condition that it is empty, and between a look and a deletion a message may come.

use std::fmt;

use super::reading::{Permission, Policy, User};

/// One change of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    PutVhost,
    PutUser {
        name: String,
        user: User,
    },
    PutPermission {
        user: String,
        permission: Permission,
    },
    PutPolicy {
        name: String,
        policy: Policy,
    },
    DeletePolicy {
        name: String,
    },
    /// Durable, of type quorum, without further arguments: those could never be changed.
    DeclareQueue {
        name: String,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PutVhost => f.write_str("make the virtual host"),
            Self::PutUser { name, .. } => write!(f, "set user '{name}'"),
            Self::PutPermission { user, .. } => write!(f, "set the rights of user '{user}'"),
            Self::PutPolicy { name, .. } => write!(f, "set policy '{name}'"),
            Self::DeletePolicy { name } => write!(f, "delete policy '{name}'"),
            Self::DeclareQueue { name } => write!(f, "declare queue '{name}'"),
        }
    }
}

//! What the database says, in words that concern the client.

use deadpool_postgres::PoolError;
use thiserror::Error;
use tokio_postgres::error::SqlState;

use super::constraint::{Broken, Constraints};

#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("there is no such thing")]
    NotFound,
    /// The version that the thing has is not one that the client knows.
    #[error("the thing was changed meanwhile")]
    Changed,
    #[error("the thing is in conflict with another one: {0}")]
    Conflict(String),
    /// A reference in the body leads nowhere.
    #[error("a reference leads nowhere: {0}")]
    Dangling(String),
    #[error("a request with this Idempotency-Key is under way")]
    KeyInUse,
    #[error("the Idempotency-Key was used for another request")]
    KeyReused,
    /// The same request may succeed later.
    #[error("the database cannot do it now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the database did not do what it was asked")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(code) if !is_transient(code) => Self::Internal(Box::new(error)),
            // Without a code it is the connection that failed.
            _ => Self::Unavailable(Box::new(error)),
        }
    }
}

impl StoreError {
    /// For statements that change rows, whose constraints the client may have broken.
    pub(super) fn of_write(error: tokio_postgres::Error, constraints: &Constraints) -> Self {
        let name = error.as_db_error().and_then(|told| told.constraint());
        match (error.code(), name.and_then(|name| constraints.get(name))) {
            (Some(&SqlState::UNIQUE_VIOLATION), Some(Broken::Unique { told })) => {
                Self::Conflict(told.clone())
            }
            (Some(&SqlState::FOREIGN_KEY_VIOLATION), Some(Broken::Reference { dangling, .. })) => {
                Self::Dangling(dangling.clone())
            }
            _ => error.into(),
        }
    }

    /// For deletions, which break references from elsewhere.
    pub(super) fn of_deletion(error: tokio_postgres::Error, constraints: &Constraints) -> Self {
        let name = error.as_db_error().and_then(|told| told.constraint());
        match (error.code(), name.and_then(|name| constraints.get(name))) {
            (Some(&SqlState::FOREIGN_KEY_VIOLATION), Some(Broken::Reference { held, .. })) => {
                Self::Conflict(held.clone())
            }
            (Some(&SqlState::FOREIGN_KEY_VIOLATION), _) => {
                Self::Conflict("something that is declared no more still refers to it".into())
            }
            _ => error.into(),
        }
    }
}

/// Whether the same statement may succeed later (PostgreSQL, appendix A).
fn is_transient(code: &SqlState) -> bool {
    const CLASSES: [&str; 4] = [
        "08", // connection
        "40", // rolled back: serialization, deadlock
        "53", // resources: connections, disk, memory
        "57", // operator: shutdown, statement timeout
    ];
    CLASSES.contains(&&code.code()[..2])
        || *code == SqlState::LOCK_NOT_AVAILABLE
        || *code == SqlState::READ_ONLY_SQL_TRANSACTION
        || *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_succeed_later_is_told_from_what_is_wrong() {
        for code in [
            SqlState::QUERY_CANCELED,
            SqlState::ADMIN_SHUTDOWN,
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::LOCK_NOT_AVAILABLE,
        ] {
            assert!(is_transient(&code), "{code:?}");
        }
        for code in [
            SqlState::SYNTAX_ERROR,
            SqlState::UNDEFINED_TABLE,
            SqlState::UNIQUE_VIOLATION,
        ] {
            assert!(!is_transient(&code), "{code:?}");
        }
    }
}

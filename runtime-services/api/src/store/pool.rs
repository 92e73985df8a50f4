//! Connections to the database.

use std::time::Duration;

use deadpool_postgres::{BuildError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use orlop_contract::api::ApiConfig;
use thiserror::Error;
use tokio_postgres::{NoTls, config::SslMode};

/// How long a request waits for a connection, free or new: the rest of its time is for statements.
const WAIT: Duration = Duration::from_secs(2);
/// How long a peer that does not acknowledge what was sent counts as alive.
const SILENCE: Duration = Duration::from_secs(5);
/// How long a row may be waited for that another transaction holds.
const LOCK_MILLIS: u32 = 3_000;
/// A transaction whose process is gone or stuck lets go of its locks.
const IDLE_MILLIS: u32 = 15_000;

#[derive(Debug, Error)]
pub(crate) enum PoolError {
    // The source would show the URL, and with it the password.
    #[error("DATABASE_URL is not an address such as postgres://user:password@host:5432/database")]
    Url,
    #[error("DATABASE_URL asks for TLS, which does not work yet: leave `sslmode` out")]
    Tls,
    #[error("failed to make the pool")]
    Build(#[from] BuildError),
}

/// A pool of at most `size` connections, none of which is opened before it is needed.
///
/// # Errors
/// When the address cannot be used.
pub(crate) fn make(url: &str, config: &ApiConfig, size: usize) -> Result<Pool, PoolError> {
    let mut database: tokio_postgres::Config = url.parse().map_err(|_| PoolError::Url)?;
    match database.get_ssl_mode() {
        SslMode::Disable | SslMode::Prefer => {}
        _ => return Err(PoolError::Tls),
    }
    let settings = format!(
        "-c search_path={} -c timezone=UTC -c statement_timeout={} -c lock_timeout={LOCK_MILLIS} \
         -c idle_in_transaction_session_timeout={IDLE_MILLIS}",
        config.schema, config.limits.statement_millis
    );
    let options = match database.get_options() {
        Some(said) => format!("{said} {settings}"),
        None => settings,
    };
    database
        .options(options)
        .application_name("orlop-api")
        .connect_timeout(WAIT)
        .tcp_user_timeout(SILENCE);
    let manager = Manager::from_config(
        database,
        NoTls,
        ManagerConfig {
            // A connection that is known to be closed is not used; one that breaks later fails
            // one request.
            recycling_method: RecyclingMethod::Fast,
        },
    );
    Ok(Pool::builder(manager)
        .max_size(size)
        .wait_timeout(Some(WAIT))
        .create_timeout(Some(WAIT))
        .recycle_timeout(Some(WAIT))
        .runtime(Runtime::Tokio1)
        .build()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn an_address_that_cannot_be_used_is_refused_without_being_shown() {
        let config = fixture::config();
        let refused = |url: &str| make(url, &config, 1).unwrap_err().to_string();
        assert!(!refused("postgres://boat:secret@[").contains("secret"));
        assert!(refused("postgres://boat@harbour/db?sslmode=require").contains("TLS"));
        assert!(make("postgres://boat@harbour/db", &config, 1).is_ok());
    }
}

//! Connections to one node, and what their failures mean.

use std::{net::IpAddr, time::Duration};

use orlop_plan::ValkeySource;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo as _,
    RedisConnectionInfo, RedisError, ServerErrorKind, aio::MultiplexedConnection,
};

/// To connect and to authenticate. Nodes are one hop away.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);

pub(super) async fn connect(
    source: &ValkeySource,
    address: IpAddr,
) -> Result<MultiplexedConnection, RedisError> {
    let credentials = RedisConnectionInfo::default()
        .set_username(&source.user)
        .set_password(source.password.reveal())
        .set_skip_set_lib_name();
    let info = ConnectionAddr::Tcp(address.to_string(), source.port)
        .into_connection_info()?
        .set_redis_settings(credentials);
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_DEADLINE))
        // The caller sets a deadline for all that it asks together.
        .set_response_timeout(None);
    Client::open(info)?
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

/// Whether the user or the password is not accepted.
pub(super) fn is_refusal(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("WRONGPASS" | "NOAUTH" | "NOPERM"))
}

pub(super) fn is_loading(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::BusyLoading)
}

/// In words that stay the same while the cause does.
pub(super) fn told(error: &RedisError) -> String {
    if error.is_connection_refusal() {
        "connection refused".to_owned()
    } else if error.is_timeout() {
        "no answer in time".to_owned()
    } else if error.is_connection_dropped() {
        "connection closed".to_owned()
    } else {
        error.category().to_owned()
    }
}

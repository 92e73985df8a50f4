//! Connections to the broker, and what can be wrong with them.

use std::{error::Error as _, time::Duration};

use lapin::{
    Connection, ConnectionProperties, ErrorKind,
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
    uri::AMQPUri,
};
use orlop_contract::worker::{BrokerError, BrokerErrorKind};
use thiserror::Error;
use tokio::time::timeout;

/// A broker under load answers the handshake late, one that is gone not at all.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Why no jobs are taken. Over when another connection is open.
#[derive(Debug, Error)]
pub(crate) enum SessionError {
    #[error("failed to connect to the broker at {address}")]
    Connect {
        address: String,
        source: lapin::Error,
    },
    #[error("failed to connect to the broker at {address} within {CONNECT_LIMIT:?}")]
    Silent { address: String },
    #[error("failed to find queue '{queue}'")]
    Queue { queue: String, source: lapin::Error },
    #[error("failed to consume from queue '{queue}'")]
    Consume { queue: String, source: lapin::Error },
    #[error("the broker ended the consumption of queue '{queue}': was the queue deleted?")]
    Cancelled { queue: String },
    #[error("the connection to the broker is lost")]
    Lost(#[source] lapin::Error),
}

impl SessionError {
    pub(crate) fn kind(&self) -> BrokerErrorKind {
        match self {
            Self::Silent { .. } => BrokerErrorKind::Unreachable,
            Self::Cancelled { .. } => BrokerErrorKind::QueueMissing,
            Self::Connect { source, .. }
            | Self::Queue { source, .. }
            | Self::Consume { source, .. }
            | Self::Lost(source) => kind(source),
        }
    }

    pub(crate) fn told(&self) -> BrokerError {
        let mut message = self.to_string();
        if let Some(source) = self.source() {
            message = format!("{message}: {source}");
        }
        BrokerError {
            kind: self.kind(),
            message,
        }
    }
}

fn kind(error: &lapin::Error) -> BrokerErrorKind {
    match error.kind() {
        ErrorKind::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => BrokerErrorKind::QueueMissing,
            // What RabbitMQ answers to a virtual host that does not exist.
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)
            | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => BrokerErrorKind::AccessRefused,
            AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED) => BrokerErrorKind::Unreachable,
            _ => BrokerErrorKind::Other,
        },
        ErrorKind::IOError(_)
        | ErrorKind::MissingHeartbeatError
        | ErrorKind::InvalidChannelState(..)
        | ErrorKind::InvalidConnectionState(_) => BrokerErrorKind::Unreachable,
        _ => BrokerErrorKind::Other,
    }
}

/// `name` is shown in the broker's list of connections.
pub(crate) async fn connect(uri: &AMQPUri, name: &str) -> Result<Connection, SessionError> {
    let address = format!("{}:{}", uri.authority.host, uri.authority.port);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    match timeout(
        CONNECT_LIMIT,
        Connection::connect_uri(uri.clone(), properties),
    )
    .await
    {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(source)) => Err(SessionError::Connect { address, source }),
        Err(_) => Err(SessionError::Silent { address }),
    }
}

/// Says goodbye. The broker has read everything sent before once this returns.
pub(crate) async fn close(connection: &Connection) -> Result<(), lapin::Error> {
    /// AMQP 0-9-1, section 1.2: success.
    const REPLY_SUCCESS: u16 = 200;
    connection.close(REPLY_SUCCESS, "".into()).await
}

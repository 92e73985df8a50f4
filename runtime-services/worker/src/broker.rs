//! Connections to the broker, and what can be wrong with them.

use std::{
    error::Error as _,
    io,
    net::{Shutdown, TcpStream},
    os::fd::{AsFd as _, BorrowedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lapin::{
    AsyncTcpStream, Connection, ConnectionProperties, ErrorKind,
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
    tcp::AMQPUriTcpExt as _,
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
    let line = Line::default();
    match timeout(CONNECT_LIMIT, shake_hands(uri, name, line.clone())).await {
        Ok(Ok(connection)) => {
            line.let_go();
            Ok(connection)
        }
        Ok(Err(source)) => Err(SessionError::Connect { address, source }),
        Err(_) => {
            line.hang_up();
            Err(SessionError::Silent { address })
        }
    }
}

async fn shake_hands(uri: &AMQPUri, name: &str, line: Line) -> Result<Connection, lapin::Error> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let runtime = lapin::runtime::default_runtime()?;
    // The same as the closure is given, but of a type that is known in it.
    let known = runtime.clone();
    let connect = async move |uri: AMQPUri, _| {
        let stream = uri.connect_async(&known).await?;
        if let AsyncTcpStream::Plain(stream) = &stream {
            line.hold(stream.get_ref().as_fd())?;
        }
        Ok(stream)
    };
    Connection::connector(uri.clone(), runtime, connect, properties).await
}

/// A second hand on the socket while hands are shaken. lapin goes on waiting in a thread when nobody
/// waits for it any more, and with a broker that hangs there would be one more for each attempt.
#[derive(Clone, Debug, Default)]
struct Line(Arc<Mutex<Option<TcpStream>>>);

impl Line {
    fn hold(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        *self.lock() = Some(socket.try_clone_to_owned()?.into());
        Ok(())
    }

    fn let_go(&self) {
        self.lock().take();
    }

    /// The other end need not agree: whoever reads sees the end.
    fn hang_up(&self) {
        if let Some(socket) = self.lock().take()
            && let Err(error) = socket.shutdown(Shutdown::Both)
        {
            tracing::debug!(%error, "the line was dead already");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<TcpStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says goodbye. The broker has read everything sent before once this returns.
pub(crate) async fn close(connection: &Connection) -> Result<(), lapin::Error> {
    /// AMQP 0-9-1, section 1.2: success.
    const REPLY_SUCCESS: u16 = 200;
    connection.close(REPLY_SUCCESS, "".into()).await
}

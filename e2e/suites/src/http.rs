//! One request over one connection, without retries.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;

/// No answer of a test takes longer on purpose.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// Value of a header, empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// `GET path` over a connection of its own.
///
/// # Errors
/// When there is no whole answer in time.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    let asked = async {
        let mut connection = connect(address).await?;
        ask(&mut connection, path).await
    };
    tokio::time::timeout(TIMEOUT, asked)
        .await
        .with_context(|| format!("no answer from {address}{path} within {TIMEOUT:?}"))?
}

pub(crate) type Connection = SendRequest<Empty<Bytes>>;

pub(crate) async fn connect(address: SocketAddr) -> Result<Connection> {
    connect_from(TcpSocket::new_v4()?, address).await
}

/// As [`connect`], over a socket that may be bound.
pub(crate) async fn connect_from(socket: TcpSocket, address: SocketAddr) -> Result<Connection> {
    let stream = socket
        .connect(address)
        .await
        .with_context(|| format!("failed to connect to {address}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender; what goes wrong on it is told to the request under way.
    tokio::spawn(connection);
    Ok(sender)
}

pub(crate) async fn ask(connection: &mut Connection, path: &str) -> Result<Answer> {
    let request = Request::get(path)
        .header("host", "suites.test")
        .body(Empty::new())?;
    let response = connection
        .send_request(request)
        .await
        .context("failed to send the request")?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.context("the answer broke off")?;
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
    })
}

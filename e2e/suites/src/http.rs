//! One request over one connection, without retries.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
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
    send(address, Request::get(path).body(String::new())?).await
}

/// Any request over a connection of its own.
///
/// # Errors
/// When there is no whole answer in time.
pub async fn send(address: SocketAddr, request: Request<String>) -> Result<Answer> {
    let what = format!("{} {address}{}", request.method(), request.uri());
    let sent = async {
        let mut connection = connect(address).await?;
        exchange(&mut connection, request).await
    };
    tokio::time::timeout(TIMEOUT, sent)
        .await
        .with_context(|| format!("no answer to {what} within {TIMEOUT:?}"))?
}

pub(crate) type Connection = SendRequest<Full<Bytes>>;

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
    exchange(connection, Request::get(path).body(String::new())?).await
}

async fn exchange(connection: &mut Connection, request: Request<String>) -> Result<Answer> {
    let mut request = request.map(|body| Full::new(Bytes::from(body)));
    request
        .headers_mut()
        .insert("host", HeaderValue::from_static("suites.test"));
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

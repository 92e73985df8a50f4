//! A connection to something that speaks HTTP: one request after another, nothing kept.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::{Bytes, BytesMut};
use http::{
    Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use orlop_plan::ReadFailure;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinHandle};

/// A thousand queues are told in about a megabyte.
const BODY_MAX: usize = 8 << 20;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Ends when dropped, with whatever is under way.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    transport: JoinHandle<hyper::Result<()>>,
    host: String,
    authorization: Option<String>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.transport.abort();
    }
}

impl Connection {
    pub(crate) async fn open(
        host: &str,
        port: u16,
        credentials: Option<(&str, &str)>,
    ) -> Result<Self, ReadFailure> {
        let stream = TcpStream::connect((host, port))
            .await
            .map_err(|error| ReadFailure::Unreachable(format!("port {port}: {error}")))?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        Ok(Self {
            sender,
            transport: tokio::spawn(connection),
            host: host.to_owned(),
            authorization: credentials.map(|(user, password)| basic(user, password)),
        })
    }

    /// Is called by another name than that to which it was opened.
    pub(crate) fn named(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// The whole answer.
    pub(crate) async fn ask(
        &mut self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ReadFailure> {
        let (status, body) = self.send(method, path, body).await?;
        let body = Limited::new(body, BODY_MAX).collect().await;
        let body = body.map_err(|error| {
            ReadFailure::Failed(format!("an answer that is too long or broke off: {error}"))
        })?;
        Ok(Answer {
            status,
            body: body.to_bytes(),
        })
    }

    /// The beginning of the answer: so many bytes, and perhaps the rest of a piece.
    pub(crate) async fn peek(&mut self, path: &str, bytes: usize) -> Result<Answer, ReadFailure> {
        let (status, mut body) = self.send(&Method::GET, path, None).await?;
        let mut begin = BytesMut::new();
        while begin.len() < bytes {
            let Some(frame) = body.frame().await else {
                break;
            };
            let frame = frame.map_err(|error| broken(&error))?;
            if let Ok(data) = frame.into_data() {
                begin.extend_from_slice(&data);
            }
        }
        Ok(Answer {
            status,
            body: begin.freeze(),
        })
    }

    async fn send(
        &mut self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Incoming), ReadFailure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host)
            .header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| {
                ReadFailure::Failed(format!("a request that cannot be made: {error}"))
            })?;
        self.sender.ready().await.map_err(|error| broken(&error))?;
        let response = self.sender.send_request(request).await;
        let (head, body) = response.map_err(|error| broken(&error))?.into_parts();
        Ok((head.status, body))
    }
}

/// RFC 7617.
fn basic(user: &str, password: &str) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{user}:{password}"))
    )
}

fn broken(error: &hyper::Error) -> ReadFailure {
    ReadFailure::Unreachable(error.to_string())
}

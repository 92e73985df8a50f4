//! A stand-in for the API server, for the few tests that are about the calls themselves.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tower::service_fn;

/// A call as the server sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    /// Method, path and query.
    pub(crate) line: String,
    /// None where there is no body.
    pub(crate) body: Value,
}

/// Status code and body.
pub(crate) type Reply = (u16, Value);

/// A client whose calls are answered by the function.
pub(crate) fn client(answer: impl Fn(Call) -> Reply + Send + Sync + 'static) -> Client {
    let answer = Arc::new(answer);
    let service = service_fn(move |request: Request<Body>| {
        let answer = Arc::clone(&answer);
        async move {
            let line = format!("{} {}", request.method(), request.uri());
            let bytes = request.into_body().collect_bytes().await.unwrap();
            let body = serde_json::from_slice(&bytes).unwrap_or_default();
            let (code, reply) = answer(Call { line, body });
            let reply = Body::from(serde_json::to_vec(&reply).unwrap());
            Ok::<_, Infallible>(Response::builder().status(code).body(reply).unwrap())
        }
    });
    Client::new(service, "default")
}

/// Answers with the given replies in turn and keeps the calls.
#[derive(Clone, Default)]
pub(crate) struct Script {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Script {
    pub(crate) fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        let script = Self::default();
        script.replies.lock().unwrap().extend(replies);
        script
    }

    pub(crate) fn client(&self) -> Client {
        let Self { replies, calls } = self.clone();
        client(move |call| {
            let reply = replies.lock().unwrap().pop_front();
            let reply = reply.unwrap_or_else(|| panic!("unexpected call {call:?}"));
            calls.lock().unwrap().push(call);
            reply
        })
    }

    /// The calls that were made, once all replies are given.
    pub(crate) fn calls(&self) -> Vec<Call> {
        assert_eq!(self.replies.lock().unwrap().len(), 0, "calls are missing");
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.calls().into_iter().map(|call| call.line).collect()
    }
}

pub(crate) fn failure(code: u16, message: &str) -> Reply {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        _ => "Other",
    };
    let body = json!({
        "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message
    });
    (code, body)
}

/// An object of which only the metadata matter.
pub(crate) fn metadata(metadata: &Value) -> Reply {
    let body = json!({"apiVersion": "v1", "kind": "PartialObjectMetadata", "metadata": metadata});
    (200, body)
}

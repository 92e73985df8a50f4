//! The client of the API server: deadlines on everything, every request counted, no retries of its
//! own (the queue retries) and no throttling (concurrency is bounded, and the server has priority
//! and fairness).

use std::{
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderValue, Method, Request, Response, header::USER_AGENT};
use kube::{Client, Config, client::ClientBuilder, core::Status};
use prometheus_client::metrics::{counter::Counter, family::Family};
use thiserror::Error;
use tower::{Layer, Service};

use crate::{
    cache::WATCH_LIFETIME,
    metrics::{Metrics, RequestLabels},
};

/// What audit logs show.
const AGENT: &str = concat!("orlop-operator/", env!("CARGO_PKG_VERSION"));
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// A call other than a watch: admission webhooks may take ten seconds each by default, and a server
/// that has not answered after three of them will not.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// Silence on a connection: nothing is silent for longer than a watch that sees no change.
const SILENCE_DEADLINE: Duration = WATCH_LIFETIME.saturating_add(Duration::from_secs(10));

/// Why a call has no result.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    #[error("no answer from the API server within {} s", .0.as_secs())]
    Deadline(Duration),
    #[error("the API server answered {}: {}", .0.code, .0.message)]
    Answered(Box<Status>),
    #[error("failed to reach the API server")]
    Unreachable(#[source] Box<kube::Error>),
}

impl CallError {
    /// Somebody else was quicker.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Answered(status) if status.code == 409)
    }

    /// The object would not be valid.
    pub(crate) fn is_invalid(&self) -> bool {
        matches!(self, Self::Answered(status) if status.code == 422)
    }

    /// Nothing can be made in the namespace any more, since it is being deleted.
    pub(crate) fn is_terminating(&self) -> bool {
        let Self::Answered(status) = self else {
            return false;
        };
        let mut causes = status.details.iter().flat_map(|details| &details.causes);
        status.code == 403 && causes.any(|cause| cause.reason == "NamespaceTerminating")
    }
}

impl From<kube::Error> for CallError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Answered(status),
            other => Self::Unreachable(Box::new(other)),
        }
    }
}

/// The answer to a call, or an error once its deadline has passed.
pub(crate) async fn call<T>(
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, CallError> {
    within(CALL_DEADLINE, request).await
}

/// As [`call`], with another deadline.
pub(crate) async fn within<T>(
    deadline: Duration,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(deadline, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(CallError::Deadline(deadline)),
    }
}

/// # Errors
/// When the configuration cannot be used.
pub(crate) fn connect(mut config: Config, metrics: &Metrics) -> kube::Result<Client> {
    config.connect_timeout = Some(CONNECT_DEADLINE);
    config.read_timeout = Some(SILENCE_DEADLINE);
    // Otherwise the idle time of a pooled connection counts against its next request.
    config.reset_reader_on_write = true;
    config.default_retry = false;
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(AGENT)));
    let count = Count {
        requests: metrics.requests.clone(),
    };
    Ok(ClientBuilder::try_from(config)?.with_layer(&count).build())
}

/// Counts requests by method and answer.
#[derive(Clone, Debug)]
struct Count {
    requests: Family<RequestLabels, Counter>,
}

#[derive(Clone, Debug)]
struct Counted<S> {
    inner: S,
    requests: Family<RequestLabels, Counter>,
}

impl<S> Layer<S> for Count {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            requests: self.requests.clone(),
        }
    }
}

impl<S, B, R> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let method = name(request.method());
        let requests = self.requests.clone();
        let answer = self.inner.call(request);
        async move {
            let answer = answer.await;
            let code = match &answer {
                Ok(response) => response.status().as_str().to_owned(),
                Err(_) => "<error>".to_owned(),
            };
            requests
                .get_or_create(&RequestLabels { code, method })
                .inc();
            answer
        }
        .boxed()
    }
}

const fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::PATCH => "PATCH",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "OTHER",
    }
}

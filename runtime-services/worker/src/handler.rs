//! The HTTP handler: one request is one attempt.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use lapin::types::ShortString;
use orlop_contract::{
    queue::DeadReason,
    worker::{ATTEMPT_REQUEST_HEADER, MESSAGE_ID_REQUEST_HEADER, QUEUE_REQUEST_HEADER},
};
use tokio::time::timeout;

use crate::{
    config::{HandlerSettings, Settings},
    message::{Message, clipped},
    retry::{Again, Failure, Outcome},
};

/// How much of an answer is read: enough for a sentence of why it failed. More than that costs the
/// connection, which is then opened anew.
const ANSWER_MAX: usize = 16 * 1024;

/// How much of an answer is told further.
const DETAIL_MAX: usize = 256;

/// Idle connections are closed before most servers do it, who take from 5 (Node) to 75 seconds.
const IDLE: Duration = Duration::from_secs(4);

/// Headers of the W3C Trace Context, passed on as they are.
const TRACE_HEADERS: [&str; 2] = ["traceparent", "tracestate"];

#[derive(Clone, Debug)]
pub(crate) struct Handler {
    client: Client<HttpConnector, Full<Bytes>>,
    settings: HandlerSettings,
    queue: ShortString,
}

impl Handler {
    pub(crate) fn new(settings: &Settings) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(settings.concurrency)
            .build(connector);
        Self {
            client,
            settings: settings.handler.clone(),
            queue: settings.queue.clone(),
        }
    }

    /// Posts the job and judges the answer. `attempt` is counted from 1.
    pub(crate) async fn attempt(&self, message: &Message, attempt: u32) -> Outcome {
        let limit = self.settings.timeout;
        match timeout(limit, self.exchange(self.request(message, attempt))).await {
            Ok(Ok(Answer {
                status,
                retry_after,
                body,
            })) => judge(status, retry_after, &body),
            Ok(Err(message)) => unanswered(message),
            Err(_) => unanswered(format!("handler gave no answer within {limit:?}")),
        }
    }

    fn request(&self, message: &Message, attempt: u32) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(message.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.settings.url.clone();
        let headers = request.headers_mut();
        headers.insert(ATTEMPT_REQUEST_HEADER, attempt.into());
        let queue = HeaderName::from_static(QUEUE_REQUEST_HEADER);
        insert(headers, queue, Some(self.queue.as_str().as_bytes()));
        let content_type = message.content_type().map(str::as_bytes);
        insert(headers, CONTENT_TYPE, content_type);
        let id = HeaderName::from_static(MESSAGE_ID_REQUEST_HEADER);
        insert(headers, id, message.id().map(str::as_bytes));
        for name in TRACE_HEADERS {
            insert(headers, HeaderName::from_static(name), message.text(name));
        }
        request
    }

    /// Sends and reads to the end; the error is a line that holds no more than the cause.
    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let host = self
            .settings
            .url
            .authority()
            .map_or("", |host| host.as_str());
        let response =
            self.client.request(request).await.map_err(|error| {
                format!("no answer from the handler at {host}: {}", chain(&error))
            })?;
        let (head, body) = response.into_parts();
        let body = beginning(body)
            .await
            .map_err(|error| format!("the handler's answer broke off: {}", chain(&error)))?;
        Ok(Answer {
            status: head.status,
            retry_after: retry_after(&head.headers),
            body,
        })
    }
}

struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

/// The body up to [`ANSWER_MAX`] bytes, or a frame more.
async fn beginning(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut read = Vec::new();
    while read.len() <= ANSWER_MAX
        && let Some(frame) = body.frame().await
    {
        if let Some(data) = frame?.data_ref() {
            read.extend_from_slice(data);
        }
    }
    Ok(read)
}

/// A header whose value HTTP cannot carry is left out: a job is not worse for it.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: Option<&[u8]>) {
    if let Some(Ok(value)) = value.map(HeaderValue::from_bytes) {
        headers.insert(name, value);
    }
}

/// `Retry-After` in seconds. Its other form, a date, is not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    seconds.parse().ok().map(Duration::from_secs)
}

fn judge(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Outcome {
    if status.is_success() {
        return Outcome::Done;
    }
    let again = match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            retry_after.map_or(Again::Soon, Again::After)
        }
        status if status.is_server_error() => retry_after.map_or(Again::Soon, Again::After),
        _ => Again::Never(DeadReason::Refused),
    };
    let body = String::from_utf8_lossy(body);
    Outcome::Failed(Failure {
        again,
        message: format!("handler answered {status}"),
        detail: clipped(body.trim(), DETAIL_MAX).to_owned(),
    })
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        line = format!("{line}: {source}");
        cause = source.source();
    }
    line
}

fn unanswered(message: String) -> Outcome {
    Outcome::Failed(Failure {
        again: Again::Soon,
        message,
        detail: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(status: u16, retry_after: Option<Duration>) -> Option<Again> {
        match judge(StatusCode::from_u16(status).unwrap(), retry_after, b"") {
            Outcome::Done => None,
            Outcome::Failed(failure) => Some(failure.again),
        }
    }

    #[test]
    fn the_status_says_whether_trying_again_may_help() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(again(status, None), None, "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert_eq!(again(status, None), Some(Again::Soon), "{status}");
        }
        for status in [301, 304, 400, 401, 404, 409, 410, 422] {
            assert_eq!(
                again(status, None),
                Some(Again::Never(DeadReason::Refused)),
                "{status}"
            );
        }
    }

    #[test]
    fn a_wait_that_is_asked_for_counts_only_where_trying_again_may_help() {
        let wait = Duration::from_secs(7);
        assert_eq!(again(503, Some(wait)), Some(Again::After(wait)));
        assert_eq!(again(429, Some(wait)), Some(Again::After(wait)));
        assert_eq!(
            again(404, Some(wait)),
            Some(Again::Never(DeadReason::Refused))
        );
    }

    #[test]
    fn a_failure_tells_the_status_and_the_beginning_of_the_body() {
        let body = format!(" no such customer \n{}", "x".repeat(1000));
        let Outcome::Failed(failure) = judge(StatusCode::NOT_FOUND, None, body.as_bytes()) else {
            panic!("a 404 is no success");
        };
        assert_eq!(failure.message, "handler answered 404 Not Found");
        assert!(failure.detail.starts_with("no such customer"));
        assert_eq!(failure.detail.len(), DETAIL_MAX);
    }

    #[test]
    fn only_seconds_are_read_as_a_wait() {
        let mut headers = HeaderMap::new();
        for (value, wait) in [
            ("3", Some(3)),
            (" 3 ", Some(3)),
            ("-3", None),
            ("soon", None),
        ] {
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            assert_eq!(
                retry_after(&headers),
                wait.map(Duration::from_secs),
                "{value}"
            );
        }
    }
}

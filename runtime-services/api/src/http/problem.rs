//! Problems (RFC 9457): every answer that is not what was asked for.

use std::error::Error;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde_json::{Value, json};

use crate::{
    request::{Fault, Place, Refusal},
    store::StoreError,
};

/// Before it, a client has no reason to try again.
const RETRY_AFTER: (&str, &str) = ("retry-after", "1");

#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// Last part of the type: what programs compare.
    name: &'static str,
    detail: String,
    faults: Vec<Fault>,
    header: Option<(&'static str, &'static str)>,
    /// Logged, not told.
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Problem {
    fn new(status: StatusCode, name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            name,
            detail: detail.into(),
            faults: Vec::new(),
            header: None,
            cause: None,
        }
    }

    pub(super) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "There is nothing at this address.",
        )
    }

    pub(super) fn forbidden(what: &str) -> Self {
        let detail = format!("No access rule of {what} allows this.");
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    pub(super) fn method(allowed: &'static str) -> Self {
        let detail = format!("The methods of this address are {allowed}.");
        Self {
            header: Some(("allow", allowed)),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
        }
    }

    pub(super) fn media_type(allowed: &'static str) -> Self {
        let detail = format!("The body must be {allowed}, not compressed.");
        Self {
            header: Some(("accept", allowed)),
            ..Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail)
        }
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let detail = format!("A body has at most {limit} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    }

    pub(super) fn cut_off(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(
                StatusCode::BAD_REQUEST,
                "cut-off",
                "The body did not come whole.",
            )
        }
    }

    pub(super) fn condition_missing() -> Self {
        Self::new(
            StatusCode::PRECONDITION_REQUIRED,
            "condition-missing",
            "If-Match is needed: the ETag of what was read, or * for whatever there is.",
        )
    }

    pub(super) fn header(name: &'static str, detail: &str) -> Self {
        let fault = Fault {
            place: Place::Header(name),
            detail: detail.into(),
        };
        Refusal::Query(vec![fault]).into()
    }

    pub(super) fn busy() -> Self {
        Self::unavailable("Too many requests are under way.")
    }

    pub(super) fn late() -> Self {
        Self::unavailable("The request took too long; a write may have taken effect.")
    }

    pub(super) fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Something went wrong here; the log tells what, by the trace id.",
            )
        }
    }

    fn unavailable(detail: &str) -> Self {
        Self {
            header: Some(RETRY_AFTER),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
        }
    }

    /// Once, where it ends: what clients do wrong is theirs.
    pub(super) fn log(&self) {
        let cause = self.cause.as_deref().map(|cause| cause as &dyn Error);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            tracing::warn!(error = cause, detail = self.detail, "cannot answer now");
        } else if self.status.is_server_error() {
            tracing::error!(error = cause, "failed to answer");
        }
    }

    pub(super) fn into_response(self, trace_id: &str) -> Response {
        let mut body = json!({
            "type": format!("tag:orlop.dev,2026:problem/{}", self.name),
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "traceId": trace_id,
        });
        if !self.faults.is_empty() {
            body["errors"] = self.faults.iter().map(told).collect();
        }
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some((name, value)) = self.header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

fn told(fault: &Fault) -> Value {
    let (place, name) = match &fault.place {
        Place::Pointer(pointer) => ("pointer", pointer.as_str()),
        Place::Parameter(parameter) => ("parameter", parameter.as_str()),
        Place::Header(header) => ("header", *header),
    };
    json!({place: name, "detail": fault.detail})
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, name, detail, faults) = match refusal {
            Refusal::Query(faults) => (
                StatusCode::BAD_REQUEST,
                "query",
                "The request cannot be understood.".into(),
                faults,
            ),
            Refusal::Json(what) => (
                StatusCode::BAD_REQUEST,
                "json",
                format!("The body is not JSON: {what}"),
                Vec::new(),
            ),
            Refusal::Body(faults) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "body",
                "The body is not allowed as it is.".into(),
                faults,
            ),
            Refusal::Forbidden { what } => return Self::forbidden(&what),
        };
        Self {
            faults,
            ..Self::new(status, name, detail)
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::not_found(),
            StoreError::Changed => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "changed",
                "It was changed meanwhile: read it again.",
            ),
            StoreError::Conflict(what) => {
                Self::new(StatusCode::CONFLICT, "conflict", sentence(&what))
            }
            StoreError::Dangling(what) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "dangling",
                sentence(&what),
            ),
            StoreError::KeyInUse => Self {
                header: Some(RETRY_AFTER),
                ..Self::new(
                    StatusCode::CONFLICT,
                    "key-in-use",
                    "A request with this Idempotency-Key is under way.",
                )
            },
            StoreError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "key-reused",
                "This Idempotency-Key came with another body before.",
            ),
            StoreError::Unavailable(cause) => Self {
                cause: Some(cause),
                ..Self::unavailable("The database cannot be asked now.")
            },
            StoreError::Internal(cause) => Self::internal(cause),
        }
    }
}

fn sentence(what: &str) -> String {
    let mut letters = what.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => String::new(),
    }
}

//! Answers with JSON and an entity tag.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;

use super::{header_text, problem::Problem};
use crate::request::etag;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// May be stored, but is asked for again each time: the tag makes that cheap.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// 200 with the body, or 304 if the client has it.
pub(super) fn json(headers: &HeaderMap, tag: &str, json: Bytes) -> Response {
    let known = header_text(headers, header::IF_NONE_MATCH.as_str());
    let mut response = if known.is_some_and(|known| etag::is_known(known, tag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Response::new(Body::from(json));
        response.headers_mut().insert(header::CONTENT_TYPE, JSON);
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, REVALIDATE);
    // A tag is hexadecimal digits and a dash in quotes.
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// What a write answers: the thing as it is now.
pub(super) fn written(status: StatusCode, tag: &str, json: Bytes) -> Result<Response, Problem> {
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::ETAG, super::header_value(tag)?);
    Ok(response)
}

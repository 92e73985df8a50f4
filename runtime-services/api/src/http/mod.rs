//! The API over HTTP: routes, conditions, answers.

mod answer;
mod problem;
mod read;
mod route;
mod write;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    response::Response,
};
use bytes::Bytes;
use orlop_contract::types::{Action, EntityId, Model};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::{
    config::Config,
    metrics::Metrics,
    openapi,
    request::{etag, trace::Trace},
    store::Store,
};
use problem::Problem;
use route::{Route, Routes};

/// Requests under way in one process: at 256 KiB a body they fit beside everything else, and those
/// beyond would only wait for a connection to the database until their time is over.
const REQUESTS_MAX: usize = 256;

/// All that answering needs.
#[derive(Debug)]
pub(crate) struct Api {
    routes: Routes,
    model: Arc<Model>,
    store: Arc<Store>,
    metrics: Metrics,
    openapi: Document,
    body_bytes: usize,
    limit: Duration,
    slots: Semaphore,
    /// Writes under way: they run to their end also when their client is gone.
    writes: TaskTracker,
}

#[derive(Debug)]
struct Document {
    tag: String,
    json: Bytes,
}

impl Api {
    pub(crate) fn new(
        config: &Config,
        model: Arc<Model>,
        store: Store,
        metrics: Metrics,
        writes: TaskTracker,
    ) -> Self {
        let json = Bytes::from(openapi::document(&config.said, &model).to_string());
        Self {
            routes: Routes::of(&config.said.base_path, &model),
            model,
            store: Arc::new(store),
            metrics,
            openapi: Document {
                tag: etag::of_bytes(&json),
                json,
            },
            body_bytes: config
                .said
                .limits
                .body_bytes
                .try_into()
                .unwrap_or(usize::MAX),
            limit: Duration::from_millis(u64::from(config.said.limits.request_millis)),
            slots: Semaphore::new(REQUESTS_MAX),
            writes,
        }
    }
}

pub(crate) fn router(api: Arc<Api>) -> Router {
    Router::new().fallback(serve).with_state(api)
}

async fn serve(State(api): State<Arc<Api>>, request: Request) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = api.routes.find(request.uri().path());
    let label = api.routes.label(&route);
    let traceparent = header_text(request.headers(), "traceparent");
    let trace = Trace::from_header(traceparent);
    let span = tracing::info_span!("request", trace_id = trace.id(), %method, route = label);

    let _in_flight = api.metrics.in_flight();
    let outcome = timeout(api.limit, answer(&api, route, request, &trace))
        .instrument(span.clone())
        .await
        .unwrap_or_else(|_| Err(Problem::late()));
    let response = outcome.unwrap_or_else(|problem| {
        span.in_scope(|| problem.log());
        problem.into_response(trace.id())
    });
    let elapsed = started.elapsed();
    span.in_scope(|| tracing::debug!(status = response.status().as_u16(), ?elapsed, "answered"));
    api.metrics
        .answered(label, &method, response.status(), elapsed);
    response
}

async fn answer(
    api: &Arc<Api>,
    route: Route,
    request: Request,
    trace: &Trace,
) -> Result<Response, Problem> {
    let _slot = api.slots.try_acquire().map_err(|_| Problem::busy())?;
    let (head, body) = request.into_parts();
    match route {
        Route::Description => match head.method {
            Method::GET | Method::HEAD => Ok(api.describe(&head.headers)),
            _ => Err(Problem::method("GET, HEAD")),
        },
        Route::Collection(entity) => match head.method {
            Method::GET | Method::HEAD => {
                api.allow(entity, Action::Read)?;
                api.list(entity, &head).await
            }
            Method::POST => {
                api.allow(entity, Action::Create)?;
                api.create(entity, &head.headers, body, trace).await
            }
            _ => Err(Problem::method("GET, HEAD, POST")),
        },
        Route::Item(entity, id) => match head.method {
            Method::GET | Method::HEAD => {
                api.allow(entity, Action::Read)?;
                api.get(entity, id, &head).await
            }
            Method::PATCH => {
                api.allow(entity, Action::Update)?;
                api.update(entity, id, &head.headers, body, trace).await
            }
            Method::DELETE => {
                api.allow(entity, Action::Delete)?;
                api.delete(entity, id, &head.headers, trace).await
            }
            _ => Err(Problem::method("GET, HEAD, PATCH, DELETE")),
        },
        Route::Nothing => Err(Problem::not_found()),
    }
}

impl Api {
    /// Denied unless a rule allows it.
    fn allow(&self, entity: EntityId, action: Action) -> Result<(), Problem> {
        if self.model.anonymous_may(entity, action) {
            return Ok(());
        }
        Err(Problem::forbidden(&self.model.entity(entity).name))
    }

    fn describe(&self, headers: &HeaderMap) -> Response {
        answer::json(headers, &self.openapi.tag, self.openapi.json.clone())
    }
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A header's value made of what is only letters, digits and signs.
fn header_value(text: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(text).map_err(Problem::internal)
}

/// The media type of a body, without its parameters.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    let whole = header_text(headers, header::CONTENT_TYPE.as_str())?;
    whole.split(';').next().map(str::trim)
}

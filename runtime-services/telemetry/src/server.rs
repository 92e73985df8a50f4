//! The HTTP server of `/healthz`, `/readyz` and `/metrics`.

use std::{fmt, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text, registry::Registry};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Health;

/// Media type of what [`text::encode`] writes.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Error)]
pub enum ServerError {
    #[error("failed to listen on {address}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("failed to serve")]
    Serve(#[source] std::io::Error),
}

/// Serves health and metrics:
///
/// | path | answer |
/// |---|---|
/// | `/healthz` | 200 while every loop beats, else 503 and the names of those that do not |
/// | `/readyz` | 200 while ready, else 503 |
/// | `/metrics` | the registry as OpenMetrics text |
pub struct Server {
    listener: TcpListener,
    router: Router,
}

struct Shared {
    health: Health,
    registry: Registry,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn bind(
        address: SocketAddr,
        health: Health,
        registry: Registry,
    ) -> Result<Self, ServerError> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| ServerError::Listen { address, source })?;
        Ok(Self {
            listener,
            router: router(health, registry),
        })
    }

    /// Serves these as well, beside its own.
    #[must_use]
    pub fn with_routes(mut self, routes: Router) -> Self {
        self.router = self.router.merge(routes);
        self
    }

    /// Where it listens: differs from what was asked for when that was port 0.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the token is cancelled.
    ///
    /// # Errors
    /// When connections can no longer be accepted.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServerError> {
        axum::serve(self.listener, self.router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
            .map_err(ServerError::Serve)
    }
}

fn router(health: Health, registry: Registry) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(Shared { health, registry }))
}

async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    let stopped = shared.health.stopped();
    if stopped.is_empty() {
        return "ok\n".into_response();
    }
    let told = format!("no sign of life from: {}\n", stopped.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, told).into_response()
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    if shared.health.is_ready() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let mut body = String::new();
    match text::encode(&mut body, &shared.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], body).into_response(),
        Err(error) => {
            tracing::error!(%error, "failed to encode the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn get(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn it_is_ready_while_told_so() {
        let health = Health::default();
        let router = router(health.clone(), Registry::default());
        assert_eq!(
            get(&router, "/readyz").await.0,
            StatusCode::SERVICE_UNAVAILABLE
        );
        health.set_ready();
        assert_eq!(get(&router, "/readyz").await.0, StatusCode::OK);
        health.set_unready();
        assert_eq!(
            get(&router, "/readyz").await.0,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }

    #[tokio::test]
    async fn it_serves_what_it_is_given_beside_its_own() {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind(address, Health::default(), Registry::default())
            .await
            .unwrap()
            .with_routes(Router::new().route("/stats", axum::routing::get(|| async { "7" })));
        let answer = get(&server.router, "/stats").await;
        assert_eq!(answer, (StatusCode::OK, "7".to_owned()));
        assert_eq!(get(&server.router, "/healthz").await.0, StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_unhealthy_when_a_loop_stops() {
        let health = Health::default();
        let heart = health.pulse("queue", Duration::from_secs(1));
        let router = router(health, Registry::default());
        tokio::time::advance(Duration::from_secs(2)).await;
        let (status, body) = get(&router, "/healthz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body, "no sign of life from: queue\n");
        heart.beat();
        assert_eq!(get(&router, "/healthz").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_are_served_as_open_metrics_text() {
        let mut registry = Registry::default();
        crate::build::register(&mut registry, "test", "1.2.3");
        let router = router(Health::default(), registry);
        let (status, body) = get(&router, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(
            body.contains("orlop_build_info{binary=\"test\",version=\"1.2.3\"} 1"),
            "{body}"
        );
        assert!(body.ends_with("# EOF\n"), "{body}");
    }
}

//! The worker runtime: takes jobs from a RabbitMQ queue, gives each to a handler, and puts what
//! fails where it belongs.
//!
//! ```text
//! queue --deliver--> Session --POST--> handler
//!   ^                   |
//!   |                   +-- 2xx: acknowledged, in batches
//!   +-- Q.retry.n <-----+-- may help to try again: published with confirm, then acknowledged
//!                       +-- Q.dead: no use, or no attempts left
//! ```
//!
//! Every message is in a queue at every moment: an original is acknowledged only after its job is
//! done or its copy is confirmed. So a job is done at least once, and handlers that must not do it
//! twice compare message ids.

mod acks;
mod args;
mod backoff;
mod broker;
mod config;
mod handler;
mod job;
mod message;
mod publisher;
mod retry;
mod session;
mod stats;

use std::{net::SocketAddr, sync::Arc};

use axum::{Json, Router, extract::State, routing::get};
use orlop_contract::worker::{STATS_PATH, WorkerStats};
use orlop_telemetry::{Health, Server, build, process};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

pub use crate::{args::Args, config::ConfigError};
use crate::{
    backoff::Backoff, broker::SessionError, config::Settings, handler::Handler, session::Session,
    stats::Stats,
};

/// A worker that is ready to run.
#[derive(Debug)]
pub struct Worker {
    settings: Arc<Settings>,
    handler: Handler,
    stats: Arc<Stats>,
    health: Health,
    registry: Registry,
    http_address: SocketAddr,
}

impl Worker {
    /// Reads and checks the configuration; connects to nothing.
    ///
    /// # Errors
    /// When the configuration cannot be worked with.
    pub fn new(args: Args) -> Result<Self, ConfigError> {
        let settings = Settings::read(args.config, &args.amqp_url)?;
        let health = Health::default();
        let mut registry = Registry::default();
        build::register(&mut registry, "orlop-worker", env!("CARGO_PKG_VERSION"));
        process::register(&mut registry);
        Ok(Self {
            handler: Handler::new(&settings),
            settings: Arc::new(settings),
            stats: Arc::new(Stats::new(&mut registry, health.clone())),
            health,
            registry,
            http_address: args.http_address,
        })
    }

    /// Works until told to stop, and then for as long as draining takes. Health is served all the
    /// time.
    ///
    /// # Errors
    /// When health cannot be served. A broker that cannot be reached, or refuses, is no error: it
    /// is tried again, and told in the statistics.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let routes = Router::new()
            .route(STATS_PATH, get(stats))
            .with_state(Arc::clone(&self.stats));
        let server = Server::bind(self.http_address, self.health, self.registry)
            .await?
            .with_routes(routes);
        let work = Work {
            settings: self.settings,
            handler: self.handler,
            stats: self.stats,
        };
        tokio::select! {
            // What is being served while the work ends may be cut off.
            ended = server.run(CancellationToken::new()) => ended?,
            () = work.run(stop) => (),
        }
        Ok(())
    }
}

async fn stats(State(stats): State<Arc<Stats>>) -> Json<WorkerStats> {
    Json(stats.snapshot())
}

struct Work {
    settings: Arc<Settings>,
    handler: Handler,
    stats: Arc<Stats>,
}

impl Work {
    /// One session after the other, until one was drained.
    async fn run(&self, stop: CancellationToken) {
        let mut backoff = Backoff::default();
        let mut known = None;
        loop {
            let opened = tokio::select! {
                opened = self.open(&stop) => opened,
                () = stop.cancelled() => return,
            };
            let ended = match opened {
                Ok(session) => {
                    backoff.reset();
                    known = None;
                    self.work(session, &stop).await
                }
                Err(error) => Err(error),
            };
            let Err(error) = ended else { return };
            let told = error.told();
            // Once for each kind: the statistics tell the rest.
            if known.replace(told.kind) != Some(told.kind) {
                tracing::error!(error = told.message, "no jobs are taken until this is over");
            }
            self.stats.disconnected(Some(told));
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => (),
                () = stop.cancelled() => return,
            }
        }
    }

    async fn open(&self, stop: &CancellationToken) -> Result<Session, SessionError> {
        Session::open(
            Arc::clone(&self.settings),
            self.handler.clone(),
            Arc::clone(&self.stats),
            stop.clone(),
        )
        .await
    }

    async fn work(&self, session: Session, stop: &CancellationToken) -> Result<(), SessionError> {
        tracing::info!(queue = self.settings.queue.as_str(), "taking jobs");
        self.stats.connected();
        let ended = session.run(stop).await;
        self.stats.disconnected(None);
        ended
    }
}

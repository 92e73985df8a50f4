//! The service as a whole: what is started, in which order, and how it ends.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use deadpool_postgres::Pool;
use orlop_contract::{api, types::Model};
use orlop_telemetry::{Health, Server, build, process};
use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    cache::{self, Cache},
    config::{Addresses, Config},
    events::{self, Relay},
    http::{self, Api},
    metrics::{self, Metrics},
    store::{Store, idempotency, migrate, pool},
};

/// Connections that requests do not use up: the cache's trust, the relay, the sweep.
const BACKGROUND_CONNECTIONS: usize = 3;

/// A service that listens, but does not answer yet.
pub struct Service {
    listener: TcpListener,
    health: Health,
    telemetry: Server,
    config: Config,
    model: Arc<Model>,
    requests: Pool,
    background: Pool,
    cache: Cache,
    relay: Option<Relay>,
    metrics: Metrics,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// Listens, but reaches for nothing yet.
    ///
    /// # Errors
    /// When an address cannot be listened on or used.
    pub async fn bind(config: Config, addresses: &Addresses) -> anyhow::Result<Self> {
        let mut registry = Registry::default();
        build::register(&mut registry, "orlop-api", env!("CARGO_PKG_VERSION"));
        process::register(&mut registry);
        let metrics = Metrics::register(&mut registry);

        let limits = &config.said.limits;
        let connections = usize::from(limits.connections);
        let requests = pool::make(&addresses.database, &config.said, connections)?;
        let background = pool::make(&addresses.database, &config.said, BACKGROUND_CONNECTIONS)?;
        metrics::register_pool(&mut registry, requests.clone());
        let cache = make_cache(&config, addresses, &mut registry)?;
        let relay = make_relay(&config, addresses, &background, &mut registry)?;

        let health = Health::default();
        let telemetry = Server::bind(addresses.health, health.clone(), registry).await?;
        let listener = TcpListener::bind(addresses.api)
            .await
            .with_context(|| format!("failed to listen on {}", addresses.api))?;
        Ok(Self {
            listener,
            health,
            telemetry,
            model: Arc::new(config.model.clone()),
            config,
            requests,
            background,
            cache,
            relay,
            metrics,
        })
    }

    /// Where the API is served: differs from what was asked for when that was port 0.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where health and metrics are served.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn health_address(&self) -> std::io::Result<SocketAddr> {
        self.telemetry.address()
    }

    /// Migrates, then serves until told to stop; then finishes what it has, for as long as it may.
    ///
    /// # Errors
    /// When the tables cannot be brought to where the types want them, or connections cannot be
    /// accepted any more.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        // Health is told, and jobs are relayed, until the last request is answered.
        let ended = CancellationToken::new();
        let telemetry = tokio::spawn(self.telemetry.run(ended.clone()));
        let said = self.config.said.clone();

        let migrated = migrate::migrate(&self.background, &said.schema, &self.model);
        match stop.run_until_cancelled(migrated).await {
            Some(result) => result?,
            None => return Ok(()),
        }
        let relay = self.relay.as_ref().map(Relay::waker);
        let background = TaskTracker::new();
        spawn_background(
            &background,
            &said,
            self.background,
            &self.cache,
            self.relay,
            &ended,
        );

        let writes = TaskTracker::new();
        let store = Store::new(
            &self.config,
            Arc::clone(&self.model),
            self.requests,
            self.cache,
            relay,
        );
        let api = Api::new(
            &self.config,
            self.model,
            store,
            self.metrics,
            writes.clone(),
        );
        self.health.set_ready();
        tracing::info!("serving");
        let drain = Duration::from_secs(u64::from(said.limits.drain_seconds));
        serve(self.listener, api, self.health, stop, drain).await?;

        writes.close();
        if timeout(drain, writes.wait()).await.is_err() {
            tracing::warn!(left = writes.len(), "some writes did not end in time");
        }
        ended.cancel();
        background.close();
        if timeout(drain, background.wait()).await.is_err() {
            tracing::warn!("the background work did not end in time");
        }
        Ok(telemetry.await??)
    }
}

async fn serve(
    listener: TcpListener,
    api: Api,
    health: Health,
    stop: CancellationToken,
    drain: Duration,
) -> anyhow::Result<()> {
    let router = http::router(Arc::new(api));
    let stopped = stop.clone();
    let stopping = async move {
        stopped.cancelled().await;
        health.set_unready();
    };
    let serving = axum::serve(listener, router)
        .with_graceful_shutdown(stopping)
        .into_future();
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        result = serving => result.context("failed to accept connections"),
        () = late => {
            tracing::warn!("some requests did not end in time");
            Ok(())
        }
    }
}

fn make_cache(
    config: &Config,
    addresses: &Addresses,
    registry: &mut Registry,
) -> anyhow::Result<Cache> {
    // Without classes nothing says how long an entry may live.
    let address = if config.said.cache_classes.is_empty() {
        None
    } else {
        cache::Address::parse(
            addresses.redis_url.as_deref(),
            addresses.redis_nodes.as_deref(),
        )?
    };
    let mut layout: Vec<_> = config
        .model
        .entities()
        .filter_map(|(_, entity)| {
            let name = entity.cache_class.as_ref()?;
            let mut classes = config.said.cache_classes.iter();
            let class = classes.find(|class| class.name == *name)?;
            Some((entity.table.as_str(), class.prefix.as_str()))
        })
        .collect();
    layout.sort_unstable();
    let metrics = cache::Metrics::register(registry);
    Ok(Cache::new(address, layout, metrics))
}

fn make_relay(
    config: &Config,
    addresses: &Addresses,
    database: &Pool,
    registry: &mut Registry,
) -> anyhow::Result<Option<Relay>> {
    let Some(broker) = addresses.amqp_url.as_deref() else {
        let publishes = config
            .model
            .entities()
            .any(|(_, entity)| !entity.events.is_empty());
        anyhow::ensure!(
            !publishes,
            "types declare events, so {} is needed",
            api::AMQP_URL
        );
        return Ok(None);
    };
    let metrics = events::Metrics::register(registry);
    Ok(Some(Relay::new(database.clone(), broker, metrics)?))
}

fn spawn_background(
    tasks: &TaskTracker,
    said: &api::ApiConfig,
    database: Pool,
    cache: &Cache,
    relay: Option<Relay>,
    stop: &CancellationToken,
) {
    let (keeper, pool, token) = (cache.clone(), database.clone(), stop.clone());
    tasks.spawn(async move { keeper.run(pool, token).await });
    if let Some(relay) = relay {
        tasks.spawn(relay.run(stop.clone()));
    }
    let hours = said.limits.idempotency_hours;
    tasks.spawn(idempotency::sweep(database, hours, stop.clone()));
}

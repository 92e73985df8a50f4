//! The whole operator, put together.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use kube::Config;
use orlop_crds::{AppPlatform, AppService, BrokerTier, CacheTier, DatabaseTier, WorkerPool};
use orlop_plan::Settings;
use orlop_telemetry::{Health, Server, build, process};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::{
    Args,
    cache::{Caches, Queues, WatchContext, Watches},
    client,
    engine::{BEAT_AT_LEAST, Engine, Shared},
    gauges::Gauges,
    lease::Election,
    metrics::Metrics,
    primary::Primary,
};

/// The operator, ready to run.
pub struct Operator {
    health: Health,
    server: Server,
    watches: Watches,
    /// None where the lease is not asked for.
    election: Option<Election>,
    shared: Shared,
    queues: Arc<Queues>,
    concurrency: usize,
}

impl Operator {
    /// Puts the operator together and starts to watch, without writing anything.
    ///
    /// # Errors
    /// When the cluster's configuration cannot be used, or the address is taken.
    pub async fn new(args: Args, config: Config) -> anyhow::Result<Self> {
        let Args {
            http_address,
            namespace,
            identity,
            lease_name,
            no_leader_election,
            concurrency,
            watch_namespace,
            cluster_domain,
            images,
            log_format: _,
            log_filter: _,
        } = args;
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let identity = identity.unwrap_or_else(|| format!("orlop-{:016x}", rand::random::<u64>()));
        let metrics = Metrics::new();
        let client = client::connect(config, &metrics).context("failed to make a client")?;
        let caches = Arc::new(Caches::default());
        let queues = Arc::new(Queues::new(&metrics));

        let health = Health::default();
        let registry = registry(&metrics, &caches, &queues);
        let server = Server::bind(http_address, health.clone(), registry).await?;
        let settings = Settings {
            cluster_domain,
            images: images.into(),
        };
        let shared = Shared::new(
            &client,
            &caches,
            &queues,
            settings,
            &metrics,
            identity.clone(),
        );
        let election = (!no_leader_election)
            .then(|| Election::new(client.clone(), &namespace, lease_name, identity, &metrics));
        let context = WatchContext {
            client,
            caches,
            queues: Arc::clone(&queues),
            metrics,
        };
        let watches = Watches::start(&context, &watch_namespace);
        let concurrency = usize::from(concurrency);
        Ok(Self {
            health,
            server,
            watches,
            election,
            shared,
            queues,
            concurrency,
        })
    }

    /// Where health and metrics are served.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn address(&self) -> std::io::Result<std::net::SocketAddr> {
        self.server.address()
    }

    /// Runs until told to stop: then no pass is begun any more, those under way end, and the lease
    /// is released.
    ///
    /// # Errors
    /// When the lease is lost, or a part that runs for ever ends: the process must be started anew.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self {
            health,
            server,
            mut watches,
            election,
            shared,
            queues,
            concurrency,
        } = self;
        let synced = watches.synced();
        let work = async {
            tokio::select! {
                () = synced => (),
                () = stop.cancelled() => return Ok(()),
            }
            tracing::info!("caches are filled");
            health.set_ready();
            lead(
                election,
                &stop,
                Box::pin(engines(&shared, &queues, concurrency, &health, &stop)),
            )
            .await
        };
        // The server answers until everything else has ended.
        let serve = server.run(CancellationToken::new());
        tokio::select! {
            ended = work => ended,
            ended = serve => {
                ended?;
                bail!("the server of health and metrics has ended");
            }
            () = watches.ended() => bail!("a watch has ended"),
        }
    }
}

/// Runs `work` while the lease is held. When it is lost, `work` is dropped on the spot.
async fn lead(
    election: Option<Election>,
    stop: &CancellationToken,
    work: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let Some(election) = election else {
        work.await;
        return Ok(());
    };
    let mut held = tokio::select! {
        held = election.acquire() => held,
        () = stop.cancelled() => return Ok(()),
    };
    tokio::select! {
        () = held.keep() => bail!("lost the lease"),
        () = work => (),
    }
    held.release().await;
    Ok(())
}

async fn engines(
    shared: &Shared,
    queues: &Queues,
    concurrency: usize,
    health: &Health,
    stop: &CancellationToken,
) {
    tokio::join!(
        engine::<AppPlatform>(shared, queues, concurrency, health, stop),
        engine::<AppService>(shared, queues, concurrency, health, stop),
        engine::<BrokerTier>(shared, queues, concurrency, health, stop),
        engine::<CacheTier>(shared, queues, concurrency, health, stop),
        engine::<DatabaseTier>(shared, queues, concurrency, health, stop),
        engine::<WorkerPool>(shared, queues, concurrency, health, stop),
    );
}

async fn engine<P: Primary>(
    shared: &Shared,
    queues: &Queues,
    concurrency: usize,
    health: &Health,
    stop: &CancellationToken,
) {
    let heart = health.pulse(P::KIND.controller(), BEAT_AT_LEAST);
    Engine::<P>::new(shared, queues.of(P::KIND))
        .run(concurrency, stop.clone(), heart)
        .await;
}

fn registry(metrics: &Metrics, caches: &Arc<Caches>, queues: &Arc<Queues>) -> Registry {
    let mut registry = Registry::default();
    build::register(&mut registry, "orlop-operator", env!("CARGO_PKG_VERSION"));
    process::register(&mut registry);
    metrics.register(&mut registry);
    let gauges = Gauges {
        caches: Arc::clone(caches),
        queues: Arc::clone(queues),
    };
    registry.register_collector(Box::new(gauges));
    registry
}

//! An API with types of its own, in this process.

use std::net::SocketAddr;

use orlop_api::{
    Service,
    config::{Addresses, Config},
};
use orlop_contract::api::{ApiConfig, ApiLimits};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_postgres::NoTls;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    client::Client,
    support::{postgres::Postgres, redis::Redis, until},
};

pub(crate) const SCHEMA: &str = "harbour";

/// The API, which stops when this is dropped.
#[derive(Debug)]
pub(crate) struct Harbour {
    pub(crate) api: Client,
    pub(crate) health: Client,
    pub(crate) task: JoinHandle<anyhow::Result<()>>,
    _stop: DropGuard,
}

pub(crate) fn types() -> Value {
    serde_json::from_str(include_str!("../fixtures/harbour.json")).unwrap()
}

pub(crate) fn config(types: Value) -> ApiConfig {
    ApiConfig {
        name: "harbour".into(),
        base_path: "/api".into(),
        schema: SCHEMA.into(),
        types: serde_json::from_value(types).unwrap(),
        cache_classes: Vec::new(),
        limits: ApiLimits::default(),
    }
}

impl Harbour {
    /// Serves once the tables are as declared.
    pub(crate) async fn open(postgres: &Postgres) -> Self {
        let harbour = Self::start(postgres, config(types())).await;
        harbour.until_ready().await;
        harbour
    }

    pub(crate) async fn start(postgres: &Postgres, said: ApiConfig) -> Self {
        Self::start_with(postgres, None, said).await
    }

    /// With a cache for what is declared as cached.
    pub(crate) async fn start_with(
        postgres: &Postgres,
        redis: Option<&Redis>,
        said: ApiConfig,
    ) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let addresses = Addresses {
            api: any,
            health: any,
            database: postgres.url(),
            redis_url: redis.map(Redis::url),
            redis_nodes: None,
            // Nobody listens there: jobs wait in the outbox.
            amqp_url: Some("amqp://127.0.0.1:1".into()),
        };
        let service = Service::bind(Config::check(said).unwrap(), &addresses)
            .await
            .unwrap();
        let stop = CancellationToken::new();
        Self {
            api: Client(service.address().unwrap()),
            health: Client(service.health_address().unwrap()),
            task: tokio::spawn(service.run(stop.clone())),
            _stop: stop.drop_guard(),
        }
    }

    pub(crate) async fn until_ready(&self) {
        until("the API is ready", async || {
            assert!(!self.task.is_finished(), "the API ended");
            self.health.get("/readyz").await.status.is_success()
        })
        .await;
    }

    /// Why it did not become ready.
    pub(crate) async fn failure(self) -> String {
        format!("{:#}", self.task.await.unwrap().unwrap_err())
    }
}

/// A connection beside the API's.
pub(crate) async fn database(postgres: &Postgres) -> tokio_postgres::Client {
    let mut config: tokio_postgres::Config = postgres.url().parse().unwrap();
    config.options(format!("-c search_path={SCHEMA},public"));
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) async fn count(database: &tokio_postgres::Client, of: &str) -> i64 {
    let row = database
        .query_one(&format!("select count(*) from {of}"), &[])
        .await
        .unwrap();
    row.get(0)
}

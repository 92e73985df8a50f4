//! The cluster at the other end.

use std::{future::Future, time::Duration};

use anyhow::Context as _;
use kube::{
    Api, Client, Config,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use orlop_crds::{AppPlatform, AppService};

use crate::{Failure, args::Connection, report::Report};

/// No request takes longer: a person is waiting.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Objects of one kind that are listed at most.
const LIST_LIMIT: u32 = 5000;

/// A connection, and the namespace in which names are looked up.
#[derive(Clone)]
pub(crate) struct Cluster {
    client: Client,
    namespace: String,
}

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Namespace,
    All,
}

/// What is there, as the operator reports it and as it is stored.
pub(crate) struct Found {
    pub(crate) platforms: Vec<AppPlatform>,
    pub(crate) services: Vec<AppService>,
}

impl Found {
    /// Applications first, then services.
    pub(crate) fn reports(&self) -> Vec<Report> {
        let platforms = self.platforms.iter().map(Report::of_platform);
        platforms
            .chain(self.services.iter().map(Report::of_service))
            .collect()
    }
}

impl Cluster {
    pub(crate) async fn connect(connection: &Connection) -> anyhow::Result<Self> {
        let options = KubeConfigOptions {
            context: connection.context.clone(),
            ..KubeConfigOptions::default()
        };
        let mut config = match &connection.kubeconfig {
            Some(file) => {
                let read = Kubeconfig::read_from(file)
                    .with_context(|| format!("failed to read {}", file.display()))?;
                Config::from_custom_kubeconfig(read, &options).await
            }
            None => Config::from_kubeconfig(&options).await,
        }
        .context("failed to find a cluster: name one by --kubeconfig and --context")?;
        config.connect_timeout = Some(REQUEST_TIMEOUT);
        config.read_timeout = Some(REQUEST_TIMEOUT);
        let namespace = connection.namespace.clone();
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).context("failed to set up the connection")?;
        Ok(Self { client, namespace })
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The services of a namespace, which tell who answers their requests.
    pub(crate) async fn services(&self, namespace: &str) -> anyhow::Result<Vec<Report>> {
        let api: Api<AppService> = Api::namespaced(self.client(), namespace);
        let services = api.list(&ListParams::default().limit(LIST_LIMIT)).await;
        let services = services.context("failed to list services")?;
        Ok(services.iter().map(Report::of_service).collect())
    }

    /// All applications and services, ordered by namespace and name.
    pub(crate) async fn find(&self, scope: Scope) -> anyhow::Result<Found> {
        let (platforms, services): (Api<AppPlatform>, Api<AppService>) = match scope {
            Scope::Namespace => (
                Api::namespaced(self.client(), &self.namespace),
                Api::namespaced(self.client(), &self.namespace),
            ),
            Scope::All => (Api::all(self.client()), Api::all(self.client())),
        };
        let params = ListParams::default().limit(LIST_LIMIT);
        let platforms = platforms.list(&params).await;
        let services = services.list(&params).await;
        Ok(Found {
            platforms: platforms.context("failed to list applications")?.items,
            services: services.context("failed to list services")?.items,
        })
    }

    /// The application of this name, or else the service.
    pub(crate) async fn named(&self, name: &str) -> anyhow::Result<Found> {
        let platforms: Api<AppPlatform> = Api::namespaced(self.client(), &self.namespace);
        let platform = platforms
            .get_opt(name)
            .await
            .with_context(|| format!("failed to read the application {name}"))?;
        let services: Api<AppService> = Api::namespaced(self.client(), &self.namespace);
        let service = match platform {
            Some(_) => None,
            None => services
                .get_opt(name)
                .await
                .with_context(|| format!("failed to read the service {name}"))?,
        };
        anyhow::ensure!(
            platform.is_some() || service.is_some(),
            "there is no application and no service '{name}' in the namespace {}",
            self.namespace
        );
        Ok(Found {
            platforms: platform.into_iter().collect(),
            services: service.into_iter().collect(),
        })
    }
}

/// Runs a verb that talks to a cluster; Ctrl-C ends it.
pub(crate) fn block_on(verb: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start")?;
    runtime.block_on(verb)
}

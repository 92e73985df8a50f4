//! The cluster at the other end.

use std::{future::Future, time::Duration};

use anyhow::{Context as _, anyhow};
use kube::{
    Api, Client, Config,
    api::{DynamicObject, ListParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, GroupVersionKind},
};
use orlop_crds::schema;

use crate::{Failure, args::Connection, declared::Declared, report::Report};

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

/// What is there, in the order of the kinds.
pub(crate) struct Found {
    pub(crate) objects: Vec<Declared>,
}

impl Found {
    pub(crate) fn reports(&self) -> Vec<Report> {
        self.objects.iter().map(Declared::report).collect()
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

    /// What of a namespace is released by revisions, which tells who answers requests and who takes
    /// jobs.
    pub(crate) async fn released(&self, namespace: &str) -> anyhow::Result<Vec<Report>> {
        let mut reports = Vec::new();
        for kind in Declared::RELEASED {
            let api = Api::namespaced_with(self.client(), namespace, &resource(kind));
            let objects = list(kind, &api, &ListParams::default()).await?;
            reports.extend(objects.iter().map(Declared::report));
        }
        Ok(reports)
    }

    /// All objects, ordered by kind, namespace and name.
    pub(crate) async fn find(&self, scope: Scope) -> anyhow::Result<Found> {
        let mut objects = Vec::new();
        for kind in Declared::KINDS {
            let resource = resource(kind);
            let api: Api<DynamicObject> = match scope {
                Scope::Namespace => Api::namespaced_with(self.client(), &self.namespace, &resource),
                Scope::All => Api::all_with(self.client(), &resource),
            };
            objects.extend(list(kind, &api, &ListParams::default()).await?);
        }
        Ok(Found { objects })
    }

    /// Objects of one kind in the namespace whose labels fit.
    pub(crate) async fn labelled(
        &self,
        kind: &str,
        selector: &str,
    ) -> anyhow::Result<Vec<Declared>> {
        let api = Api::namespaced_with(self.client(), &self.namespace, &resource(kind));
        list(kind, &api, &ListParams::default().labels(selector)).await
    }

    /// The object of this name, of the first kind that has one.
    pub(crate) async fn named(&self, name: &str) -> anyhow::Result<Found> {
        for kind in Declared::KINDS {
            if let Some(object) = self.get(kind, name, &self.namespace).await? {
                let objects = vec![object];
                return Ok(Found { objects });
            }
        }
        Err(anyhow!(
            "there is no {} '{name}' in the namespace {}",
            Declared::KINDS.join(" or "),
            self.namespace
        ))
    }

    /// The object, if it exists.
    pub(crate) async fn get(
        &self,
        kind: &str,
        name: &str,
        namespace: &str,
    ) -> anyhow::Result<Option<Declared>> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client(), namespace, &resource(kind));
        let found = api.get_opt(name).await;
        let found =
            found.with_context(|| format!("failed to read {kind}/{name} in {namespace}"))?;
        found.map(|object| declared(kind, object)).transpose()
    }
}

async fn list(
    kind: &str,
    api: &Api<DynamicObject>,
    params: &ListParams,
) -> anyhow::Result<Vec<Declared>> {
    let listed = api.list(&params.clone().limit(LIST_LIMIT)).await;
    let listed = listed.with_context(|| format!("failed to list {}", resource(kind).plural))?;
    let objects = listed.into_iter();
    objects.map(|object| declared(kind, object)).collect()
}

/// Where objects of a kind are found.
pub(crate) fn resource(kind: &str) -> ApiResource {
    let known = schema::kinds().iter().find(|known| known.name == kind);
    let plural = known.map(|known| known.plural.as_str()).unwrap_or_default();
    let gvk = GroupVersionKind::gvk(orlop_crds::GROUP, orlop_crds::VERSION, kind);
    ApiResource::from_gvk_with_plural(&gvk, plural)
}

fn declared(kind: &str, object: DynamicObject) -> anyhow::Result<Declared> {
    let value = serde_json::to_value(object)?;
    Declared::from_value(kind, value)
        .ok_or_else(|| anyhow!("{kind} is not known to this program"))?
        .with_context(|| format!("failed to read a {kind} of the cluster"))
}

/// Runs a verb that talks to a cluster; Ctrl-C ends it.
pub(crate) fn block_on(verb: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start")?;
    runtime.block_on(verb)
}

//! A namespace for one test.

use std::{panic::AssertUnwindSafe, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures::FutureExt as _;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Namespace, Pod},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};
use orlop_crds::AppPlatform;
use serde_json::json;

use crate::{Cluster, eventually, verdict};

/// What the names of all test namespaces begin with.
pub(crate) const PREFIX: &str = "suite-";
/// A pod of ours takes at most 50 s to stop, and the namespace's controller looks again each few
/// seconds.
const GONE_WITHIN: Duration = Duration::from_secs(150);
/// A failure shows in the first few of each kind.
const DESCRIBED_MAX: usize = 12;

/// A namespace of its own, with the strictest Pod Security.
#[derive(Clone)]
pub struct TestNamespace {
    pub cluster: Cluster,
    name: String,
}

/// Runs `test` in a namespace of its own, which is deleted afterwards, also when the test panics.
///
/// # Errors
/// The test's own, with what the namespace looked like printed before it is deleted; or when the
/// namespace does not go.
pub async fn in_namespace(
    name: &str,
    test: impl AsyncFnOnce(&TestNamespace) -> Result<()>,
) -> Result<()> {
    let cluster = Cluster::connect().await?;
    let namespace = TestNamespace::create(cluster, name).await?;
    let outcome = AssertUnwindSafe(test(&namespace)).catch_unwind().await;
    if !matches!(outcome, Ok(Ok(()))) {
        namespace.describe().await;
    }
    let gone = namespace.delete().await;
    match outcome {
        Ok(result) => result.and(gone),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

impl TestNamespace {
    async fn create(cluster: Cluster, name: &str) -> Result<Self> {
        let wanted: Namespace = serde_json::from_value(json!({
            "metadata": {
                "generateName": format!("{PREFIX}{name}-"),
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        }))?;
        let made = Api::<Namespace>::all(cluster.client())
            .create(&PostParams::default(), &wanted)
            .await
            .context("failed to create the test's namespace")?;
        let name = made.name_any();
        Ok(Self { cluster, name })
    }

    /// A namespace that is not the test's own: to be looked at and left as it is.
    #[must_use]
    pub fn existing(cluster: Cluster, name: &str) -> Self {
        Self {
            cluster,
            name: name.to_owned(),
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn client(&self) -> Client {
        self.cluster.client()
    }

    /// Objects of one kind in this namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client(), &self.name)
    }

    async fn delete(&self) -> Result<()> {
        let namespaces = Api::<Namespace>::all(self.client());
        namespaces
            .delete(&self.name, &DeleteParams::default())
            .await
            .with_context(|| format!("failed to delete namespace {}", self.name))?;
        let gone = format!("namespace {} is gone", self.name);
        eventually(GONE_WITHIN, gone, async || {
            let Some(left) = namespaces.get_opt(&self.name).await? else {
                return Ok(());
            };
            bail!("it is still there: {:?}", left.status)
        })
        .await
    }

    /// Prints what a person would look at first.
    async fn describe(&self) {
        let list = ListParams::default();
        let platforms = self.api::<AppPlatform>().list(&list).await;
        for platform in platforms.into_iter().flatten().take(DESCRIBED_MAX) {
            println!(
                "AppPlatform {}: {:?}",
                platform.name_any(),
                verdict(&platform)
            );
        }
        let pods = self.api::<Pod>().list(&list).await;
        for pod in pods.into_iter().flatten().take(DESCRIBED_MAX) {
            let status = pod.status.clone().unwrap_or_default();
            let containers: Vec<_> = status
                .container_statuses
                .into_iter()
                .flatten()
                .map(|container| (container.ready, container.restart_count))
                .collect();
            let phase = status.phase.unwrap_or_default();
            println!(
                "Pod {}: {phase}, containers ready and restarts {containers:?}",
                pod.name_any()
            );
        }
    }
}

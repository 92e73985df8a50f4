//! The operator under test: its process, its figures, its end.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use rustix::process::{Signal, kill_process};

use crate::{
    Cluster, Metrics, eventually, get,
    process::{self, Memory},
};

/// Where the chart is installed.
pub const OPERATOR_NAMESPACE: &str = "orlop-system";
const PODS: &str = "app.kubernetes.io/name=orlop-operator";
const METRICS_PORT: u16 = 8080;
/// A restart of the container, the caches, and a Lease that has to run out first (15 s).
const LEADS_WITHIN: Duration = Duration::from_mins(1);
/// From a container's start to its name in the pod's status.
const STATUS_WITHIN: Duration = Duration::from_secs(20);

/// The one operator of the cluster.
#[derive(Clone)]
pub struct Operator {
    pods: Api<Pod>,
}

impl Operator {
    #[must_use]
    pub fn of(cluster: &Cluster) -> Self {
        Self {
            pods: Api::namespaced(cluster.client(), OPERATOR_NAMESPACE),
        }
    }

    /// The user as which it writes.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn user(&self) -> Result<String> {
        let spec = self.pod().await?.spec.context("a pod has a spec")?;
        let account = spec
            .service_account_name
            .context("the operator has an account")?;
        Ok(format!(
            "system:serviceaccount:{OPERATOR_NAMESPACE}:{account}"
        ))
    }

    /// # Errors
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<Metrics> {
        let status = self.pod().await?.status.context("the pod has no status")?;
        let ip = status.pod_ip.context("the pod has no address")?;
        let answer = get(
            (ip.parse::<std::net::IpAddr>()?, METRICS_PORT).into(),
            "/metrics",
        )
        .await?;
        ensure!(
            answer.status.is_success(),
            "the operator answers {}",
            answer.status
        );
        Ok(Metrics::parse(answer.body))
    }

    /// Waits until it holds the Lease, that is until it acts.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn leads(&self) -> Result<()> {
        eventually(LEADS_WITHIN, "the operator leads", async || {
            let leads = self.metrics().await?.sum("leader_election_master_status");
            ensure!(leads > 0.5, "it does not hold the Lease");
            Ok(())
        })
        .await
    }

    /// Ends the process at once: no shutdown, nothing released. The first time its container starts
    /// again in place; then its pod is taken away too, as when a node is lost, because the kubelet
    /// would hold a container that ends again back for minutes.
    ///
    /// # Errors
    /// When there is none.
    pub async fn kill(&self) -> Result<()> {
        let pod = self.pod().await?;
        // The pod's status names a restarted container later than the container answers.
        eventually(
            STATUS_WITHIN,
            "the operator's process is found",
            async || {
                kill_process(process::pid(&self.pod().await?)?, Signal::KILL)
                    .context("failed to kill the operator")
            },
        )
        .await?;
        let containers = pod
            .status
            .iter()
            .filter_map(|status| status.container_statuses.as_ref());
        let restarts: i32 = containers
            .flatten()
            .map(|container| container.restart_count)
            .sum();
        if restarts > 0 {
            let at_once = DeleteParams::default().grace_period(0);
            self.pods.delete(&pod.name_any(), &at_once).await?;
        }
        Ok(())
    }

    /// Stops it in an orderly way and waits until its successor acts.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn restart(&self) -> Result<()> {
        let old = self.pod().await?.name_any();
        self.pods.delete(&old, &DeleteParams::default()).await?;
        eventually(
            LEADS_WITHIN,
            "another pod of the operator runs",
            async || {
                ensure!(
                    self.pod().await?.name_any() != old,
                    "{old} is still the one"
                );
                Ok(())
            },
        )
        .await?;
        self.leads().await
    }

    /// # Errors
    /// When it does not run.
    pub async fn memory(&self) -> Result<Memory> {
        process::memory(&self.pod().await?)
    }

    /// The pod that is meant to stay.
    async fn pod(&self) -> Result<Pod> {
        let list = ListParams::default().labels(PODS);
        let pods = self.pods.list(&list).await?;
        pods.into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .max_by_key(|pod| pod.metadata.creation_timestamp.clone())
            .context("no pod of the operator; install it with `cargo xtask up`")
    }
}

//! What the stories of data tiers share: a tier of one fixture, in whole and in part gone, and back.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret, Service};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams},
};
use orlop_suites::{Identity, TestNamespace, eventually, figure, made, ready_object};
use serde_json::Value;
use tokio::time::Instant;

/// Volumes, an image of some size, and a start from nothing.
pub(crate) const READY_WITHIN: Duration = Duration::from_mins(5);
/// Secrets are looked at every 15 seconds; the rest is for a busy machine.
const BACK_WITHIN: Duration = Duration::from_mins(1);
/// A node has two minutes to stop.
const GONE_WITHIN: Duration = Duration::from_mins(3);

/// A tier that was applied and has been Ready.
pub(crate) struct Tier<'a> {
    pub(crate) namespace: &'a TestNamespace,
    manifest: Value,
    api: Api<DynamicObject>,
    name: String,
}

impl<'a> Tier<'a> {
    pub(crate) async fn start(namespace: &'a TestNamespace, manifest: Value) -> Result<Self> {
        let (api, object) = namespace.api_of(&manifest).await?;
        let tier = Self {
            namespace,
            name: object.name_any(),
            manifest,
            api,
        };
        let began = Instant::now();
        tier.make().await?;
        let took = format!("{:.1}", began.elapsed().as_secs_f64());
        figure(&format!("tier.{}.ready", tier.name), took, "s");
        Ok(tier)
    }

    /// Makes it, or makes it again.
    pub(crate) async fn make(&self) -> Result<DynamicObject> {
        self.namespace.apply(&self.manifest).await?;
        self.ready().await
    }

    pub(crate) async fn ready(&self) -> Result<DynamicObject> {
        ready_object(self.namespace, &self.manifest, READY_WITHIN).await
    }

    pub(crate) async fn object(&self) -> Result<DynamicObject> {
        Ok(self.api.get(&self.name).await?)
    }

    /// Deletes each of its objects, and waits until it is back and all is Ready.
    pub(crate) async fn each_of_its_objects_comes_back(&self, expected: usize) -> Result<()> {
        // The StatefulSet's own history carries its pods' labels.
        let objects: Vec<Identity> = made(self.namespace)
            .await?
            .into_keys()
            .filter(|identity| identity.kind() != "ControllerRevision")
            .collect();
        ensure!(objects.len() == expected, "made: {objects:?}");
        let mut longest = Duration::ZERO;
        for identity in &objects {
            let began = Instant::now();
            self.comes_back(identity).await?;
            self.ready()
                .await
                .with_context(|| format!("{identity} was deleted"))?;
            longest = longest.max(began.elapsed());
        }
        let name = &self.name;
        figure(
            &format!("tier.{name}.deleted-and-restored"),
            expected,
            "objects",
        );
        let longest = format!("{:.1}", longest.as_secs_f64());
        figure(&format!("tier.{name}.back-and-ready-at-last"), longest, "s");
        Ok(())
    }

    async fn comes_back(&self, identity: &Identity) -> Result<()> {
        let api = identity.api(self.namespace);
        let old = api.get(&identity.name).await?.uid();
        api.delete(&identity.name, &DeleteParams::default()).await?;
        eventually(BACK_WITHIN, format!("{identity} comes back"), async || {
            let object = api.get(&identity.name).await?;
            ensure!(object.uid() != old, "it is still the old one");
            Ok(())
        })
        .await
    }

    /// Deletes it, and waits until nothing runs any more.
    pub(crate) async fn delete(&self) -> Result<()> {
        self.api
            .delete(&self.name, &DeleteParams::default())
            .await?;
        eventually(GONE_WITHIN, "no pod is left", async || {
            let pods = self.namespace.api::<Pod>();
            let pods = pods.list(&ListParams::default()).await?.items.len();
            ensure!(pods == 0, "{pods} pods are left");
            let left = self.api.get_opt(&self.name).await?;
            ensure!(left.is_none(), "{} itself is left", self.name);
            Ok(())
        })
        .await
    }

    /// Waits until there are neither objects nor volumes of it.
    pub(crate) async fn leaves_nothing(&self) -> Result<()> {
        eventually(GONE_WITHIN, "nothing is left", async || {
            let objects = made(self.namespace).await?;
            ensure!(objects.is_empty(), "{:?} are left", objects.keys());
            let claims = self.claims().await?;
            ensure!(claims == 0, "{claims} volumes are left");
            Ok(())
        })
        .await
    }

    /// How many volumes are claimed.
    pub(crate) async fn claims(&self) -> Result<usize> {
        let claims = self.namespace.api::<PersistentVolumeClaim>();
        Ok(claims.list(&ListParams::default()).await?.items.len())
    }

    /// An entry of its Secret `<name>-<part>`.
    pub(crate) async fn secret(&self, part: &str, key: &str) -> Result<String> {
        let name = format!("{}-{part}", self.name);
        let secret = self.namespace.api::<Secret>().get(&name).await?;
        let data = secret.data.with_context(|| format!("{name} is empty"))?;
        let value = data.get(key).with_context(|| format!("{name}: no {key}"))?;
        Ok(String::from_utf8(value.0.clone())?)
    }

    /// Where its users reach it, by an address that this machine knows too.
    pub(crate) async fn address(&self) -> Result<IpAddr> {
        let service = self.namespace.api::<Service>().get(&self.name).await?;
        let spec = service.spec.context("a Service has a spec")?;
        let ip = spec.cluster_ip.context("the tier has no address")?;
        Ok(ip.parse()?)
    }
}

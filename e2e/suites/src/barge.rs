//! The service whose releases are watched, and what a person does to it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::api::{Patch, PatchParams};
use orlop_crds::{
    AppService,
    app_service::AppServiceStatus,
    release::{
        COMMAND, Command, CommandOutcome, CommandStatus, Hold, HoldReason, ReleasePhase,
        ReleaseRecord, ReleaseStatus, Verb,
    },
};
use serde_json::{Value, json};

use crate::{Load, TestNamespace, eventually, fixture, get, ready_object, with};

/// Steps of a release take seconds; this machine may be busy with other tests.
const SOON: Duration = Duration::from_mins(3);
/// Enough for a look at a switch in hundredths of a second, little enough for two cores.
const REQUESTS_PER_SECOND: u32 = 50;
/// New connections by which it is judged which revision a Service leads to: with two revisions of
/// three pods behind it, one in sixty thousand such rows would show only one of them.
const ROW: usize = 16;

/// The AppService of the fixture `barge`.
#[derive(Clone)]
pub struct Barge {
    pub namespace: TestNamespace,
}

impl Barge {
    /// Name of the AppService and of its Service.
    pub const NAME: &str = "barge";
    /// How many replicas the fixture declares.
    pub const REPLICAS: i32 = 3;

    /// Declares revision `first` and waits until it is served.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn launch(namespace: &TestNamespace, release: &Value) -> Result<Self> {
        let namespace = namespace.clone();
        let barge = Self { namespace };
        let first = manifest("first", &[], release)?;
        barge.namespace.apply(&first).await?;
        ready_object(&barge.namespace, &first, SOON).await?;
        barge.answers_at(Self::NAME, "first").await?;
        Ok(barge)
    }

    /// Declares a revision that answers with its name, with further variables and its `release`.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn declare(
        &self,
        revision: &str,
        variables: &[(&str, &str)],
        release: &Value,
    ) -> Result<()> {
        let manifest = manifest(revision, variables, release)?;
        self.namespace.apply(&manifest).await?;
        Ok(())
    }

    /// Says a command and waits for the answer.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn command(&self, verb: Verb, revision: &str) -> Result<CommandStatus> {
        let command = Command {
            verb,
            revision: revision.to_owned(),
            nonce: None,
        };
        let command = command.to_string();
        let annotation = json!({"metadata": {"annotations": {COMMAND: command}}});
        self.namespace
            .api::<AppService>()
            .patch(
                Self::NAME,
                &PatchParams::default(),
                &Patch::Merge(annotation),
            )
            .await?;
        eventually(SOON, format!("{command} is answered"), async || {
            let answer = self.record().await?.command;
            let answer = answer.context("no command was answered")?;
            ensure!(answer.command == command, "the last was {answer:?}");
            Ok(answer)
        })
        .await
    }

    /// As [`Self::command`], of one that must be followed.
    ///
    /// # Errors
    /// When it is refused or not answered in time.
    pub async fn order(&self, verb: Verb, revision: &str) -> Result<()> {
        let answer = self.command(verb, revision).await?;
        let done = answer.outcome == CommandOutcome::Done;
        ensure!(done, "{} was refused: {}", answer.command, answer.message);
        Ok(())
    }

    /// # Errors
    /// When there is none that speaks of what is declared.
    pub async fn status(&self) -> Result<AppServiceStatus> {
        let service = self.namespace.api::<AppService>().get(Self::NAME).await?;
        let status = service.status.context("there is no status")?;
        let (observed, declared) = (status.observed_generation, service.metadata.generation);
        ensure!(
            observed == declared,
            "the status is of generation {observed:?}, the spec of {declared:?}"
        );
        Ok(status)
    }

    /// # Errors
    /// As [`Self::status`].
    pub async fn record(&self) -> Result<ReleaseRecord> {
        Ok(self.status().await?.record)
    }

    /// The revision that is served.
    ///
    /// # Errors
    /// When none is.
    pub async fn active(&self) -> Result<String> {
        let active = self.record().await?.active_revision;
        active.context("no revision is active")
    }

    /// Waits until the release is in a phase that lasts.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn in_phase(&self, phase: ReleasePhase) -> Result<ReleaseStatus> {
        self.under_way(format!("a release is {}", phase.as_str()), |release| {
            release.phase == phase
        })
        .await
    }

    /// Waits until a release is under way that `fits`.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn under_way(
        &self,
        what: String,
        fits: impl Fn(&ReleaseStatus) -> bool,
    ) -> Result<ReleaseStatus> {
        eventually(SOON, what, async || {
            let record = self.record().await?;
            let release = record.release.as_ref();
            let release = release.with_context(|| format!("no release: {record:?}"))?;
            ensure!(fits(release), "{release:?}");
            Ok(release.clone())
        })
        .await
    }

    /// Waits until the release has ended and all new requests are answered by a revision.
    ///
    /// # Errors
    /// When it has not in time, or the declared revision is held back.
    pub async fn released(&self, revision: &str) -> Result<String> {
        let what = format!("{revision} is released");
        let active = eventually(SOON, what, async || {
            let record = self.record().await?;
            let over = record.release.is_none() && record.hold.is_none();
            ensure!(over, "{record:?}");
            record.active_revision.context("no revision is active")
        })
        .await?;
        self.answers_at(Self::NAME, revision).await?;
        Ok(active)
    }

    /// Waits until the declared revision is held back.
    ///
    /// # Errors
    /// When it is not in time, or for another reason.
    pub async fn held(&self, reason: HoldReason) -> Result<Hold> {
        self.held_within(SOON, reason).await
    }

    /// # Errors
    /// As [`Self::held`].
    pub async fn held_within(&self, within: Duration, reason: HoldReason) -> Result<Hold> {
        let hold = eventually(within, "the declared revision is held back", async || {
            let record = self.record().await?;
            let hold = record.hold.clone();
            hold.with_context(|| format!("it is not: {record:?}"))
        })
        .await?;
        ensure!(hold.reason == reason, "held for another reason: {hold:?}");
        Ok(hold)
    }

    /// Waits until a row of new connections is answered by one revision alone.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn answers_at(&self, service: &str, revision: &str) -> Result<()> {
        let address = self.address(service).await?;
        let what = format!("{revision} alone answers at {service}");
        eventually(SOON, what, async || {
            for _ in 0..ROW {
                let answer = get(address, "/").await?;
                let by = answer.header("x-revision");
                let well = answer.status == 200 && by == revision;
                ensure!(well, "{} from {by}", answer.status);
            }
            Ok(())
        })
        .await
    }

    /// Load through the Service, until it is stopped.
    ///
    /// # Errors
    /// When there is no Service.
    pub async fn load(&self) -> Result<Load> {
        let address = self.address(Self::NAME).await?;
        Ok(Load::begin(address, "/", REQUESTS_PER_SECOND))
    }

    /// How many replicas of a revision there are and how many of them are ready; none where it has
    /// no Deployment.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn replicas(&self, revision: &str) -> Result<(i32, i32)> {
        let name = format!("{}-{revision}", Self::NAME);
        let deployment = self.namespace.api::<Deployment>().get_opt(&name).await?;
        let status = deployment.and_then(|it| it.status).unwrap_or_default();
        let ready = status.ready_replicas.unwrap_or_default();
        Ok((status.replicas.unwrap_or_default(), ready))
    }

    async fn address(&self, service: &str) -> Result<SocketAddr> {
        let service = eventually(SOON, format!("there is a Service {service}"), async || {
            Ok(self.namespace.api::<Service>().get(service).await?)
        })
        .await?;
        let address = service.spec.and_then(|spec| spec.cluster_ip);
        let address = address.context("the Service has no address")?;
        Ok(SocketAddr::new(address.parse()?, 80))
    }
}

fn manifest(revision: &str, variables: &[(&str, &str)], release: &Value) -> Result<Value> {
    let variables: Vec<_> = std::iter::once(&("REVISION", revision))
        .chain(variables)
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let manifest = with(fixture(Barge::NAME)?, "/spec/env", json!(variables))?;
    with(manifest, "/spec/release", release.clone())
}

//! The service or the pool of workers whose release is spoken of.

use anyhow::anyhow;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orlop_crds::{
    release::{COMMAND, HandoverMode, ReleasePhase, ReleaseRecord},
    schema,
};
use orlop_plan::labels;

use crate::{Failure, cluster::Cluster, declared::Declared};

/// One object that is released by revisions, as the operator reported it last.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Released {
    pub(super) kind: &'static str,
    pub(super) metadata: ObjectMeta,
    /// Whether the operator has seen the spec as it stands now.
    pub(super) is_seen: bool,
    pub(super) record: ReleaseRecord,
    /// Ready of wanted replicas.
    pub(super) summary: String,
    /// Phases that its release may go through, in their order.
    pub(super) phases: Vec<ReleasePhase>,
}

/// What the name stands for: an object's name, a component's where only one application has it,
/// `KIND/NAME` or `APPLICATION/COMPONENT`.
pub(super) async fn find(name: &str, cluster: &Cluster) -> Result<Released, Failure> {
    let mut found = if let Some((prefix, name)) = name.split_once('/') {
        match kind_of(prefix) {
            Some(kind) => of_name(&[kind], name, cluster).await?,
            None => of_component(name, Some(prefix), cluster).await?,
        }
    } else {
        let named = of_name(&Declared::RELEASED, name, cluster).await?;
        if named.is_empty() {
            of_component(name, None, cluster).await?
        } else {
            named
        }
    };
    match found.len() {
        0 => Err(missing(name, cluster).await?),
        1 => Ok(found.remove(0)),
        _ => {
            let titles: Vec<_> = found.iter().map(Released::title).collect();
            let message = format!("'{name}' is not enough: there are {}", titles.join(", "));
            Err(Failure::Unfit(message))
        }
    }
}

/// The kind of this name, singular or plural, in whatever case.
fn kind_of(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    Declared::RELEASED.into_iter().find(|kind| {
        let known = schema::kinds().iter().find(|known| known.name == *kind);
        kind.to_lowercase() == word || known.is_some_and(|known| known.plural == word)
    })
}

async fn of_name(
    kinds: &[&'static str],
    name: &str,
    cluster: &Cluster,
) -> anyhow::Result<Vec<Released>> {
    let mut found = Vec::new();
    for kind in kinds {
        let object = cluster.get(kind, name, cluster.namespace()).await?;
        found.extend(object.as_ref().and_then(Released::of));
    }
    Ok(found)
}

async fn of_component(
    component: &str,
    application: Option<&str>,
    cluster: &Cluster,
) -> anyhow::Result<Vec<Released>> {
    let component = [(labels::NAME, component)].into_iter();
    let application = application.map(|name| (labels::OWNER_NAME, name));
    of_labels(component.chain(application), cluster).await
}

/// Components whose labels fit.
async fn of_labels(
    wanted: impl Iterator<Item = (&str, &str)>,
    cluster: &Cluster,
) -> anyhow::Result<Vec<Released>> {
    let made = [(labels::OWNER_KIND, "AppPlatform")].into_iter();
    let terms: Vec<_> = made
        .chain(wanted)
        .map(|(label, value)| format!("{label}={value}"))
        .collect();
    let selector = terms.join(",");
    let mut found = Vec::new();
    for kind in Declared::RELEASED {
        let objects = cluster.labelled(kind, &selector).await?;
        found.extend(objects.iter().filter_map(Released::of));
    }
    Ok(found)
}

/// Why there is nothing of this name. An application is no mistake, but not enough.
async fn missing(name: &str, cluster: &Cluster) -> anyhow::Result<Failure> {
    let application = name.split('/').next().unwrap_or(name);
    let labels = [(labels::OWNER_NAME, application)];
    let parts = of_labels(labels.into_iter(), cluster).await?;
    if parts.is_empty() {
        return Ok(Failure::Error(anyhow!(
            "there is no {} '{name}' in the namespace {}",
            Declared::RELEASED.join(" or "),
            cluster.namespace()
        )));
    }
    let parts: Vec<_> = parts
        .iter()
        .filter_map(|part| part.metadata.labels.as_ref()?.get(labels::NAME))
        .map(|component| format!("{application}/{component}"))
        .collect();
    Ok(Failure::Unfit(format!(
        "the application '{application}' is released component by component: {}",
        parts.join(", ")
    )))
}

impl Released {
    /// `None` of a kind that has no revisions.
    fn of(object: &Declared) -> Option<Self> {
        let (metadata, seen, record, summary, phases) = match object {
            Declared::AppService(service) => {
                let status = service.status.clone().unwrap_or_default();
                (
                    &service.metadata,
                    status.observed_generation,
                    status.record,
                    status.summary,
                    ReleasePhase::ALL.to_vec(),
                )
            }
            Declared::WorkerPool(pool) => {
                let status = pool.status.clone().unwrap_or_default();
                let release = pool.spec.release.as_ref();
                (
                    &pool.metadata,
                    status.observed_generation,
                    status.record,
                    status.summary,
                    of_workers(release.and_then(|release| release.mode)),
                )
            }
            _ => return None,
        };
        Some(Self {
            kind: object.kind(),
            metadata: metadata.clone(),
            is_seen: seen >= metadata.generation,
            record,
            summary: summary.unwrap_or_default(),
            phases,
        })
    }

    /// As it is now.
    pub(super) async fn again(&self, cluster: &Cluster) -> anyhow::Result<Self> {
        let object = cluster
            .get(self.kind, self.name(), cluster.namespace())
            .await?;
        let same = object.as_ref().and_then(Self::of);
        same.filter(|it| it.metadata.uid == self.metadata.uid)
            .ok_or_else(|| anyhow!("{} was deleted", self.title()))
    }

    pub(super) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    pub(super) fn title(&self) -> String {
        format!("{}/{}", self.kind, self.name())
    }

    /// The command that was given last, whether it is answered or not.
    pub(super) fn commanded(&self) -> Option<&str> {
        let annotations = self.metadata.annotations.as_ref()?;
        annotations.get(COMMAND).map(String::as_str)
    }

    /// The revision that the spec declares, as far as the operator has seen it.
    pub(super) fn declared(&self) -> Option<&str> {
        let ReleaseRecord {
            active_revision,
            release,
            hold,
            ..
        } = &self.record;
        let held = hold.as_ref().map(|hold| &hold.revision);
        let coming = release.as_ref().map(|release| &release.to);
        let declared = held.or(coming).or(active_revision.as_ref());
        declared.filter(|_| self.is_seen).map(String::as_str)
    }

    /// How to command something of it.
    pub(super) fn verb(&self, verb: &str) -> String {
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        format!("`orlop release {verb} {} -n {namespace}`", self.name())
    }
}

/// Workers that hand over wait to be promoted before they start: whatever starts takes jobs.
fn of_workers(mode: Option<HandoverMode>) -> Vec<ReleasePhase> {
    use ReleasePhase::{Draining, Gated, Starting, Switching};
    match mode.unwrap_or(HandoverMode::Handover) {
        HandoverMode::Handover => vec![Gated, Starting, Switching, Draining],
        HandoverMode::Overlap => vec![Starting, Gated, Switching, Draining],
    }
}

//! The pod template of a revision, frozen when the revision was first seen: kept in a
//! ControllerRevision, so that an upgrade of the operator, which may render another one, releases
//! nothing.

use k8s_openapi::{
    api::{apps::v1::ControllerRevision, core::v1::PodTemplateSpec},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, runtime::RawExtension},
};
use serde_json::json;

use crate::{Kind, Object, ObjectName, Observed};

/// The pod template of a revision.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template {
    pub(crate) pod: PodTemplateSpec,
    /// Position in the history.
    ordinal: i64,
}

impl Template {
    /// A template that is seen for the first time, or again where what keeps it cannot be read: then
    /// it keeps its place.
    pub(crate) fn new(name: &str, pod: PodTemplateSpec, observed: &Observed) -> Self {
        let mut kept = observed.controller_revisions();
        let own = kept.find(|kept| kept.metadata.name.as_deref() == Some(name));
        let ordinals = observed.controller_revisions().map(|kept| kept.revision);
        let next = || 1 + ordinals.max().unwrap_or(0);
        Self {
            pod,
            ordinal: own.map_or_else(next, |own| own.revision),
        }
    }

    /// The one that is kept under a name.
    pub(crate) fn kept(name: &str, observed: &Observed) -> Option<Self> {
        let Object::ControllerRevision(object) = observed.get(Kind::ControllerRevision, name)?
        else {
            return None;
        };
        let template = object.data.as_ref()?.0.get("template")?;
        Some(Self {
            pod: serde_json::from_value(template.clone()).ok()?,
            ordinal: object.revision,
        })
    }

    /// The one that a Deployment runs.
    pub(crate) fn running(name: &str, observed: &Observed) -> Option<Self> {
        let deployment = observed.deployment(name)?;
        Some(Self::new(
            name,
            deployment.spec.as_ref()?.template.clone(),
            observed,
        ))
    }

    /// What keeps it.
    pub(crate) fn controller_revision(&self, metadata: ObjectMeta) -> ControllerRevision {
        ControllerRevision {
            metadata,
            revision: self.ordinal,
            data: Some(RawExtension(json!({"template": self.pod}))),
        }
    }
}

/// The templates that can be gone back to: the newest ones, so many, and that of the revision that
/// was served before.
pub(crate) fn history(
    observed: &Observed,
    most: i32,
    previous: Option<String>,
) -> impl Iterator<Item = ObjectName> {
    let mut kept: Vec<_> = observed.controller_revisions().collect();
    kept.sort_by_key(|object| std::cmp::Reverse(object.revision));
    let newest = kept
        .into_iter()
        .take(usize::try_from(most).unwrap_or(0))
        .filter_map(|object| object.metadata.name.clone());
    newest
        .chain(previous)
        .map(|name| ObjectName::new(Kind::ControllerRevision, &name))
}

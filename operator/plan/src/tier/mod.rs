//! What the rooms of the data tiers (databases, caches, brokers) share: who a tier is, its
//! credentials, and the pods that keep its data.

mod credentials;
mod node;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use orlop_crds::tier::DeletionPolicy;

pub(crate) use credentials::{Credential, Credentials, binding};
pub(crate) use node::{DataNodes, Mounted};

use crate::{
    labels,
    meta::{self, Owner},
    names,
    service::Invalid,
};

/// Who a tier is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tier {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) generation: Option<i64>,
    pub(crate) version: Option<String>,
    /// Name of the component in its application; the tier's own name if it stands alone.
    pub(crate) component: String,
    /// The application, if it belongs to one.
    pub(crate) part_of: Option<String>,
    pub(crate) deletion: DeletionPolicy,
}

impl Tier {
    /// # Errors
    /// When its objects cannot be named after it.
    pub(crate) fn new(
        kind: &'static str,
        metadata: &ObjectMeta,
        deletion: DeletionPolicy,
    ) -> Result<Self, Invalid> {
        let name = names::service_name(metadata.name.as_deref())?;
        let label = |key: &str| metadata.labels.as_ref()?.get(key).cloned();
        Ok(Self {
            kind,
            namespace: metadata.namespace.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation,
            version: metadata.resource_version.clone(),
            component: label(labels::NAME).unwrap_or_else(|| name.clone()),
            part_of: label(labels::PART_OF),
            name,
            deletion,
        })
    }

    /// Name of one of its objects: `<tier>-<part>`.
    pub(crate) fn object_name(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    /// DNS name of one of its Services, from any namespace.
    pub(crate) fn host(&self, service: &str, cluster_domain: &str) -> String {
        format!("{service}.{}.svc.{cluster_domain}", self.namespace)
    }

    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        meta::labels(&self.owner(), &self.component, self.part_of.as_deref())
    }

    /// What tells its pods from all others, and never changes.
    pub(crate) fn selector(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (labels::OWNER_KIND.to_owned(), self.kind.to_owned()),
            (labels::OWNER_NAME.to_owned(), self.name.clone()),
        ])
    }

    /// Of an object that goes with the tier.
    pub(crate) fn metadata(&self, name: String) -> ObjectMeta {
        meta::child(&self.owner(), name, &self.namespace, self.labels())
    }

    /// Of an object that stays with the data when the tier goes: without an owner reference, unless
    /// the data goes too.
    pub(crate) fn metadata_beside_data(&self, name: String) -> ObjectMeta {
        let metadata = self.metadata(name);
        match self.deletion {
            DeletionPolicy::Delete => metadata,
            DeletionPolicy::Keep => ObjectMeta {
                owner_references: None,
                ..metadata
            },
        }
    }

    fn owner(&self) -> Owner<'_> {
        Owner {
            kind: self.kind,
            name: &self.name,
            uid: &self.uid,
        }
    }
}

//! Metadata of the objects that Orlop makes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::labels as label;

/// The object for which others are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'a> {
    pub(crate) kind: &'static str,
    pub(crate) name: &'a str,
    pub(crate) uid: &'a str,
}

pub(crate) fn labels(
    owner: &Owner<'_>,
    component: &str,
    part_of: Option<&str>,
) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        (label::MANAGED_BY.to_owned(), label::ORLOP.to_owned()),
        (label::NAME.to_owned(), component.to_owned()),
        (label::OWNER.to_owned(), owner.uid.to_owned()),
        (label::OWNER_KIND.to_owned(), owner.kind.to_owned()),
        (label::OWNER_NAME.to_owned(), owner.name.to_owned()),
    ]);
    if let Some(part_of) = part_of {
        labels.insert(label::PART_OF.to_owned(), part_of.to_owned());
    }
    labels
}

pub(crate) fn child(
    owner: &Owner<'_>,
    name: String,
    namespace: &str,
    labels: BTreeMap<String, String>,
) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(namespace.to_owned()),
        labels: Some(labels),
        owner_references: Some(vec![OwnerReference {
            api_version: format!("{}/{}", orlop_crds::GROUP, orlop_crds::VERSION),
            kind: owner.kind.to_owned(),
            name: owner.name.to_owned(),
            uid: owner.uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..ObjectMeta::default()
    }
}

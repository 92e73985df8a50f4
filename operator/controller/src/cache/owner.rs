//! For whom an object was made.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use orlop_crds::GROUP;
use orlop_plan::labels;

use crate::{key::ObjectKey, primary::PrimaryKind};

/// UIDs of the owners: from the label, and from the owner references of our group, so that an
/// object keeps its owner when one of the two is tampered with.
pub(crate) fn uids(metadata: &ObjectMeta) -> impl Iterator<Item = String> + '_ {
    let labelled = label(metadata, labels::OWNER).map(str::to_owned);
    let referred = references(metadata).map(|reference| reference.uid.clone());
    let referred = referred.filter(move |uid| label(metadata, labels::OWNER) != Some(uid));
    labelled.into_iter().chain(referred)
}

/// Kinds and keys of the owners, from the same two sources.
pub(crate) fn keys(metadata: &ObjectMeta) -> impl Iterator<Item = (PrimaryKind, ObjectKey)> + '_ {
    let labelled = label(metadata, labels::OWNER_KIND).zip(label(metadata, labels::OWNER_NAME));
    let referred =
        references(metadata).map(|reference| (reference.kind.as_str(), reference.name.as_str()));
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    labelled
        .into_iter()
        .chain(referred)
        .filter_map(move |(kind, name)| {
            let key = ObjectKey {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            };
            Some((PrimaryKind::parse(kind)?, key))
        })
}

fn label<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(name).map(String::as_str)
}

fn references(metadata: &ObjectMeta) -> impl Iterator<Item = &OwnerReference> {
    metadata
        .owner_references
        .iter()
        .flatten()
        .filter(|reference| {
            let group = reference
                .api_version
                .split_once('/')
                .map(|(group, _)| group);
            reference.controller == Some(true) && group == Some(GROUP)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(api_version: &str, uid: &str) -> OwnerReference {
        OwnerReference {
            api_version: api_version.to_owned(),
            kind: "AppService".to_owned(),
            name: "mast".to_owned(),
            uid: uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: None,
        }
    }

    #[test]
    fn the_owner_is_known_from_the_reference_when_the_labels_are_gone() {
        let metadata = ObjectMeta {
            namespace: Some("harbour".to_owned()),
            owner_references: Some(vec![reference("orlop.dev/v1alpha1", "uid-1")]),
            ..ObjectMeta::default()
        };
        assert_eq!(uids(&metadata).collect::<Vec<_>>(), ["uid-1"]);
        let key = ObjectKey {
            namespace: "harbour".to_owned(),
            name: "mast".to_owned(),
        };
        assert_eq!(
            keys(&metadata).collect::<Vec<_>>(),
            [(PrimaryKind::AppService, key)]
        );
    }

    #[test]
    fn owners_of_other_groups_are_not_ours() {
        let metadata = ObjectMeta {
            owner_references: Some(vec![reference("apps/v1", "uid-1")]),
            ..ObjectMeta::default()
        };
        assert_eq!(uids(&metadata).count(), 0);
        assert_eq!(keys(&metadata).count(), 0);
    }
}

//! Fencing a leader that was replaced without knowing it.
//!
//! Such a leader may know an old version of the owner and the newest version of what was made for
//! it: the resource version of a write would not stop it from changing everything back. So each
//! object carries the version of its owner from which it was written last, and who knows an older
//! one writes nothing until its caches have caught up.
//!
//! Resource versions of one incarnation grow and can be compared as numbers (KEP-5504). The version
//! is written along with other changes only, so it costs no write of its own.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{Object, Observed, labels};

/// Whether something that is observed was written from a newer version of the owner.
pub(crate) fn is_behind(owner: &ObjectMeta, observed: &Observed) -> bool {
    let Some(version) = version(owner.resource_version.as_deref()) else {
        return false;
    };
    let mut children = observed.children.iter();
    children.any(|object| written_from(object.metadata()) > Some(version))
}

/// Whether an object that was looked up was written from a newer version of the owner than the one
/// that is wanted in its place: what [`Write::Create`](crate::Write::Create) meets where the caches
/// do not show an object because it lost its labels.
#[must_use]
pub fn is_superseded(wanted: &Object, found: &ObjectMeta) -> bool {
    written_from(found) > written_from(wanted.metadata())
}

/// Notes the owner's version on an object that is about to be written.
pub(crate) fn stamp(object: &mut Object, owner_version: Option<&str>) {
    if let Some(version) = owner_version {
        object
            .metadata_mut()
            .annotations
            .get_or_insert_default()
            .insert(labels::OWNER_VERSION.to_owned(), version.to_owned());
    }
}

/// A version beyond the object's own was not there when the object was written: somebody else
/// invented it, and it must not keep the operator away.
fn written_from(object: &ObjectMeta) -> Option<u64> {
    let annotations = object.annotations.as_ref()?;
    let noted = version(annotations.get(labels::OWNER_VERSION).map(String::as_str))?;
    let own = version(object.resource_version.as_deref());
    own.is_none_or(|own| noted <= own).then_some(noted)
}

fn version(text: Option<&str>) -> Option<u64> {
    text?.parse().ok()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn child(version: &str) -> Observed {
        let mut object = Object::from(ConfigMap::default());
        stamp(&mut object, Some(version));
        Observed {
            children: vec![object],
            ..Observed::default()
        }
    }

    fn owner(version: &str) -> ObjectMeta {
        ObjectMeta {
            resource_version: Some(version.to_owned()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn a_version_that_somebody_invented_keeps_nobody_away() {
        let mut invented = child("9000");
        invented.children[0].metadata_mut().resource_version = Some("120".to_owned());
        assert!(!is_behind(&owner("99"), &invented));
    }

    #[test]
    fn who_knows_an_older_owner_than_the_last_writer_is_behind() {
        assert!(is_behind(&owner("99"), &child("100")));
        assert!(!is_behind(&owner("100"), &child("100")));
        assert!(!is_behind(&owner("101"), &child("100")));
        assert!(!is_behind(&ObjectMeta::default(), &child("100")));
        assert!(!is_behind(&owner("99"), &Observed::default()));
    }
}

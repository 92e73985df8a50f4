use k8s_openapi::api::core::v1::ConfigMap;
use orlop_plan::labels;

use super::*;

fn object(namespace: &str, name: &str, owner: &str, version: &str) -> ConfigMap {
    let metadata = ObjectMeta {
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        resource_version: Some(version.to_owned()),
        labels: Some([(labels::OWNER.to_owned(), owner.to_owned())].into()),
        ..ObjectMeta::default()
    };
    ConfigMap {
        metadata,
        ..ConfigMap::default()
    }
}

fn names(objects: &[Arc<ConfigMap>]) -> Vec<&str> {
    objects
        .iter()
        .filter_map(|object| object.metadata.name.as_deref())
        .collect()
}

#[test]
fn an_object_is_found_by_its_present_owner_only() {
    let store = Store::default();
    store.apply(object("harbour", "rope", "first", "1"));
    store.apply(object("harbour", "sail", "first", "2"));
    store.apply(object("harbour", "rope", "second", "3"));
    assert_eq!(names(&store.owned_by("first")), ["sail"]);
    assert_eq!(names(&store.owned_by("second")), ["rope"]);
    store.remove(&object("harbour", "rope", "second", "4").metadata);
    assert!(store.owned_by("second").is_empty());
}

#[test]
fn only_the_objects_of_the_namespace_are_found_in_it() {
    let store = Store::default();
    for namespace in ["harbou", "harbour", "harbour-2"] {
        store.apply(object(namespace, "rope", "first", "1"));
    }
    assert_eq!(store.in_namespace("harbour").len(), 1);
}

#[test]
fn a_new_list_tells_what_came_what_changed_and_what_went() {
    let store = Store::default();
    for (name, version) in [("same", "1"), ("changed", "2"), ("gone", "3")] {
        store.apply(object("harbour", name, "first", version));
    }
    store.apply(object("elsewhere", "untouched", "first", "4"));
    let listed = [("same", "1"), ("changed", "5"), ("new", "6")];
    let listed = listed.map(|(name, version)| object("harbour", name, "first", version));
    let changes = store.replace(Some("harbour"), listed.into());
    let told: Vec<_> = changes
        .iter()
        .map(|change| {
            let name = change
                .states()
                .next()
                .and_then(|state| state.metadata.name.as_deref());
            (
                name.unwrap_or_default(),
                change.before.is_some(),
                change.after.is_some(),
            )
        })
        .collect();
    let expected = [
        ("gone", true, false),
        ("changed", true, true),
        ("new", false, true),
    ];
    assert_eq!(told, expected);
    assert_eq!(names(&store.in_namespace("elsewhere")), ["untouched"]);
}

#[test]
fn it_has_seen_a_version_once_any_object_of_the_namespace_has_reached_it() {
    let store = Store::default();
    store.apply(object("harbour", "rope", "first", "9"));
    store.apply(object("harbour", "sail", "first", "12"));
    store.remove(&object("harbour", "sail", "first", "15").metadata);
    assert!(store.has_seen("harbour", 15));
    assert!(!store.has_seen("harbour", 16));
    assert!(!store.has_seen("elsewhere", 1));
}

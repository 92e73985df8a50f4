use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::*;
use crate::fake::{Reply, Script, failure, metadata};

const AUTHOR: Author<'_> = Author {
    namespace: "harbour",
    kind: "AppService",
    name: "mast",
    uid: "uid-1",
    field_manager: "orlop-test",
};
const ROPE: &str = "/api/v1/namespaces/harbour/configmaps/rope";
const APPLY: &str = "/api/v1/namespaces/harbour/configmaps/rope?";

fn rope() -> Object {
    let rope = json!({"metadata": {"namespace": "harbour", "name": "rope"}});
    serde_json::from_value::<ConfigMap>(rope).unwrap().into()
}

fn update() -> Write {
    Write::Update {
        object: rope(),
        resource_version: "5".to_owned(),
    }
}

fn delete() -> Write {
    let (uid, resource_version) = ("uid-2".to_owned(), "5".to_owned());
    Write::Delete {
        name: rope().name(),
        uid,
        resource_version,
    }
}

async fn act(
    writes: impl IntoIterator<Item = Write>,
    replies: impl IntoIterator<Item = Reply>,
) -> (Acted, Script) {
    let script = Script::new(replies);
    let actor = Actor {
        client: script.client(),
        metrics: Metrics::new(),
    };
    (
        actor.act(AUTHOR, writes.into_iter().collect()).await,
        script,
    )
}

fn applied(version: u64) -> Effect {
    Effect::Applied {
        kind: Kind::ConfigMap,
        version,
    }
}

#[tokio::test]
async fn what_does_not_exist_is_applied_without_force() {
    let replies = [
        failure(404, "none"),
        metadata(&json!({"resourceVersion": "6"})),
    ];
    let (acted, script) = act([Write::Create(rope())], replies).await;
    assert!(matches!(acted.end, End::Complete), "{acted:?}");
    assert_eq!(acted.effects, [applied(6)]);
    let lines = [
        format!("GET {ROPE}"),
        format!("PATCH {APPLY}&fieldManager=orlop-test"),
    ];
    assert_eq!(script.lines(), lines);
    assert_eq!(
        script.calls()[1].body["metadata"]["resourceVersion"],
        Value::Null
    );
}

#[tokio::test]
async fn what_exists_and_is_ours_is_taken_back_at_the_version_that_was_read() {
    let owner = json!({
        "apiVersion": "orlop.dev/v1alpha1", "kind": "AppService", "name": "mast",
        "uid": "uid-1", "controller": true
    });
    let found = json!({"resourceVersion": "5", "ownerReferences": [owner]});
    let replies = [metadata(&found), metadata(&json!({"resourceVersion": "6"}))];
    let (acted, script) = act([Write::Create(rope())], replies).await;
    assert!(matches!(acted.end, End::Complete), "{acted:?}");
    let call = script.calls().pop().unwrap();
    assert_eq!(
        call.line,
        format!("PATCH {APPLY}&force=true&fieldManager=orlop-test")
    );
    assert_eq!(call.body["metadata"]["resourceVersion"], "5");
}

#[tokio::test]
async fn what_belongs_to_somebody_else_is_never_written() {
    let cases = [
        (
            json!({"labels": {labels::OWNER_KIND: "AppPlatform", labels::OWNER_NAME: "fleet",
            labels::OWNER: "uid-9"}}),
            "AppPlatform/fleet",
        ),
        (json!({"labels": {labels::MANAGED_BY: "Helm"}}), "Helm"),
        (
            json!({"managedFields": [
                {"manager": "orlop-appservice-status", "subresource": "status"},
                {"manager": "kubectl"}
            ]}),
            "kubectl",
        ),
        (json!({}), "somebody else"),
    ];
    for (found, expected) in cases {
        let writes = [Write::Create(rope()), delete()];
        let (acted, script) = act(writes, [metadata(&found)]).await;
        let End::Failed(Failure::NameTaken { target, owner }) = acted.end else {
            panic!("{acted:?}");
        };
        assert_eq!((target, owner.as_str()), (rope().name(), expected));
        assert_eq!(script.lines(), [format!("GET {ROPE}")]);
    }
}

#[tokio::test]
async fn what_a_deleted_namesake_left_behind_is_waited_for() {
    let owner = json!({
        "apiVersion": "orlop.dev/v1alpha1", "kind": "AppService", "name": "mast",
        "uid": "uid-0", "controller": true
    });
    let found = metadata(&json!({"resourceVersion": "5", "ownerReferences": [owner]}));
    let (acted, script) = act([Write::Create(rope())], [found]).await;
    assert!(matches!(acted.end, End::Stale), "{acted:?}");
    assert_eq!(script.lines(), [format!("GET {ROPE}")]);
}

#[tokio::test]
async fn an_update_names_its_version_and_a_conflict_stops_what_follows() {
    let replies = [
        metadata(&json!({"resourceVersion": "6"})),
        failure(409, "changed"),
    ];
    let (acted, script) = act([update(), update(), delete()], replies).await;
    assert!(matches!(acted.end, End::Stale), "{acted:?}");
    assert_eq!(acted.effects, [applied(6)]);
    for call in script.calls() {
        assert_eq!(
            call.line,
            format!("PATCH {APPLY}&force=true&fieldManager=orlop-test")
        );
        assert_eq!(call.body["metadata"]["resourceVersion"], "5");
    }
}

#[tokio::test]
async fn an_update_that_changed_nothing_has_no_effect_to_wait_for() {
    let (acted, _) = act([update()], [metadata(&json!({"resourceVersion": "5"}))]).await;
    assert_eq!(acted.effects, []);
}

#[tokio::test]
async fn a_deletion_names_the_incarnation_and_its_version() {
    let (acted, script) = act([delete()], [(200, json!({"kind": "Status"}))]).await;
    let key = ObjectKey {
        namespace: "harbour".to_owned(),
        name: "rope".to_owned(),
    };
    let uid = "uid-2".to_owned();
    assert_eq!(
        acted.effects,
        [Effect::Deleted {
            kind: Kind::ConfigMap,
            key,
            uid
        }]
    );
    let call = script.calls().pop().unwrap();
    assert!(call.line.starts_with(&format!("DELETE {ROPE}")), "{call:?}");
    assert_eq!(
        call.body,
        json!({
            "propagationPolicy": "Background",
            "preconditions": {"resourceVersion": "5", "uid": "uid-2"}
        })
    );
}

#[tokio::test]
async fn what_is_gone_already_counts_as_deleted_and_a_conflict_as_stale() {
    let (acted, _) = act([delete()], [failure(404, "none")]).await;
    assert!(matches!(acted.end, End::Complete), "{acted:?}");
    let (acted, _) = act([delete()], [failure(409, "changed")]).await;
    assert!(matches!(acted.end, End::Stale), "{acted:?}");
}

#[tokio::test]
async fn what_the_server_refuses_is_told_and_what_it_cannot_answer_is_not() {
    let (acted, _) = act([update()], [failure(403, "spec.x is wrong")]).await;
    let End::Failed(Failure::Refused { message, .. }) = acted.end else {
        panic!("{acted:?}")
    };
    assert_eq!(message, "spec.x is wrong");
    let (acted, _) = act([update()], [failure(503, "busy")]).await;
    assert!(matches!(acted.end, End::Broken(_)), "{acted:?}");
}

#[tokio::test]
async fn what_cannot_be_merged_with_is_replaced_as_a_whole_and_applied_again() {
    let replies = [
        failure(422, "spec.ports[1].name: Duplicate value"),
        metadata(&json!({"resourceVersion": "6"})),
        metadata(&json!({"resourceVersion": "7"})),
    ];
    let (acted, script) = act([update()], replies).await;
    assert!(matches!(acted.end, End::Complete), "{acted:?}");
    assert_eq!(acted.effects, [applied(7)]);
    let apply = format!("PATCH {APPLY}&force=true&fieldManager=orlop-test");
    assert_eq!(
        script.lines(),
        [apply.clone(), format!("PATCH {APPLY}"), apply]
    );
    let versions = script
        .calls()
        .into_iter()
        .map(|call| call.body["metadata"].clone());
    let versions: Vec<_> = versions
        .map(|metadata| metadata["resourceVersion"].clone())
        .collect();
    assert_eq!(versions, ["5", "5", "6"]);
}

#[tokio::test]
async fn what_is_invalid_in_itself_is_refused_after_one_more_try() {
    let replies = [
        failure(422, "spec.x is wrong"),
        failure(422, "spec.x is wrong"),
    ];
    let (acted, _) = act([update()], replies).await;
    assert!(
        matches!(acted.end, End::Failed(Failure::Refused { .. })),
        "{acted:?}"
    );
}

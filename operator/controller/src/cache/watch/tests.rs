use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::*;
use crate::{cache::trigger::dependent_changed, fake};

fn service(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "spec": spec,
        "metadata": {"namespace": "harbour", "name": name, "resourceVersion": "1",
            "managedFields": [{"manager": "somebody"}]},
    })
}

#[tokio::test]
async fn an_object_that_cannot_be_read_does_not_keep_the_others_from_being_seen() {
    let client = fake::client(|call| {
        assert!(
            call.line
                .contains("labelSelector=app.kubernetes.io%2Fmanaged-by%3Dorlop")
        );
        if call.line.contains("watch=true") {
            return fake::failure(503, "busy");
        }
        let items = [
            service("rope", &json!({})),
            service("sail", &json!({"ports": "none"})),
        ];
        let list = json!({"apiVersion": "v1", "kind": "ServiceList",
            "metadata": {"resourceVersion": "7"}, "items": items});
        (200, list)
    });
    let metrics = Metrics::new();
    let caches = Arc::new(Caches::default());
    let queues = Arc::new(Queues::new(&metrics));
    let context = WatchContext {
        client,
        caches: Arc::clone(&caches),
        queues,
        metrics,
    };
    let select: fn(&Caches) -> &Store<Service> = |caches| &caches.services;
    let watch = Watch::<Service>::new(&context, None, Selection::Ours, select, dependent_changed);
    let mut listed = watch.listed();
    let running = tokio::spawn(watch.run());
    let deadline = Duration::from_secs(10);
    tokio::time::timeout(deadline, listed.wait_for(|listed| *listed))
        .await
        .unwrap()
        .unwrap();
    running.abort();

    let seen = caches.services.in_namespace("harbour");
    let names: Vec<_> = seen
        .iter()
        .map(|seen| seen.metadata.name.as_deref())
        .collect();
    assert_eq!(names, [Some("rope")]);
    assert!(
        seen.iter()
            .all(|seen| seen.metadata.managed_fields.is_none())
    );
    let label = KindLabel {
        kind: "Service".to_owned(),
    };
    assert_eq!(context.metrics.undecodable.get_or_create(&label).get(), 1);
}

#[test]
fn of_a_pod_nothing_is_kept_that_is_not_read() {
    let mut pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "labels": {"a": "b"}, "annotations": {"c": "d"}},
        "spec": {"containers": [{"name": "c"}]},
        "status": {"phase": "Running"},
    }))
    .unwrap();
    strip_pod(&mut pod);
    let kept: Value = serde_json::to_value(&pod).unwrap();
    assert_eq!(kept["metadata"], json!({"name": "p", "labels": {"a": "b"}}));
    assert_eq!(kept["spec"], Value::Null);
    assert_eq!(kept["status"], json!({"phase": "Running"}));
}

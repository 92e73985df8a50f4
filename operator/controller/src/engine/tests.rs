use std::sync::atomic::{AtomicU64, Ordering};

use orlop_crds::AppService;
use orlop_plan::Images;
use serde_json::{Value, json};

use super::*;
use crate::fake::{self, Call, Reply, failure};

fn key() -> ObjectKey {
    ObjectKey {
        namespace: "harbour".to_owned(),
        name: "mast".to_owned(),
    }
}

fn service(extra: &Value) -> AppService {
    let mut metadata = json!({
        "namespace": "harbour", "name": "mast", "uid": "uid-1", "generation": 1,
        "resourceVersion": "5"
    });
    let fields = extra.as_object().cloned().unwrap_or_default();
    metadata.as_object_mut().unwrap().extend(fields);
    serde_json::from_value(json!({
        "apiVersion": "orlop.dev/v1alpha1",
        "kind": "AppService",
        "metadata": metadata,
        "spec": {"image": "mast:1", "port": 80},
    }))
    .unwrap()
}

/// An engine before a server, and the calls that were made to it.
struct Stage {
    engine: Arc<Engine<AppService>>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Stage {
    fn new(answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&calls);
        let client = fake::client(move |call| {
            let reply = answer(&call);
            seen.lock().unwrap().push(call);
            reply
        });
        let metrics = Metrics::new();
        let settings = Settings {
            cluster_domain: "cluster.local".to_owned(),
            images: Images {
                edge: "edge:1".to_owned(),
                ..Images::default()
            },
        };
        let caches = Arc::new(Caches::default());
        let queues = Arc::new(Queues::new(&metrics));
        let name = "test".to_owned();
        let shared = Shared::new(&client, &caches, &queues, settings, &metrics, name);
        let queue = Arc::new(Queue::new("test", &metrics));
        Self {
            engine: Engine::new(&shared, &queue),
            calls,
        }
    }

    /// A server that accepts everything and counts the versions up from 100.
    fn accepting() -> Self {
        let version = AtomicU64::new(100);
        Self::new(move |call| {
            if call.line.starts_with("GET") {
                return failure(404, "none");
            }
            let version = version.fetch_add(1, Ordering::Relaxed).to_string();
            fake::metadata(&json!({"resourceVersion": version}))
        })
    }

    fn see(&self, service: AppService) {
        self.engine.shared.caches.app_services.apply(service);
    }

    /// Methods of the calls since the last look.
    fn methods(&self) -> Vec<String> {
        let calls = std::mem::take(&mut *self.calls.lock().unwrap());
        let method = |call: Call| call.line.split(' ').next().unwrap_or_default().to_owned();
        calls.into_iter().map(method).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_or_is_being_deleted_is_left_alone() {
    let stage = Stage::accepting();
    assert!(matches!(stage.engine.pass(&key()).await, Outcome::Settled));
    stage.see(service(
        &json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}),
    ));
    assert!(matches!(stage.engine.pass(&key()).await, Outcome::Settled));
    assert!(stage.methods().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_twice_while_the_caches_lag_behind() {
    let stage = Stage::accepting();
    stage.see(service(&json!({})));
    stage.engine.pass(&key()).await;
    assert!(stage.methods().contains(&"PATCH".to_owned()));

    let outcome = stage.engine.pass(&key()).await;
    assert!(matches!(outcome, Outcome::Held { .. }), "{outcome:?}");
    assert!(stage.methods().is_empty());

    stage.see(service(&json!({"resourceVersion": "1000"})));
    let outcome = stage.engine.pass(&key()).await;
    assert!(!matches!(outcome, Outcome::Held { .. }), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_sensibly_leads_to_a_retry_and_no_status() {
    let stage = Stage::new(|_| failure(503, "busy"));
    stage.see(service(&json!({})));
    let outcome = stage.engine.pass(&key()).await;
    assert_eq!(outcome.result(), "error", "{outcome:?}");
    assert!(
        !stage.methods().contains(&"POST".to_owned()),
        "an event of what is not recorded"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_is_told_to_stop_is_finished_first() {
    let stage = Stage::accepting();
    stage.see(service(&json!({})));
    let engine = Arc::clone(&stage.engine);
    engine.queue.add(key());
    let stop = CancellationToken::new();
    let heart = orlop_telemetry::Health::default().pulse("test", BEAT_AT_LEAST);
    let running = tokio::spawn(Arc::clone(&engine).run(1, stop.clone(), heart));
    let queue = &engine.queue;
    while queue.snapshot().depth > 0 {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    running.await.unwrap();
    assert_eq!(queue.snapshot().unfinished, Duration::ZERO);
    assert!(stage.methods().contains(&"PATCH".to_owned()));
}

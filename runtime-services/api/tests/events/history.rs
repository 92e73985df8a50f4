//! Who lights and trims lanterns, who looks at them, and what all of them saw.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::Rng as _;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::client::{Answer, Client};

/// A lantern is trimmed this often before its writer lights another one: enough to meet readers.
const TRIMS: i64 = 20;
/// Readers look at the newest lanterns.
const NEWEST: usize = 6;

#[derive(Default)]
pub(crate) struct History {
    lanterns: Mutex<Vec<Arc<Lantern>>>,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) hits: AtomicU64,
    pub(crate) reads: AtomicU64,
}

pub(crate) struct Lantern {
    pub(crate) id: String,
    /// The newest amount whose write was acknowledged.
    pub(crate) oil: AtomicI64,
}

impl History {
    pub(crate) fn lanterns(&self) -> Vec<Arc<Lantern>> {
        self.lanterns.lock().unwrap().clone()
    }

    /// Until told to stop. An answer that does not come leaves open what was done, and is no error.
    pub(crate) fn work(
        self: &Arc<Self>,
        api: Client,
        (writers, readers): (usize, usize),
        stop: &CancellationToken,
    ) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for _ in 0..writers {
            let (history, stop) = (Arc::clone(self), stop.clone());
            tasks.spawn(async move {
                while !stop.is_cancelled() {
                    history.light_and_trim(api, &stop).await;
                }
            });
        }
        for _ in 0..readers {
            let (history, stop) = (Arc::clone(self), stop.clone());
            tasks.spawn(async move {
                while !stop.is_cancelled() {
                    history.look(api).await;
                }
            });
        }
        tasks
    }

    async fn light_and_trim(&self, api: Client, stop: &CancellationToken) {
        let Some(lit) = write(api, "POST", "/api/lanterns", &[], &json!({"oil": 0})).await else {
            return sleep(Duration::from_millis(20)).await;
        };
        let lit = lit.expect(201);
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
        let lantern = Arc::new(Lantern {
            id: lit.json()["id"].as_str().unwrap().to_owned(),
            oil: AtomicI64::new(0),
        });
        self.lanterns.lock().unwrap().push(Arc::clone(&lantern));
        let mut tag = lit.header("etag").to_owned();
        let path = format!("/api/lanterns/{}", lantern.id);
        for oil in 1..=TRIMS {
            if stop.is_cancelled() {
                return;
            }
            // Rolled back, and nothing told of it.
            let stale = [("if-match", "\"lantern-0\"")];
            if let Some(refused) = write(api, "PATCH", &path, &stale, &json!({"oil": -1})).await {
                refused.expect(412);
            }
            let matching = [("if-match", tag.as_str())];
            let Some(trimmed) = write(api, "PATCH", &path, &matching, &json!({"oil": oil})).await
            else {
                return;
            };
            let trimmed = trimmed.expect(200);
            lantern.oil.store(oil, Ordering::SeqCst);
            self.acknowledged.fetch_add(1, Ordering::SeqCst);
            tag = trimmed.header("etag").to_owned();
            // Between two writes it may be cached.
            sleep(Duration::from_millis(10)).await;
        }
    }

    async fn look(&self, api: Client) {
        let lantern = {
            let lanterns = self.lanterns.lock().unwrap();
            let newest = lanterns.len().saturating_sub(NEWEST)..lanterns.len();
            (!newest.is_empty()).then(|| Arc::clone(&lanterns[rand::rng().random_range(newest)]))
        };
        let Some(lantern) = lantern else {
            return sleep(Duration::from_millis(10)).await;
        };
        let floor = lantern.oil.load(Ordering::SeqCst);
        let path = format!("/api/lanterns/{}", lantern.id);
        let Ok(seen) = api.try_send("GET", &path, &[], "").await else {
            return sleep(Duration::from_millis(10)).await;
        };
        if seen.status.is_server_error() {
            return;
        }
        let status = seen.header("cache-status").to_owned();
        let oil = seen.expect(200).json()["oil"].as_i64().unwrap();
        assert!(
            oil >= floor,
            "'{status}' returned {oil}, and {floor} was acknowledged before"
        );
        self.reads.fetch_add(1, Ordering::SeqCst);
        if status == "orlop; hit" {
            self.hits.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// `None` when it is not known whether it was done.
async fn write(
    api: Client,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Option<Answer> {
    let kind = if method == "POST" {
        "application/json"
    } else {
        "application/merge-patch+json"
    };
    let headers = [headers, &[("content-type", kind)]].concat();
    let answer = api
        .try_send(method, path, &headers, &body.to_string())
        .await;
    answer
        .ok()
        .filter(|answer| !answer.status.is_server_error())
}

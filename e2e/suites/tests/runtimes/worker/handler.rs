//! A handler that remembers what it was given.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use orlop_contract::worker::{ATTEMPT_REQUEST_HEADER, MESSAGE_ID_REQUEST_HEADER};
use orlop_suites::eventually;
use tokio::net::TcpListener;

/// Two thousand jobs of some ten milliseconds.
const WITHIN: Duration = Duration::from_mins(1);

#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) attempt: u32,
    pub(super) at: Instant,
}

#[derive(Clone, Debug)]
pub(super) struct Handler {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    started: Vec<Job>,
    done: Vec<String>,
}

impl Handler {
    /// Serves until the test ends. What `answer` says is what the worker hears.
    pub(super) async fn start<A: Future<Output = StatusCode> + Send>(
        answer: impl Fn(Job) -> A + Clone + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let handler = Self {
            address: listener.local_addr()?,
            seen: Arc::default(),
        };
        let told = handler.clone();
        let answer = async move |headers: HeaderMap| {
            let Some(job) = job(&headers) else {
                return StatusCode::BAD_REQUEST;
            };
            told.seen().started.push(job.clone());
            let id = job.id.clone();
            let status = answer(job).await;
            if status.is_success() {
                told.seen().done.push(id);
            }
            status
        };
        let router = Router::new().route("/jobs", post(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(handler)
    }

    /// How many attempts succeeded.
    pub(super) fn count(&self) -> usize {
        self.seen().done.len()
    }

    /// Waits until at least so many attempts have succeeded.
    pub(super) async fn reaches(&self, count: usize) -> Result<()> {
        eventually(WITHIN, format!("{count} jobs are done"), async || {
            let done = self.count();
            ensure!(done >= count, "{done} are done");
            Ok(())
        })
        .await
    }

    pub(super) fn done(&self) -> BTreeSet<String> {
        self.seen().done.iter().cloned().collect()
    }

    pub(super) fn attempts(&self, id: &str) -> Vec<Job> {
        let seen = self.seen();
        seen.started
            .iter()
            .filter(|job| job.id == id)
            .cloned()
            .collect()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// None for a request that is not what the worker promises.
fn job(headers: &HeaderMap) -> Option<Job> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    (text("content-type")? == "application/json").then_some(())?;
    Some(Job {
        id: text(MESSAGE_ID_REQUEST_HEADER)?.to_owned(),
        attempt: text(ATTEMPT_REQUEST_HEADER)?.parse().ok()?,
        at: Instant::now(),
    })
}

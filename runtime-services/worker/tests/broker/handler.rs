//! A handler that remembers what it was given.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use orlop_contract::worker::{ATTEMPT_REQUEST_HEADER, MESSAGE_ID_REQUEST_HEADER};
use tokio::net::TcpListener;

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) at: Instant,
}

#[derive(Clone, Debug)]
pub(crate) struct Handler {
    pub(crate) address: SocketAddr,
    started: Arc<Mutex<Vec<Job>>>,
    done: Arc<Mutex<Vec<String>>>,
}

impl Handler {
    pub(crate) async fn start<A: Future<Output = StatusCode> + Send>(
        answer: impl Fn(Job) -> A + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let handler = Self {
            address: listener.local_addr().unwrap(),
            started: Arc::default(),
            done: Arc::default(),
        };
        let (started, done) = (Arc::clone(&handler.started), Arc::clone(&handler.done));
        let answer = async move |headers: HeaderMap| {
            let job = job(&headers);
            started.lock().unwrap().push(job.clone());
            let id = job.id.clone();
            let status = answer(job).await;
            if status.is_success() {
                done.lock().unwrap().push(id);
            }
            status
        };
        let router = Router::new().route("/jobs", post(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        handler
    }

    /// How many attempts began.
    pub(crate) fn started(&self) -> usize {
        self.started.lock().unwrap().len()
    }

    /// How many attempts succeeded.
    pub(crate) fn count(&self) -> usize {
        self.done.lock().unwrap().len()
    }

    pub(crate) fn done(&self) -> BTreeSet<String> {
        self.done.lock().unwrap().iter().cloned().collect()
    }

    /// The ids of all jobs, none of which may have been done twice.
    pub(crate) fn done_once(&self) -> BTreeSet<String> {
        let done = self.done();
        assert_eq!(self.count(), done.len(), "some job was done twice");
        done
    }

    pub(crate) fn attempts(&self, id: &str) -> Vec<Job> {
        let started = self.started.lock().unwrap();
        started.iter().filter(|job| job.id == id).cloned().collect()
    }
}

fn job(headers: &HeaderMap) -> Job {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(text("content-type"), "application/json");
    Job {
        id: text(MESSAGE_ID_REQUEST_HEADER),
        attempt: text(ATTEMPT_REQUEST_HEADER).parse().unwrap(),
        at: Instant::now(),
    }
}

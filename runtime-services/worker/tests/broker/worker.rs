//! The worker as a process.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use orlop_contract::{
    queue,
    worker::{Handler, HttpHandler, Millis, Retry, Rung, WorkerConfig, WorkerStats},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::{PREFETCH, handler, queues, queues::Queues};

pub(crate) const CONCURRENCY: usize = 8;
pub(crate) const DRAIN: Duration = Duration::from_secs(3);

/// Longer than the drain, so that an attempt that hangs outlasts it.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(4);

pub(crate) struct Worker {
    child: Child,
    address: SocketAddr,
    config: PathBuf,
}

impl Worker {
    pub(crate) fn start(queues: &Queues, handler: &handler::Handler) -> Self {
        Self::start_at(queues, handler, &queues::broker().to_string())
    }

    pub(crate) fn start_at(queues: &Queues, handler: &handler::Handler, broker: &str) -> Self {
        let config = std::env::temp_dir().join(format!(
            "orlop-worker-{}-{}.json",
            std::process::id(),
            queues.name
        ));
        let written = serde_json::to_vec(&configuration(queues, handler)).unwrap();
        fs::write(&config, written).unwrap();
        let address = free_address();
        let child = Command::new(env!("CARGO_BIN_EXE_orlop-worker"))
            .arg("--config")
            .arg(&config)
            .args(["--http-address", &address.to_string()])
            .args(["--log-format", "text"])
            .env("AMQP_URL", broker)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            child,
            address,
            config,
        }
    }

    /// None while it does not answer.
    pub(crate) async fn stats(&self) -> Option<WorkerStats> {
        let (_, body) = self.get("/stats").await?;
        Some(serde_json::from_slice(&body).unwrap())
    }

    pub(crate) async fn is_ready(&self) -> bool {
        self.get("/readyz").await.is_some_and(|(ready, _)| ready)
    }

    pub(crate) async fn terminate(mut self) -> ExitStatus {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
        self.child.wait().await.unwrap()
    }

    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    async fn get(&self, path: &str) -> Option<(bool, Bytes)> {
        let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let url = format!("http://{}{path}", self.address).parse().unwrap();
        let response = client.get(url).await.ok()?;
        let ready = response.status().is_success();
        Some((ready, response.into_body().collect().await.ok()?.to_bytes()))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        fs::remove_file(&self.config).unwrap();
    }
}

fn configuration(queues: &Queues, handler: &handler::Handler) -> WorkerConfig {
    let rungs = queues.delays.iter().zip(1..).map(|(delay, place)| Rung {
        queue: queue::retry(&queues.name, place),
        delay_millis: Millis::from(*delay),
    });
    let rungs: Vec<_> = rungs.collect();
    WorkerConfig {
        queue: queues.name.clone(),
        dead_queue: queue::dead(&queues.name),
        concurrency: u16::try_from(CONCURRENCY).unwrap(),
        prefetch: PREFETCH,
        handler: Handler::Http(HttpHandler {
            url: format!("http://{}/jobs", handler.address),
            timeout_millis: HANDLER_TIMEOUT.into(),
        }),
        retry: Retry {
            attempts: u32::try_from(rungs.len()).unwrap() + 1,
            rungs,
        },
        drain_millis: DRAIN.into(),
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap()
}

//! The worker as a process.

use std::{
    env, fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use lapin::uri::AMQPUri;
use orlop_contract::{
    queue,
    worker::{
        AMQP_URL_VARIABLE, BrokerErrorKind, Handler, HttpHandler, Retry, Rung, STATS_PATH,
        WorkerConfig, WorkerStats,
    },
};
use orlop_suites::{built, eventually, get};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::{PREFETCH, WITHIN, handler, queue::Queue};

const CONCURRENCY: u16 = 8;
const DRAIN: Duration = Duration::from_secs(5);
const HANDLER_TIMEOUT: Duration = Duration::from_secs(5);

/// Ended with the test at the latest.
pub(super) struct Worker {
    child: Child,
    address: SocketAddr,
    config: PathBuf,
}

impl Worker {
    /// A worker that tries each job once, and once more after each backoff.
    pub(super) async fn start(
        queue: &Queue,
        backoffs: &[Duration],
        handler: &handler::Handler,
        broker: &AMQPUri,
    ) -> Result<Self> {
        let address = free_address()?;
        let name = format!("orlop-worker-{}.json", address.port());
        let config = env::temp_dir().join(name);
        let configuration = configuration(&queue.name, backoffs, handler)?;
        fs::write(&config, serde_json::to_vec(&configuration)?)?;
        let child = Command::new(built("orlop-worker")?)
            .arg("--config")
            .arg(&config)
            .args(["--http-address", &address.to_string()])
            .args(["--log-filter", "error,lapin=off"])
            .env(AMQP_URL_VARIABLE, broker.to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("failed to start the worker")?;
        let worker = Self {
            child,
            address,
            config,
        };
        eventually(WITHIN, "the worker answers", async || worker.stats().await).await?;
        Ok(worker)
    }

    pub(super) async fn stats(&self) -> Result<WorkerStats> {
        let answer = get(self.address, STATS_PATH).await?;
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// Waits until it says that it takes no jobs for this reason, and gives the sentence.
    pub(super) async fn tells(&self, kind: BrokerErrorKind) -> Result<String> {
        eventually(WITHIN, format!("it tells {kind:?}"), async || {
            let error = self.stats().await?.last_error;
            let error = error.context("it tells nothing")?;
            ensure!(error.kind == kind, "{error:?}");
            let ready = get(self.address, "/readyz").await?.status;
            ensure!(!ready.is_success(), "it is ready all the same");
            Ok(error.message)
        })
        .await
    }

    pub(super) async fn is_ready_within(&self, within: Duration) -> Result<()> {
        eventually(within, "the worker is ready", async || {
            let status = get(self.address, "/readyz").await?.status;
            ensure!(status.is_success(), "{status}");
            let error = self.stats().await?.last_error;
            ensure!(error.is_none(), "{error:?}");
            Ok(())
        })
        .await
    }

    /// Most memory that it ever held in RAM, in KiB.
    pub(super) fn peak_memory(&self) -> Result<u64> {
        let pid = self.child.id().context("it has ended")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.trim().strip_suffix(" kB"));
        Ok(peak.context("the system does not tell")?.parse()?)
    }

    /// Tells it to stop and waits until it has, in good order.
    pub(super) async fn terminate(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id().context("it has ended")?)?;
        let pid = Pid::from_raw(pid).context("no process has the id 0")?;
        kill_process(pid, Signal::TERM)?;
        let ended = timeout(WITHIN, self.child.wait()).await;
        let status = ended.context("it does not stop")??;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.config) {
            println!("{} is left: {error}", self.config.display());
        }
    }
}

fn configuration(
    name: &str,
    backoffs: &[Duration],
    handler: &handler::Handler,
) -> Result<WorkerConfig> {
    let rungs = backoffs.iter().zip(1..).map(|(backoff, place)| Rung {
        queue: queue::retry(name, place),
        delay_millis: (*backoff).into(),
    });
    Ok(WorkerConfig {
        queue: name.to_owned(),
        dead_queue: queue::dead(name),
        concurrency: CONCURRENCY,
        prefetch: PREFETCH,
        handler: Handler::Http(HttpHandler {
            url: format!("http://{}/jobs", handler.address),
            timeout_millis: HANDLER_TIMEOUT.into(),
        }),
        retry: Retry {
            attempts: u32::try_from(backoffs.len() + 1)?,
            rungs: rungs.collect(),
        },
        drain_millis: DRAIN.into(),
    })
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

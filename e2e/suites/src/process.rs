//! The processes of pods, as this machine sees them: its nodes are namespaces.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use rustix::process::{Pid, Signal, kill_process};

use crate::Cluster;

const API_SERVER: &str = "kube-apiserver";

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub resident: u64,
    /// The most it ever had.
    pub peak: u64,
}

/// Memory of the one process that a pod runs.
///
/// # Errors
/// When it does not run.
pub fn memory(pod: &Pod) -> Result<Memory> {
    let pid = pid(pod)?.as_raw_pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let bytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        kib.map(|kib| kib * 1024)
            .with_context(|| format!("/proc/{pid}/status has no {field}"))
    };
    Ok(Memory {
        resident: bytes("VmRSS")?,
        peak: bytes("VmHWM")?,
    })
}

/// Processes that are stopped: they hold their connections and answer nothing. They go on when
/// this is dropped.
#[derive(Debug)]
pub struct Paused(Vec<Pid>);

impl Paused {
    /// All processes of pods.
    ///
    /// # Errors
    /// When a pod does not run.
    pub fn all(pods: &[Pod]) -> Result<Self> {
        let mut paused = Self(Vec::new());
        for pod in pods {
            for pid in pids(pod)? {
                // It may have ended since.
                if kill_process(pid, Signal::STOP).is_ok() {
                    paused.0.push(pid);
                }
            }
        }
        Ok(paused)
    }

    /// The API server. Whoever has a connection to it waits.
    ///
    /// # Errors
    /// When it is not the process that was recorded when it was started.
    pub async fn api_server(cluster: &Cluster) -> Result<Self> {
        let pid = cluster.process(API_SERVER).await?;
        let command = fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_pid()))?;
        let is_it = command.split('\0').any(|word| word == API_SERVER);
        ensure!(is_it, "process {pid:?} is not {API_SERVER}");
        kill_process(pid, Signal::STOP).context("failed to stop the API server")?;
        Ok(Self(vec![pid]))
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        for pid in &self.0 {
            if let Err(error) = kill_process(*pid, Signal::CONT) {
                eprintln!("failed to let process {pid:?} go on: {error}");
            }
        }
    }
}

/// The one process that a pod runs.
pub(crate) fn pid(pod: &Pod) -> Result<Pid> {
    match pids(pod)?.as_slice() {
        [pid] => Ok(*pid),
        others => bail!("{} processes run in the container", others.len()),
    }
}

/// The processes on this machine, found by their container's name in their control group.
fn pids(pod: &Pod) -> Result<Vec<Pid>> {
    let status = pod.status.as_ref().context("the pod has no status")?;
    let container = status
        .container_statuses
        .iter()
        .flatten()
        .find(|container| {
            let state = container.state.as_ref();
            state.is_some_and(|state| state.running.is_some())
        })
        .and_then(|container| container.container_id.as_deref())
        .context("the container does not run")?;
    let id = container.rsplit('/').next().unwrap_or(container);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let number = entry.file_name().to_string_lossy().parse::<i32>();
        let groups = fs::read_to_string(entry.path().join("cgroup"));
        // Processes come and go while they are listed.
        if let (Ok(number), Ok(groups)) = (number, groups)
            && groups.contains(id)
        {
            found.extend(Pid::from_raw(number));
        }
    }
    Ok(found)
}

//! Processes that outlive the verb which started them, and their end.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};

use super::cgroup;
use super::record::{self, Record};
use crate::command::wait_until;
use crate::workspace;

/// A component to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) name: String,
    /// The executable's path, then its arguments.
    pub(crate) command: Vec<String>,
    /// A digest of everything the process is made from; it is restarted when that changes.
    pub(crate) made_of: String,
    /// The network namespace to run in, otherwise the host's.
    pub(crate) netns: Option<PathBuf>,
    /// The cgroup to run in, relative to each hierarchy's root, otherwise the caller's.
    pub(crate) cgroup: Option<String>,
}

/// What `xtask launch` is told.
#[derive(clap::Args)]
pub(crate) struct LaunchArgs {
    /// Directory of records
    records: PathBuf,
    /// File for what the component prints
    log: PathBuf,
    /// The program, as JSON
    program: String,
}

/// Starts the program detached, in its own session, printing to `logs/NAME.log`.
///
/// It runs through `xtask launch`, which joins cgroup and namespace, writes the
/// record about itself and only then becomes the component: at no moment is there
/// a component without a record, not even when the starter is killed.
pub(crate) fn start(program: &Program, records: &Path, logs: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(records)?;
    fs::create_dir_all(logs)?;
    let mut child = Command::new(workspace::THIS_PROGRAM)
        .arg("launch")
        .arg(records)
        .arg(logs.join(format!("{}.log", program.name)))
        .arg(serde_json::to_string(program)?)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("failed to start {}", program.name))?;
    let pid = i32::try_from(child.id())?;
    wait_until(
        &format!("the record of {}", program.name),
        Duration::from_secs(10),
        || {
            if let Some(status) = child.try_wait()? {
                bail!(
                    "{} ended at once ({status}); see {}",
                    program.name,
                    logs.display()
                );
            }
            Ok(record::read(records, &program.name)?.is_some_and(|record| record.pid == pid))
        },
    )
}

/// Becomes the component.
pub(crate) fn launch(args: &LaunchArgs) -> anyhow::Result<()> {
    let program: Program = serde_json::from_str(&args.program)?;
    let (executable, arguments) = program.command.split_first().context("no command")?;
    rustix::process::setsid().context("failed to start a session")?;
    if let Some(cgroup) = &program.cgroup {
        cgroup::join(cgroup)?;
    }
    if let Some(netns) = &program.netns {
        let namespace =
            File::open(netns).with_context(|| format!("failed to open {}", netns.display()))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .context("failed to join the network namespace")?;
    }
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&args.log)?;
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    Record::of(pid, &program.name, &program.made_of)?.write(&args.records)?;
    let error = Command::new(executable)
        .args(arguments)
        .stdout(log.try_clone()?)
        .stderr(log)
        .exec();
    Err(error).with_context(|| format!("failed to become {executable}"))
}

/// Ends the process if it is still the recorded one: politely, then after `grace` by force.
pub(crate) fn stop(record: &Record, grace: Duration) -> anyhow::Result<()> {
    /// The kernel ends a killed process as soon as it leaves its system call.
    const KILLED: Duration = Duration::from_secs(10);
    let pid = Pid::from_raw(record.pid).context("a process id is positive")?;
    // From here on the descriptor, not the number, names the process.
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error).context("failed to open a process"),
    };
    if !record.is_alive() {
        return Ok(());
    }
    for (signal, limit) in [(Signal::TERM, grace), (Signal::KILL, KILLED)] {
        if limit.is_zero() {
            continue;
        }
        match pidfd_send_signal(&process, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error).context("failed to signal a process"),
        }
        let ended = wait_until("the end", limit, || Ok(!record.is_alive()));
        if ended.is_ok() {
            return Ok(());
        }
    }
    bail!("{} (process {}) does not end", record.name, record.pid)
}

/// Kills a process if it runs below the cgroup at the moment it is killed.
pub(crate) fn kill_in_cgroup(pid: i32, cgroup: &str) -> anyhow::Result<()> {
    let below = format!(":/{cgroup}/");
    kill_if(pid, || {
        fs::read_to_string(format!("/proc/{pid}/cgroup"))
            .is_ok_and(|text| text.lines().any(|line| line.contains(&below)))
    })
}

/// Kills a process if its executable lies below the directory.
pub(crate) fn kill_running_from(pid: i32, bin: &Path) -> anyhow::Result<()> {
    kill_if(pid, || {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|file| file.starts_with(bin))
    })
}

/// Components that run from the directory of binaries, whoever started them, with
/// their command line. Tools that a person uses (kubectl, helm) are none.
pub(crate) fn running_from(bin: &Path) -> anyhow::Result<Vec<(i32, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let directory = entry?.path();
        // What ends meanwhile, and the kernel's own threads, have no executable.
        let Ok(executable) = fs::read_link(directory.join("exe")) else {
            continue;
        };
        let Ok(line) = fs::read_to_string(directory.join("cmdline")) else {
            continue;
        };
        let words: Vec<_> = line.split('\0').collect();
        let tool = executable.ends_with("helm") || words.get(1) == Some(&"kubectl");
        let pid = directory
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        if let (true, false, Some(pid)) = (executable.starts_with(bin), tool, pid) {
            found.push((pid, words.join(" ")));
        }
    }
    Ok(found)
}

fn kill_if(pid: i32, is_ours: impl FnOnce() -> bool) -> anyhow::Result<()> {
    let Some(pid) = Pid::from_raw(pid) else {
        return Ok(());
    };
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return Ok(());
    };
    // Asked after opening: if the id was used again before, it speaks of the one
    // that the descriptor names; if after, the signal reaches nobody.
    if !is_ours() {
        return Ok(());
    }
    match pidfd_send_signal(&process, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("failed to kill a process"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stopping_ends_the_recorded_process_and_spares_a_stranger_with_its_id() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let record = Record::of(pid, "sleep", "").unwrap();
        stop(&record.of_another_process(), Duration::from_secs(1)).unwrap();
        assert!(
            child.try_wait().unwrap().is_none(),
            "the stranger was spared"
        );
        stop(&record, Duration::from_secs(5)).unwrap();
        assert!(!record.is_alive());
        child.wait().unwrap();
    }
}

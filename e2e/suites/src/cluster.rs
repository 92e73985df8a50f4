//! The cluster under test, and the programs at a person's hand.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use rustix::process::Pid;
use serde_json::Value;
use tokio::process::Command;

use crate::audit::AuditLog;

/// Names the kubeconfig of the cluster under test.
const KUBECONFIG: &str = "ORLOP_KUBECONFIG";
/// No program takes longer than this, a hung one fails its test.
const PROGRAM_TIMEOUT: Duration = Duration::from_mins(1);

/// The cluster that `cargo xtask up` started.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    kubeconfig: PathBuf,
}

/// What is done to a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneFault {
    /// Nothing gets in or out.
    Cut,
    Heal,
}

impl Cluster {
    /// # Errors
    /// When no cluster is named or it cannot be reached: suites are never skipped silently.
    pub async fn connect() -> Result<Self> {
        let named = env::var_os(KUBECONFIG).with_context(|| {
            format!("{KUBECONFIG} is not set; run the suites with `cargo xtask test cluster`")
        })?;
        let kubeconfig = PathBuf::from(named)
            .canonicalize()
            .with_context(|| format!("{KUBECONFIG} names no file; run `cargo xtask up` first"))?;
        let read = Kubeconfig::read_from(&kubeconfig).context("failed to read the kubeconfig")?;
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        client
            .apiserver_version()
            .await
            .context("the API server does not answer; run `cargo xtask up`")?;
        Ok(Self { client, kubeconfig })
    }

    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The API server's record of every write.
    #[must_use]
    pub fn audit_log(&self) -> AuditLog {
        AuditLog::at(self.state().join("logs/audit.log"))
    }

    /// What `kubectl ARGUMENTS` prints.
    ///
    /// # Errors
    /// When it fails: its standard error.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.state().join("bin/cluster"));
        command.arg("kubectl").args(arguments);
        self.run(command, &format!("kubectl {}", arguments.join(" ")))
            .await
    }

    /// What `orlop ARGUMENTS` prints, whatever its exit code: `why` tells of failure by its code.
    ///
    /// # Errors
    /// When it cannot be run.
    pub async fn orlop(&self, arguments: &[&str]) -> Result<String> {
        let program = built("orlop")?;
        let mut command = Command::new(&program);
        command.args(arguments);
        let output = self.output(command, "orlop").await?;
        let text = [output.stdout, output.stderr].concat();
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// What a script of the repository prints that calls `$KUBECTL` and `$ORLOP` in `$NAMESPACE`.
    ///
    /// # Errors
    /// When it fails or does not end in time: what it had printed.
    pub async fn script(&self, path: &str, namespace: &str, within: Duration) -> Result<String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .join(path);
        let kubectl = self.state().join("bin/cluster");
        let mut command = Command::new(script);
        command
            .env("KUBECTL", format!("{} kubectl", kubectl.display()))
            .env("ORLOP", built("orlop")?)
            .env("NAMESPACE", namespace);
        let output = self.output_within(command, path, within).await?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        ensure!(output.status.success(), "{path} failed:\n{text}");
        Ok(text)
    }

    /// Cuts a zone off, or heals it.
    ///
    /// # Errors
    /// When the verb fails.
    pub async fn zone(&self, fault: ZoneFault, zone: u8) -> Result<()> {
        let verb = match fault {
            ZoneFault::Cut => "cut",
            ZoneFault::Heal => "heal",
        };
        let zone = zone.to_string();
        let mut command = Command::new(built("xtask")?);
        command.args(["zone", verb, &zone]);
        self.run(command, &format!("xtask zone {verb} {zone}"))
            .await?;
        Ok(())
    }

    /// A component of the cluster, as it was recorded when it was started.
    pub(crate) async fn process(&self, name: &str) -> Result<Pid> {
        let file = self.state().join(format!("run/{name}.json"));
        let text = tokio::fs::read(&file).await;
        let text = text.with_context(|| format!("{name} is no process of this machine"))?;
        let record: Value = serde_json::from_slice(&text)?;
        let pid = record["pid"].as_i64().context("the record has no pid")?;
        Pid::from_raw(pid.try_into()?).context("a process id is positive")
    }

    /// The directory of the cluster's files; the kubeconfig lies in it.
    fn state(&self) -> &Path {
        self.kubeconfig.parent().unwrap_or(Path::new("/"))
    }

    async fn run(&self, command: Command, name: &str) -> Result<String> {
        let output = self.output(command, name).await?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{name} failed: {}", errors.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn output(&self, command: Command, name: &str) -> Result<std::process::Output> {
        self.output_within(command, name, PROGRAM_TIMEOUT).await
    }

    async fn output_within(
        &self,
        mut command: Command,
        name: &str,
        within: Duration,
    ) -> Result<std::process::Output> {
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .kill_on_drop(true);
        tokio::time::timeout(within, command.output())
            .await
            .with_context(|| format!("{name} did not end within {within:?}"))?
            .with_context(|| format!("failed to start {name}"))
    }
}

/// A program of this workspace, built beside the tests.
///
/// # Errors
/// When it is not built.
pub fn built(name: &str) -> Result<PathBuf> {
    let test = env::current_exe()?;
    let directory = test.parent().and_then(Path::parent);
    let program = directory.context("a test binary lies in deps/")?.join(name);
    if !program.exists() {
        bail!(
            "{} is not built; run `cargo build` first",
            program.display()
        );
    }
    Ok(program)
}

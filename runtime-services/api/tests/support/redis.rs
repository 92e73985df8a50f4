//! A Redis, which can be killed, paused and started again with what it had stored.

use std::process::Command;

use super::{
    server::{Directory, Process, free_port},
    until,
};

#[derive(Debug)]
pub(crate) struct Redis {
    directory: Directory,
    port: u16,
    process: Option<Process>,
}

impl Redis {
    /// With a log that is written to disk once in a second, as in production.
    pub(crate) async fn start() -> Self {
        let mut redis = Self {
            directory: Directory::new("redis"),
            port: free_port(),
            process: None,
        };
        redis.restart().await;
        redis
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it where it was, with what is on disk.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args([
                "--appendonly",
                "yes",
                "--appendfsync",
                "everysec",
                "--save",
                "",
            ])
            .arg("--dir")
            .arg(self.directory.path());
        self.process = Some(Process::start(&mut command));
        let client = ::redis::Client::open(self.url()).unwrap();
        until("redis answers", async || {
            let Ok(mut connection) = client.get_multiplexed_async_connection().await else {
                return false;
            };
            let pong: Result<String, _> = ::redis::cmd("PING").query_async(&mut connection).await;
            pong.is_ok()
        })
        .await;
    }

    pub(crate) async fn holds(&self, key: &str) -> bool {
        let client = ::redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut exists = ::redis::cmd("EXISTS");
        exists.arg(key).query_async(&mut connection).await.unwrap()
    }

    /// Stops answering without closing a connection, or goes on.
    pub(crate) fn pause(&self, paused: bool) {
        let signal = if paused { "-STOP" } else { "-CONT" };
        self.process.as_ref().unwrap().signal(signal);
    }

    /// The append-only file, whose end a crash of the machine may cut off.
    pub(crate) fn log(&self) -> std::path::PathBuf {
        let folder = self.directory.path().join("appendonlydir");
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| {
                path.extension().is_some_and(|extension| extension == "aof")
                    && path.to_string_lossy().contains(".incr.")
            })
            .unwrap()
    }
}

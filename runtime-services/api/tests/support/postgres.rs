//! A PostgreSQL of the newest version that is installed.

use std::{fs, path::PathBuf};

use super::{
    server::{Directory, Process, free_port, unprivileged},
    until,
};

const USER: &str = "postgres";

#[derive(Debug)]
pub(crate) struct Postgres {
    directory: Directory,
    port: u16,
    process: Option<Process>,
}

impl Postgres {
    pub(crate) async fn start() -> Self {
        let directory = Directory::new("postgres");
        let made = unprivileged(programs().join("initdb"), USER, directory.path())
            .args([
                "--username",
                USER,
                "--auth",
                "trust",
                "--no-sync",
                "--pgdata",
            ])
            .arg(directory.path().join("data"))
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut postgres = Self {
            directory,
            port: free_port(),
            process: None,
        };
        postgres.restart().await;
        postgres
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/postgres", self.port)
    }

    /// At once and without a checkpoint, as a crash; but its children go with it, which a kill of
    /// their parent alone would leave.
    pub(crate) fn crash(&mut self) {
        if let Some(process) = self.process.take() {
            process.signal("-QUIT");
            process.wait();
        }
    }

    pub(crate) async fn restart(&mut self) {
        self.crash();
        let data = self.directory.path().join("data");
        let mut command = unprivileged(programs().join("postgres"), USER, self.directory.path());
        command
            .arg("-D")
            .arg(data)
            .args([
                "-p",
                &self.port.to_string(),
                "-c",
                "listen_addresses=127.0.0.1",
            ])
            .arg("-k")
            .arg(self.directory.path());
        self.process = Some(Process::start(&mut command));
        let url = self.url();
        until("postgres answers", async || {
            let Ok((client, connection)) =
                tokio_postgres::connect(&url, tokio_postgres::NoTls).await
            else {
                return false;
            };
            let connection = tokio::spawn(connection);
            let answered = client.simple_query("select 1").await.is_ok();
            connection.abort();
            answered
        })
        .await;
    }
}

fn programs() -> PathBuf {
    let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .unwrap_or_else(|error| panic!("postgresql is not installed: {error}"))
        .map(|entry| entry.unwrap().path())
        .collect();
    versions.sort();
    versions.pop().unwrap().join("bin")
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.crash();
    }
}

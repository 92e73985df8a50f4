//! The program itself, as it is deployed.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::json;

use crate::{
    client::Client,
    harbour::{config, count, database, types},
    support::{postgres::Postgres, until},
};

/// Most of what the program may hold, in bytes.
const MEMORY_MAX: u64 = 60_000_000;

struct Program {
    child: Child,
    api: Client,
    health: Client,
    config: PathBuf,
}

impl Program {
    fn start(postgres: &Postgres) -> Self {
        Self::start_on(&postgres.url())
    }

    fn start_on(database: &str) -> Self {
        let (api, health) = (free_address(), free_address());
        let name = format!("orlop-api-{}-{}.json", std::process::id(), api.port());
        let file = std::env::temp_dir().join(name);
        fs::write(&file, serde_json::to_vec(&config(types())).unwrap()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_orlop-api"))
            .arg("--config")
            .arg(&file)
            .args(["--listen", &api.to_string()])
            .args(["--listen-health", &health.to_string()])
            .env("DATABASE_URL", database)
            .env("AMQP_URL", "amqp://127.0.0.1:1")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            api: Client(api),
            health: Client(health),
            config: file,
        }
    }

    async fn until_ready(&mut self) {
        until("the program is ready", async || {
            assert_eq!(self.child.try_wait().unwrap(), None, "the program ended");
            let answer = self.health.try_send("GET", "/readyz", &[], "").await;
            answer.is_ok_and(|answer| answer.status.is_success())
        })
        .await;
    }

    fn terminate(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(sent.success());
    }

    async fn until_ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the program ends", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kilobytes * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_file(&self.config));
    }
}

/// Free a moment ago.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn of_processes_that_migrate_at_once_all_serve() {
    let postgres = Postgres::start().await;
    let mut programs: Vec<_> = (0..3).map(|_| Program::start(&postgres)).collect();
    for (number, program) in programs.iter_mut().enumerate() {
        program.until_ready().await;
        let pier = json!({"number": number});
        program.api.post("/api/piers", &pier).await.expect(201);
    }
    let database = database(&postgres).await;
    assert_eq!(count(&database, "pier").await, 3);
    assert_eq!(count(&database, "orlop_catalogue").await, 1);
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn a_program_that_is_told_to_stop_finishes_what_it_has() {
    let postgres = Postgres::start().await;
    let mut program = Program::start(&postgres);
    program.until_ready().await;
    let api = program.api;
    let pier = json!({"number": 1});
    api.post("/api/piers", &pier).await.expect(201);
    let mut holder = database(&postgres).await;
    let transaction = holder.transaction().await.unwrap();
    transaction
        .batch_execute("lock table pier in share mode")
        .await
        .unwrap();

    let waiting = tokio::spawn(async move { api.post("/api/piers", &json!({"number": 2})).await });
    let watcher = database(&postgres).await;
    until("the second pier waits for the table", async || {
        count(&watcher, "pg_stat_activity where wait_event_type = 'Lock'").await == 1
    })
    .await;
    program.terminate();
    until("nobody is let in any more", async || {
        api.try_send("GET", "/api/piers", &[], "").await.is_err()
    })
    .await;
    assert_eq!(
        program.child.try_wait().unwrap(),
        None,
        "it waits for the request"
    );
    program.health.get("/readyz").await.expect(503);
    transaction.rollback().await.unwrap();
    waiting.await.unwrap().expect(201);
    assert!(program.until_ended().await.success());
}

/// Its address is read at its start: who corrects it must not have to find and restart the program.
#[tokio::test]
#[ignore = "needs postgresql"]
async fn a_program_whose_database_does_not_know_it_ends() {
    let postgres = Postgres::start().await;
    let right = postgres.url();
    for wrong in [
        right.replace("//postgres@", "//barnacle@"),
        format!("{right}-nowhere"),
    ] {
        assert_ne!(wrong, right);
        let mut program = Program::start_on(&wrong);
        assert!(!program.until_ended().await.success(), "{wrong}");
    }
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn a_program_under_load_stays_small() {
    let postgres = Postgres::start().await;
    let mut program = Program::start(&postgres);
    program.until_ready().await;
    let api = program.api;
    let clients = (0..32).map(|client| async move {
        for number in 0..20 {
            let boat = json!({"hull": format!("{client}-{number}"), "price": "1", "note": "n".repeat(900)});
            let created = api.post("/api/boats", &boat).await.expect(201);
            api.get(created.header("location")).await.expect(200);
            api.get("/api/boats?limit=200&sort=-price").await.expect(200);
        }
    });
    let all = futures::future::join_all(clients);
    tokio::time::timeout(Duration::from_mins(2), all)
        .await
        .unwrap();
    let resident = program.resident();
    assert!(resident < MEMORY_MAX, "{resident} bytes");
}

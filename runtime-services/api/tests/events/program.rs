//! The program itself, killed and started again.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    client::Client,
    support::{postgres::Postgres, until},
};

pub(crate) const SCHEMA: &str = "harbour";

pub(crate) struct Program {
    pub(crate) api: Client,
    health: Client,
    config: PathBuf,
    environment: Vec<(&'static str, String)>,
    child: Option<Child>,
}

/// One type, whose creations and changes are told to `queue`, and another one with its own.
fn config(queue: &str, other: &str) -> Value {
    let access = json!([{"name": "all", "roles": ["anonymous"], "allow": ["Read", "Write"]}]);
    let event = |name: &str, when: &str, queue: &str| {
        json!({
            "name": name,
            "when": when,
            "publish": {"queue": queue},
            "payload": ["id", "oil"],
        })
    };
    json!({
        "name": "harbour",
        "basePath": "/api",
        "schema": SCHEMA,
        "cacheClasses": [{"name": "lantern", "prefix": "lantern:", "ttlSeconds": 300}],
        "types": [
            {
                "name": "Lantern",
                "fields": [{"name": "oil", "type": "Int"}],
                "access": access,
                "cache": {"class": "lantern"},
                "events": [event("lit", "Created", queue), event("trimmed", "Updated", queue)],
            },
            {
                "name": "Wick",
                "fields": [{"name": "oil", "type": "Int"}],
                "access": access,
                "events": [event("cut", "Created", other)],
            },
        ],
    })
}

impl Program {
    /// Ready to serve.
    pub(crate) async fn start(
        postgres: &Postgres,
        queues: (&str, &str),
        environment: Vec<(&'static str, String)>,
    ) -> Self {
        let (api, health) = (free_address(), free_address());
        let name = format!("orlop-api-{}-{}.json", std::process::id(), api.port());
        let file = std::env::temp_dir().join(name);
        fs::write(&file, config(queues.0, queues.1).to_string()).unwrap();
        let mut program = Self {
            api: Client(api),
            health: Client(health),
            config: file,
            environment: [environment, vec![("DATABASE_URL", postgres.url())]].concat(),
            child: None,
        };
        program.restart().await;
        program
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) async fn restart(&mut self) {
        self.kill();
        let child = Command::new(env!("CARGO_BIN_EXE_orlop-api"))
            .arg("--config")
            .arg(&self.config)
            .args(["--listen", &self.api.0.to_string()])
            .args(["--listen-health", &self.health.0.to_string()])
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        until("the program is ready", async || {
            let answer = self.health.try_send("GET", "/readyz", &[], "").await;
            answer.is_ok_and(|answer| answer.status.is_success())
        })
        .await;
    }

    /// One figure of the metrics.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let answer = self.health.get("/metrics").await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
            .parse()
            .unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        drop(fs::remove_file(&self.config));
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

//! A Redis Cluster of three primaries with a replica each.

use std::process::Command;

use redis::Value;

use super::{
    server::{Directory, Process, free_port},
    until,
};

const PRIMARIES: usize = 3;

pub(crate) struct Cluster {
    nodes: Vec<Node>,
}

struct Node {
    directory: Directory,
    port: u16,
    process: Option<Process>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..2 * PRIMARIES {
            let mut node = Node {
                directory: Directory::new("cluster"),
                port: cluster_port(),
                process: None,
            };
            node.start().await;
            nodes.push(node);
        }
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)))
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stdout)
        );
        let cluster = Self { nodes };
        until("every replica follows", async || {
            let mut replicas = 0;
            for node in 0..cluster.nodes.len() {
                let told = cluster.text(node, &["INFO", "replication"]).await;
                replicas += usize::from(told.contains("master_link_status:up"));
            }
            replicas == PRIMARIES
        })
        .await;
        cluster
    }

    /// As in `REDIS_NODES`.
    pub(crate) fn addresses(&self) -> String {
        let addresses: Vec<_> = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port))
            .collect();
        addresses.join(",")
    }

    /// The primary of a key and its replica.
    pub(crate) async fn pair_of(&self, key: &str) -> (usize, usize) {
        let slot: u16 = self
            .text(0, &["CLUSTER", "KEYSLOT", key])
            .await
            .parse()
            .unwrap();
        let mut pair = None;
        // Word of a replica reaches the other nodes some moments after it follows its primary.
        until("every node's replica is known", async || {
            let slots = self.ask(0, &["CLUSTER", "SLOTS"]).await.unwrap();
            let ranges = redis::from_redis_value::<Vec<(u16, u16, Value, Value)>>(slots);
            let mut ranges = ranges.unwrap_or_default().into_iter();
            let range = ranges.find(|(first, last, ..)| (*first..=*last).contains(&slot));
            pair = range.map(|(.., primary, replica)| (primary, replica));
            pair.is_some()
        })
        .await;
        let (primary, replica) = pair.unwrap();
        (self.node_of(primary), self.node_of(replica))
    }

    fn node_of(&self, told: Value) -> usize {
        let (_, port, ..): (String, u16, String, Value) = redis::from_redis_value(told).unwrap();
        self.nodes
            .iter()
            .position(|node| node.port == port)
            .unwrap()
    }

    pub(crate) fn pause(&self, node: usize, paused: bool) {
        let signal = if paused { "-STOP" } else { "-CONT" };
        self.nodes[node].process.as_ref().unwrap().signal(signal);
    }

    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].process = None;
    }

    pub(crate) async fn restart(&mut self, node: usize) {
        self.nodes[node].start().await;
    }

    pub(crate) async fn until_primary(&self, node: usize) {
        until("the node is a primary", async || {
            self.text(node, &["INFO", "replication"])
                .await
                .contains("role:master")
        })
        .await;
    }

    pub(crate) async fn until_follows(&self, node: usize) {
        until("the node is a replica", async || {
            self.text(node, &["INFO", "replication"])
                .await
                .contains("master_link_status:up")
        })
        .await;
    }

    /// The replica takes over, with its primary's consent.
    pub(crate) async fn fail_over_to(&self, node: usize) {
        assert_eq!(self.text(node, &["CLUSTER", "FAILOVER"]).await, "OK");
        self.until_primary(node).await;
    }

    async fn text(&self, node: usize, words: &[&str]) -> String {
        match self.ask(node, words).await {
            Ok(answer) => redis::from_redis_value(answer).unwrap(),
            Err(error) => error.to_string(),
        }
    }

    async fn ask(&self, node: usize, words: &[&str]) -> redis::RedisResult<Value> {
        let url = format!("redis://127.0.0.1:{}", self.nodes[node].port);
        let mut connection = redis::Client::open(url)?
            .get_multiplexed_async_connection()
            .await?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query_async(&mut connection).await
    }
}

impl Node {
    async fn start(&mut self) {
        self.process = None;
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"])
            // A replica may take over however much it has missed.
            .args(["--cluster-replica-validity-factor", "0"])
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
        let address = format!("127.0.0.1:{}", self.port);
        until("the node listens", async || {
            tokio::net::TcpStream::connect(&address).await.is_ok()
        })
        .await;
    }
}

/// The nodes speak to one another on a port that is higher by 10,000.
fn cluster_port() -> u16 {
    loop {
        let port = free_port();
        if let Some(bus) = port.checked_add(10_000)
            && std::net::TcpListener::bind(("127.0.0.1", bus)).is_ok()
        {
            return port;
        }
    }
}

//! What a node reads at its start: its configuration and who may do what.
//!
//! Directives: <https://valkey.io/topics/valkey.conf/>; rights: <https://valkey.io/topics/acl/>.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::validate::{ValidatedCache, eviction};

pub(super) const PORT: u16 = 6379;
/// Where nodes talk to each other: fixed by the protocol at 10,000 beyond the clients' port.
pub(super) const BUS_PORT: u16 = 16_379;

pub(super) const CONFIG_PATH: &str = "/etc/valkey/config";
pub(super) const CONF: &str = "valkey.conf";
pub(super) const ACCESS_PATH: &str = "/etc/valkey/access";
pub(super) const USERS: &str = "users.acl";
pub(super) const REPLICATION: &str = "replication.conf";
/// What the official image says, and ours.
pub(super) const DATA_PATH: &str = "/data";

/// Who forms and heals the cluster: only the operator.
pub(super) const ADMIN_USER: &str = "orlop-admin";
/// Who reads and writes keys.
pub(super) const APP_USER: &str = "app";
/// As whom a replica copies from its primary.
const REPLICA_USER: &str = "orlop-replica";

/// After so long without an answer a node suspects another one. Short enough to promote a replica
/// within seconds, long enough for a node that is paused by a fork.
const NODE_TIMEOUT_MS: u32 = 5_000;

/// The passwords of all users.
pub(super) struct Passwords<'a> {
    pub(super) admin: &'a str,
    pub(super) app: &'a str,
    pub(super) replica: &'a str,
}

pub(super) fn conf(cache: &ValidatedCache) -> String {
    let (memory, policy) = (cache.memory, eviction(cache));
    format!(
        "port {PORT}
protected-mode no
dir {DATA_PATH}
aclfile {ACCESS_PATH}/{USERS}
include {ACCESS_PATH}/{REPLICATION}

cluster-enabled yes
cluster-config-file nodes.conf
cluster-node-timeout {NODE_TIMEOUT_MS}
# A replica stays in its shard, where the zones are right for it.
cluster-allow-replica-migration no
# What is left is served while a shard is down.
cluster-require-full-coverage no
# A replica that never had all data is not promoted, however long its primary is away.
cluster-replica-validity-factor 10

appendonly yes
appendfsync everysec
save \"\"
# A replica does not wait for others that might want to copy at the same time.
repl-diskless-sync-delay 0

maxmemory {memory}
maxmemory-policy {policy}
"
    )
}

/// Least rights: the operator touches no key, applications do not touch the cluster, and what is
/// dangerous is for nobody.
pub(super) fn users(passwords: &Passwords<'_>) -> String {
    let operator = [
        "ping",
        "info",
        "dbsize",
        "cluster|nodes",
        "cluster|info",
        "cluster|myid",
        "cluster|meet",
        "cluster|set-config-epoch",
        "cluster|addslotsrange",
        "cluster|replicate",
        "cluster|forget",
        "cluster|failover",
    ];
    // What cluster clients ask before their first request counts as dangerous in part.
    let applications = [
        "info",
        "cluster|slots",
        "cluster|shards",
        "cluster|nodes",
        "cluster|info",
        "cluster|keyslot",
        "cluster|countkeysinslot",
    ];
    let mut text = "user default off\n".to_owned();
    let mut user = |name: &str, password: &str, rights: &str, commands: &[&str]| {
        let hash = Sha256::digest(password.as_bytes())
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let commands: String = commands.iter().fold(String::new(), |mut text, command| {
            text.push_str(" +");
            text.push_str(command);
            text
        });
        // Writing to a String cannot fail.
        writeln!(text, "user {name} on #{hash} {rights}{commands}").unwrap_or_default();
    };
    user(ADMIN_USER, passwords.admin, "-@all", &operator);
    user(
        REPLICA_USER,
        passwords.replica,
        "-@all",
        &["ping", "psync", "replconf"],
    );
    user(
        APP_USER,
        passwords.app,
        "~* &* +@all -@admin -@dangerous",
        &applications,
    );
    text
}

pub(super) fn replication(passwords: &Passwords<'_>) -> String {
    let password = passwords.replica;
    format!("primaryuser {REPLICA_USER}\nprimaryauth {password}\n")
}

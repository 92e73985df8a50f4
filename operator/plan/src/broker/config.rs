//! What a node reads at its start.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use orlop_contract::queue::{
    ADMIN_USER, AMQP_PORT, APP_USER, MANAGEMENT_PORT, PROMETHEUS_PORT, VHOST,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    reading::{Permission, User},
    validate::ValidatedBroker,
};

/// Where the pods find the files of [`files`].
pub(super) const CONFIG_PATH: &str = "/etc/orlop/rabbitmq";
/// Where the pods find [`definitions`].
pub(super) const DEFINITIONS_PATH: &str = "/etc/orlop/definitions";
/// Name of that file.
pub(super) const DEFINITIONS: &str = "definitions.json";

pub(super) const CONF: &str = "rabbitmq.conf";
pub(super) const ADVANCED: &str = "advanced.config";
pub(super) const PLUGINS: &str = "enabled_plugins";

/// Statistics of a second's age are what the scaler's reaction of a few seconds can bear.
const STATISTICS_MILLIS: u32 = 1_000;

const MEBI: u64 = 1 << 20;
const GIBI: u64 = 1 << 30;

/// Configuration files by their names, without secrets.
pub(super) fn files(broker: &ValidatedBroker) -> BTreeMap<String, String> {
    BTreeMap::from([
        (CONF.to_owned(), conf(broker)),
        // The interval in which a quorum queue tells its counts has no key in the other file.
        (
            ADVANCED.to_owned(),
            format!("[{{rabbit, [{{quorum_tick_interval, {STATISTICS_MILLIS}}}]}}].\n"),
        ),
        (
            PLUGINS.to_owned(),
            "[rabbitmq_management,rabbitmq_prometheus].\n".to_owned(),
        ),
    ])
}

fn conf(broker: &ValidatedBroker) -> String {
    // Publishers are blocked below: enough for what is under way and for the log to be compacted.
    let disk_free_min = (broker.disk / 10).clamp(32 * MEBI, 2 * GIBI);
    // A log is begun anew at this size; the old one stays until its messages are in segments.
    let log_max = (broker.disk / 16).clamp(16 * MEBI, 512 * MEBI);
    format!(
        "\
listeners.tcp.default = {AMQP_PORT}
management.tcp.port = {MANAGEMENT_PORT}
prometheus.tcp.port = {PROMETHEUS_PORT}

log.file = false
log.console = true
log.console.formatter = json
# A line for each look of the operator says nothing; refused users are warnings.
log.user.level = warning

# Users and their rights, at every start: who has lost a password restarts the node.
definitions.import_backend = local_filesystem
definitions.local.path = {DEFINITIONS_PATH}/{DEFINITIONS}

# Counts are read from the Prometheus interface alone.
collect_statistics = fine
collect_statistics_interval = {STATISTICS_MILLIS}
management_agent.disable_metrics_collector = true

total_memory_available_override_value = {memory}
vm_memory_high_watermark.relative = 0.6
disk_free_limit.absolute = {disk_free_min}
raft.wal_max_size_bytes = {log_max}
",
        memory = broker.memory,
    )
}

/// The virtual host and its users, as the broker imports them.
pub(super) fn definitions(users: &BTreeMap<String, User>) -> Value {
    let users: Vec<Value> = users
        .iter()
        .map(|(name, user)| {
            json!({
                "name": name,
                "password_hash": user.password_hash,
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": user.tags,
                "limits": {},
            })
        })
        .collect();
    let permissions: Vec<Value> = permissions()
        .into_iter()
        .map(|(user, permission)| {
            let Permission {
                configure,
                write,
                read,
            } = permission;
            json!({"user": user, "vhost": VHOST, "configure": configure, "write": write, "read": read})
        })
        .collect();
    json!({"vhosts": [{"name": VHOST}], "users": users, "permissions": permissions})
}

/// Both users, by name.
pub(super) fn users(admin_password: &str, app_password: &str) -> BTreeMap<String, User> {
    let user = |tags: &[&str], password: &str| User {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        password_hash: password_hash(password),
    };
    BTreeMap::from([
        (
            ADMIN_USER.to_owned(),
            user(&["administrator"], admin_password),
        ),
        (APP_USER.to_owned(), user(&[], app_password)),
    ])
}

/// What both users may do in the virtual host.
pub(super) fn permissions() -> BTreeMap<String, Permission> {
    let permission = |configure: &str, write: &str, read: &str| Permission {
        configure: configure.to_owned(),
        write: write.to_owned(),
        read: read.to_owned(),
    };
    BTreeMap::from([
        (ADMIN_USER.to_owned(), permission(".*", ".*", ".*")),
        // Everything is published through the default exchange.
        (
            APP_USER.to_owned(),
            permission("^$", "^amq\\.default$", ".*"),
        ),
    ])
}

/// As the broker stores it: four bytes of salt, then SHA-256 of salt and password, in base64. The
/// salt follows from the password, which is random, so that the hash is always the same.
fn password_hash(password: &str) -> String {
    let digest = Sha256::digest(format!("salt of {password}"));
    let salt = &digest[..4];
    let hash = Sha256::new()
        .chain_update(salt)
        .chain_update(password)
        .finalize();
    BASE64_STANDARD.encode([salt, &hash[..]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_salted_by_its_first_four_bytes() {
        let hash = BASE64_STANDARD.decode(password_hash("capstan")).unwrap();
        let (salt, digest) = hash.split_at(4);
        let expected = Sha256::digest([salt, b"capstan"].concat());
        assert_eq!(digest, &expected[..]);
        assert_ne!(password_hash("capstan"), password_hash("windlass"));
    }

    #[test]
    fn nobody_but_the_operator_configures() {
        let (users, permissions) = (users("a", "b"), permissions());
        assert!(users.keys().eq(permissions.keys()));
        assert_eq!(permissions[APP_USER].configure, "^$");
        assert!(users[APP_USER].tags.is_empty());
    }
}

//! PostgreSQL's configuration, tuned from the memory and the volume that it has.

use super::validate::ValidatedPostgres;

/// Where the ConfigMap is mounted.
pub(super) const CONFIG_DIR: &str = "/etc/orlop/postgres/config";
pub(super) const CONFIG_FILE: &str = "/etc/orlop/postgres/config/postgresql.conf";
/// Where its socket is: a directory of the pod, in which the start programs look for it too.
pub(super) const SOCKET_DIR: &str = "/var/run/postgresql";
pub(super) const PORT: u16 = 5432;
/// The users' database, and its owner.
pub(super) const DATABASE: &str = "app";
pub(super) const USER: &str = "app";

const MIB: u64 = 1 << 20;
/// The memory that is counted on where `resources` says nothing.
const MEMORY_DEFAULT_MIB: u64 = 512;

/// Users reach their own database with their password. The superuser is let in through the socket
/// alone, which nobody outside of the container can open: no password of his can be lost or leak.
pub(super) const PG_HBA: &str = "\
# connection database user address method
local all postgres trust
host app app all scram-sha-256
";

/// What `postgresql.conf` is made of, in MiB unless named otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tuning {
    max_connections: u64,
    shared_buffers: u64,
    effective_cache_size: u64,
    maintenance_work_mem: u64,
    work_mem_kib: u64,
    max_wal_size: u64,
}

impl Tuning {
    /// - `shared_buffers`: a quarter of the memory (PostgreSQL 17 documentation, 19.4.1).
    /// - `effective_cache_size`: three quarters, what the kernel caches included (PostgreSQL wiki,
    ///   "Tuning Your PostgreSQL Server").
    /// - `maintenance_work_mem`: a sixteenth, since up to `autovacuum_max_workers`, three, may use
    ///   it at once (documentation, 19.4.1).
    /// - `max_connections`: one for each 4 MiB, as each is a process with memory of its own; at
    ///   least 50, so that a small database still serves two revisions of what uses it.
    /// - `work_mem`: what `shared_buffers` leaves, if a third of all connections sort or hash once;
    ///   at least 1 MiB, at most 16, as queries in parallel share 64 MiB of `/dev/shm`.
    /// - `max_wal_size`: an eighth of the volume, so that it never fills up with the log; PostgreSQL's
    ///   own 1 GiB at most, as more makes the recovery after a crash longer.
    fn of(memory_mib: u64, storage_mib: u64) -> Self {
        let shared_buffers = (memory_mib / 4).max(16);
        let max_connections = (memory_mib / 4).clamp(50, 400);
        let left_kib = memory_mib.saturating_sub(shared_buffers) * 1024;
        Self {
            max_connections,
            shared_buffers,
            effective_cache_size: (memory_mib / 4 * 3).max(32),
            maintenance_work_mem: (memory_mib / 16).clamp(16, 2048),
            work_mem_kib: (left_kib / (max_connections / 3)).clamp(1024, 16 * 1024),
            max_wal_size: (storage_mib / 8).clamp(64, 1024),
        }
    }
}

/// `postgresql.conf`.
pub(super) fn postgresql_conf(postgres: &ValidatedPostgres) -> String {
    let storage_mib = postgres.storage.units().unwrap_or_default() / MIB;
    let Tuning {
        max_connections,
        shared_buffers,
        effective_cache_size,
        maintenance_work_mem,
        work_mem_kib,
        max_wal_size,
    } = Tuning::of(memory_mib(postgres), storage_mib);
    // The log is written in segments of 16 MiB, of which two are kept at least.
    let min_wal_size = (max_wal_size / 4).max(32);
    format!(
        "\
listen_addresses = '*'
port = {PORT}
unix_socket_directories = '{SOCKET_DIR}'
hba_file = '{CONFIG_DIR}/pg_hba.conf'
password_encryption = 'scram-sha-256'
max_connections = {max_connections}

shared_buffers = '{shared_buffers}MB'
effective_cache_size = '{effective_cache_size}MB'
maintenance_work_mem = '{maintenance_work_mem}MB'
work_mem = '{work_mem_kib}kB'

wal_compression = 'lz4'
min_wal_size = '{min_wal_size}MB'
max_wal_size = '{max_wal_size}MB'
random_page_cost = 1.1
jit = off

tcp_keepalives_idle = 30
tcp_keepalives_interval = 5
tcp_keepalives_count = 3
client_connection_check_interval = '10s'

timezone = 'UTC'
log_timezone = 'UTC'
log_destination = 'stderr'
logging_collector = off
log_line_prefix = '%m [%p] %q%u@%d '
log_lock_waits = on
"
    )
}

/// The most that it may use, or else what is reserved for it.
fn memory_mib(postgres: &ValidatedPostgres) -> u64 {
    let resources = postgres.resources.as_ref();
    let limits = resources.and_then(|resources| resources.limits.as_ref());
    let requests = resources.and_then(|resources| resources.requests.as_ref());
    [limits, requests]
        .into_iter()
        .flatten()
        .find_map(|amounts| amounts.memory.as_ref()?.units())
        .map_or(MEMORY_DEFAULT_MIB, |bytes| bytes / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_fits_the_memory_and_the_volume() {
        for memory in [64, 128, 256, 512, 1024, 4096, 65_536] {
            for storage in [256, 1024, 20_480, 1_048_576] {
                let tuning = Tuning::of(memory, storage);
                assert!(tuning.shared_buffers <= memory / 4, "{tuning:?}");
                assert!(tuning.effective_cache_size < memory, "{tuning:?}");
                assert!(tuning.max_wal_size <= storage / 4, "{tuning:?}");
                assert!((1024..=16_384).contains(&tuning.work_mem_kib), "{tuning:?}");
                assert!((50..=400).contains(&tuning.max_connections), "{tuning:?}");
            }
        }
    }

    #[test]
    fn a_gibibyte_is_shared_out_by_the_rules() {
        let expected = Tuning {
            max_connections: 256,
            shared_buffers: 256,
            effective_cache_size: 768,
            maintenance_work_mem: 64,
            work_mem_kib: 9_252,
            max_wal_size: 1024,
        };
        assert_eq!(Tuning::of(1024, 20_480), expected);
    }
}

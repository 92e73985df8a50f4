//! The cache against a real PostgreSQL and a real Redis: whatever happens to the cache, no read
//! that starts after a write was acknowledged returns less than that write.
//!
//! ```text
//! cargo test -p orlop-api --test cache -- --ignored
//! ```

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::{
    collections::HashMap,
    fs::OpenOptions,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use deadpool_postgres::{Manager, Pool, Runtime};
use orlop_api::cache::{self, Address, Bypass, Cache, Key, Lookup, Metrics, Row, Shape};
use tokio::{task::JoinSet, time::sleep};
use tokio_postgres::{NoTls, types::Type};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::{DEADLINE, cluster::Cluster, postgres::Postgres, redis::Redis, until};

/// Few, so that readers and writers meet.
const ROWS: usize = 4;
const TTL: Duration = Duration::from_mins(5);
const SHAPE: Shape = Shape(1);
const READERS: usize = 3;
const WRITERS: usize = 1;

const TABLE: &str = "create table lantern (id bigint primary key, version bigint not null);
    insert into lantern select id, 1 from generate_series(0, 3) as id";

/// What one process of the API has.
#[derive(Clone)]
struct Process {
    cache: Cache,
    database: Pool,
    _stop: Arc<DropGuard>,
}

/// What all of them have done.
#[derive(Default)]
struct History {
    acknowledged: [AtomicI64; ROWS],
    lookups: Mutex<HashMap<Lookup, u64>>,
    slowest_read: Mutex<Duration>,
    unacknowledged: AtomicI64,
}

impl Process {
    fn start(postgres: &Postgres, redis: Option<&Redis>) -> Self {
        let url = redis.map(Redis::url);
        Self::with(postgres, Address::parse(url.as_deref(), None).unwrap())
    }

    fn with(postgres: &Postgres, address: Option<Address>) -> Self {
        let cache = Cache::new(address, [("lantern:", "Lantern")], Metrics::default());
        let stop = CancellationToken::new();
        let (keeper, background, told) = (cache.clone(), pool(postgres, 2), stop.clone());
        tokio::spawn(async move { keeper.run(background, told).await });
        Self {
            cache,
            database: pool(postgres, 8),
            _stop: Arc::new(stop.drop_guard()),
        }
    }

    async fn read(&self, row: usize) -> Result<(i64, Lookup), tokio_postgres::Error> {
        let load = async {
            let Ok(client) = self.database.get().await else {
                return load_from(None, row).await;
            };
            load_from(Some(&client), row).await
        };
        let (found, lookup) = self.cache.read(&key(row), TTL, SHAPE, load).await?;
        let found = found.unwrap();
        assert_eq!(found.body, found.version.to_string());
        Ok((found.version, lookup))
    }

    /// The new version, acknowledged. `None` when it is not known whether it was written.
    async fn write(&self, row: usize) -> Option<i64> {
        let mut client = self.database.get().await.ok()?;
        let transaction = client.transaction().await.ok()?;
        let intent = self.cache.intend(&transaction, vec![key(row)]).await.ok()?;
        let update = "update lantern set version = version + 1 where id = $1 returning version";
        let id = i64::try_from(row).unwrap();
        let written = transaction
            .query_typed(update, &[(&id, Type::INT8)])
            .await
            .ok()?;
        transaction.commit().await.ok()?;
        intent.settle(&client).await.ok()?;
        Some(written[0].get(0))
    }

    async fn until_hit(&self) {
        until("rows come from the cache", async || {
            matches!(self.read(0).await, Ok((_, Lookup::Hit)))
        })
        .await;
    }
}

async fn load_from(
    client: Option<&deadpool_postgres::Client>,
    row: usize,
) -> Result<Option<Row>, tokio_postgres::Error> {
    let Some(client) = client else {
        // An error of the driver's own, as a connection that cannot be had gives none.
        return Err(tokio_postgres::connect("host=127.0.0.1 port=1", NoTls)
            .await
            .err()
            .unwrap());
    };
    let select = "select version from lantern where id = $1";
    let id = i64::try_from(row).unwrap();
    let rows = client.query_typed(select, &[(&id, Type::INT8)]).await?;
    let version: i64 = rows[0].get(0);
    Ok(Some(Row {
        version,
        body: Bytes::from(version.to_string()),
    }))
}

fn key(row: usize) -> Key {
    Key::new("lantern:", "Lantern", row)
}

fn pool(postgres: &Postgres, size: usize) -> Pool {
    let manager = Manager::new(postgres.url().parse().unwrap(), NoTls);
    Pool::builder(manager)
        .max_size(size)
        .wait_timeout(Some(Duration::from_secs(1)))
        .create_timeout(Some(Duration::from_secs(1)))
        .runtime(Runtime::Tokio1)
        .build()
        .unwrap()
}

async fn prepare(postgres: &Postgres) {
    let client = pool(postgres, 1).get().await.unwrap();
    client.batch_execute(cache::SCHEMA).await.unwrap();
    client.batch_execute(TABLE).await.unwrap();
}

impl History {
    /// Readers and writers in every process, until told to stop.
    fn work(self: &Arc<Self>, processes: &[Process], stop: &CancellationToken) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for process in processes {
            for reader in 0..READERS {
                let (history, process, stop) = (self.clone(), process.clone(), stop.clone());
                tasks.spawn(async move {
                    let mut row = reader;
                    while !stop.is_cancelled() {
                        row = (row + 1) % ROWS;
                        history.read(&process, row).await;
                    }
                });
            }
            for writer in 0..WRITERS {
                let (history, process, stop) = (self.clone(), process.clone(), stop.clone());
                tasks.spawn(async move {
                    let mut row = writer;
                    while !stop.is_cancelled() {
                        row = (row + 1) % ROWS;
                        history.write(&process, row).await;
                        // Between writes the rows may be cached.
                        sleep(Duration::from_millis(5)).await;
                    }
                });
            }
        }
        tasks
    }

    async fn read(&self, process: &Process, row: usize) {
        let floor = self.acknowledged[row].load(Ordering::SeqCst);
        let started = Instant::now();
        let (version, lookup) = process.read(row).await.unwrap();
        assert!(
            version >= floor,
            "{lookup:?} of row {row} returned {version}, and {floor} was acknowledged before"
        );
        let mut slowest = self.slowest_read.lock().unwrap();
        *slowest = slowest.max(started.elapsed());
        *self.lookups.lock().unwrap().entry(lookup).or_default() += 1;
    }

    async fn write(&self, process: &Process, row: usize) {
        match process.write(row).await {
            Some(version) => {
                self.acknowledged[row].fetch_max(version, Ordering::SeqCst);
            }
            None => {
                self.unacknowledged.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    fn count(&self, lookup: Lookup) -> u64 {
        self.lookups
            .lock()
            .unwrap()
            .get(&lookup)
            .copied()
            .unwrap_or_default()
    }

    fn written(&self) -> i64 {
        self.acknowledged
            .iter()
            .map(|row| row.load(Ordering::SeqCst))
            .sum()
    }

    /// Waits for so many more acknowledged writes and hits.
    async fn go_on(&self, writes: i64, hits: u64) {
        let (written, hit) = (self.written(), self.count(Lookup::Hit));
        until("writes and hits go on", async || {
            self.written() >= written + writes && self.count(Lookup::Hit) >= hit + hits
        })
        .await;
    }

    fn tell(&self, name: &str) {
        println!(
            "{name}: {} writes acknowledged, {} not; slowest read {:?}; {:?}",
            self.written(),
            self.unacknowledged.load(Ordering::SeqCst),
            self.slowest_read.lock().unwrap(),
            self.lookups.lock().unwrap()
        );
    }
}

/// What a machine that crashes does to the end of the log.
fn cut(redis: &Redis, kept: u64) {
    let log = OpenOptions::new().write(true).open(redis.log()).unwrap();
    assert!(log.metadata().unwrap().len() > kept, "nothing is lost");
    log.set_len(kept).unwrap();
}

async fn finish(mut tasks: JoinSet<()>, stop: CancellationToken) {
    stop.cancel();
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql and redis-server"]
async fn a_row_is_read_from_the_database_once_and_then_from_the_cache_until_it_is_written() {
    let (postgres, redis) = (Postgres::start().await, Redis::start().await);
    prepare(&postgres).await;
    let (one, other) = (
        Process::start(&postgres, Some(&redis)),
        Process::start(&postgres, Some(&redis)),
    );
    one.until_hit().await;
    other.until_hit().await;
    assert_eq!(
        one.read(1).await.unwrap(),
        (1, Lookup::Miss { stored: true })
    );
    assert_eq!(other.read(1).await.unwrap(), (1, Lookup::Hit));
    assert_eq!(other.write(1).await, Some(2));
    assert_eq!(
        one.read(1).await.unwrap(),
        (2, Lookup::Miss { stored: true })
    );
    assert_eq!(other.read(1).await.unwrap(), (2, Lookup::Hit));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql and redis-server"]
async fn a_process_without_a_cache_still_tells_those_that_have_one() {
    let (postgres, redis) = (Postgres::start().await, Redis::start().await);
    prepare(&postgres).await;
    let (cached, plain) = (
        Process::start(&postgres, Some(&redis)),
        Process::start(&postgres, None),
    );
    cached.until_hit().await;
    assert_eq!(plain.write(0).await, Some(2));
    let (version, lookup) = cached.read(0).await.unwrap();
    assert_eq!(version, 2);
    assert_eq!(lookup, Lookup::Bypass(Bypass::Untrusted));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql and redis-server"]
async fn a_writer_that_dies_after_its_commit_leaves_no_old_row_behind() {
    let (postgres, redis) = (Postgres::start().await, Redis::start().await);
    prepare(&postgres).await;
    let process = Process::start(&postgres, Some(&redis));
    process.until_hit().await;
    let mut client = process.database.get().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let intent = process
        .cache
        .intend(&transaction, vec![key(0)])
        .await
        .unwrap();
    transaction
        .batch_execute("update lantern set version = 2 where id = 0")
        .await
        .unwrap();
    assert_eq!(
        process.read(0).await.unwrap(),
        (1, Lookup::Bypass(Bypass::Busy))
    );
    transaction.commit().await.unwrap();
    drop(intent);
    assert_eq!(
        process.read(0).await.unwrap(),
        (2, Lookup::Bypass(Bypass::Busy))
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql and redis-server"]
async fn a_rolled_back_write_leaves_the_row_cacheable() {
    let (postgres, redis) = (Postgres::start().await, Redis::start().await);
    prepare(&postgres).await;
    let process = Process::start(&postgres, Some(&redis));
    process.until_hit().await;
    let mut client = process.database.get().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let intent = process
        .cache
        .intend(&transaction, vec![key(0)])
        .await
        .unwrap();
    transaction.rollback().await.unwrap();
    intent.abandon().await;
    assert_eq!(
        process.read(0).await.unwrap(),
        (1, Lookup::Miss { stored: true })
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql and redis-server"]
async fn a_row_that_was_loaded_before_a_write_is_not_stored_after_it() {
    let (postgres, redis) = (Postgres::start().await, Redis::start().await);
    prepare(&postgres).await;
    let process = Process::start(&postgres, Some(&redis));
    process.until_hit().await;
    let slow = async {
        let client = process.database.get().await.unwrap();
        let old = load_from(Some(&client), 1).await;
        assert_eq!(process.write(1).await, Some(2));
        old
    };
    let (_, lookup) = process.cache.read(&key(1), TTL, SHAPE, slow).await.unwrap();
    assert_eq!(lookup, Lookup::Miss { stored: false });
    assert_eq!(
        process.read(1).await.unwrap(),
        (2, Lookup::Miss { stored: true })
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql and redis-server"]
async fn a_cache_that_forgets_a_write_while_nobody_looks_serves_no_old_row() {
    let (postgres, mut redis) = (Postgres::start().await, Redis::start().await);
    prepare(&postgres).await;
    let process = Process::start(&postgres, Some(&redis));
    process.until_hit().await;
    let kept = redis.log().metadata().unwrap().len();
    assert_eq!(process.write(0).await, Some(2));
    redis.kill();
    cut(&redis, kept);
    redis.restart().await;
    assert!(redis.holds(key(0).as_str()).await, "it did not forget");
    until("the row comes from the cache again", async || {
        let (version, lookup) = process.read(0).await.unwrap();
        assert_eq!(version, 2, "{lookup:?}");
        lookup == Lookup::Hit
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql and redis-server"]
async fn readers_and_writers_of_two_processes_never_meet_an_old_row() {
    let (postgres, redis) = (Postgres::start().await, Redis::start().await);
    prepare(&postgres).await;
    let processes = [
        Process::start(&postgres, Some(&redis)),
        Process::start(&postgres, Some(&redis)),
    ];
    processes[0].until_hit().await;
    let (history, stop) = (Arc::new(History::default()), CancellationToken::new());
    let tasks = history.work(&processes, &stop);
    history.go_on(500, 2_000).await;
    finish(tasks, stop).await;
    history.tell("steady");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql and redis-server"]
async fn a_cache_that_is_killed_and_loses_its_last_writes_serves_no_old_row() {
    let (postgres, mut redis) = (Postgres::start().await, Redis::start().await);
    prepare(&postgres).await;
    let processes = [
        Process::start(&postgres, Some(&redis)),
        Process::start(&postgres, Some(&redis)),
    ];
    processes[0].until_hit().await;
    let (history, stop) = (Arc::new(History::default()), CancellationToken::new());
    let tasks = history.work(&processes, &stop);
    for _ in 0..3 {
        history.go_on(100, 500).await;
        let kept = redis.log().metadata().unwrap().len();
        history.go_on(50, 100).await;
        redis.kill();
        cut(&redis, kept);
        history.go_on(20, 0).await;
        redis.restart().await;
    }
    history.go_on(100, 500).await;
    finish(tasks, stop).await;
    history.tell("killed");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql and redis-server"]
async fn a_replica_that_takes_over_without_the_last_writes_serves_no_old_row() {
    let (postgres, mut cluster) = (Postgres::start().await, Cluster::start().await);
    prepare(&postgres).await;
    let address = || Address::parse(None, Some(&cluster.addresses())).unwrap();
    let processes = [
        Process::with(&postgres, address()),
        Process::with(&postgres, address()),
    ];
    processes[0].until_hit().await;
    let (history, stop) = (Arc::new(History::default()), CancellationToken::new());
    let tasks = history.work(&processes, &stop);
    history.go_on(100, 500).await;

    let (primary, replica) = cluster.pair_of(key(0).as_str()).await;
    cluster.pause(replica, true);
    history.go_on(20, 100).await;
    cluster.kill(primary);
    cluster.pause(replica, false);
    cluster.until_primary(replica).await;
    history.go_on(100, 500).await;
    history.tell("failed over");

    cluster.restart(primary).await;
    cluster.until_follows(primary).await;
    cluster.fail_over_to(primary).await;
    cluster.until_follows(replica).await;
    history.go_on(100, 500).await;
    cluster.fail_over_to(replica).await;
    history.go_on(100, 500).await;
    finish(tasks, stop).await;
    history.tell("failed over and back, and again");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql and redis-server"]
async fn a_cache_that_hangs_slows_no_read_for_long() {
    let (postgres, redis) = (Postgres::start().await, Redis::start().await);
    prepare(&postgres).await;
    let processes = [
        Process::start(&postgres, Some(&redis)),
        Process::start(&postgres, Some(&redis)),
    ];
    processes[0].until_hit().await;
    let (history, stop) = (Arc::new(History::default()), CancellationToken::new());
    let tasks = history.work(&processes, &stop);
    history.go_on(50, 200).await;
    redis.pause(true);
    history.go_on(50, 0).await;
    redis.pause(false);
    history.go_on(50, 200).await;
    finish(tasks, stop).await;
    history.tell("paused");
    let slowest = *history.slowest_read.lock().unwrap();
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql and redis-server"]
async fn while_the_database_is_away_the_last_rows_known_are_served_and_said_to_be_unverified() {
    let (mut postgres, redis) = (Postgres::start().await, Redis::start().await);
    prepare(&postgres).await;
    let process = Process::start(&postgres, Some(&redis));
    process.until_hit().await;
    postgres.crash();
    until("a read is unverified", async || {
        matches!(process.read(0).await, Ok((1, Lookup::Unverified)))
    })
    .await;
    assert!(process.read(1).await.is_err(), "it was never cached");
    let since = Instant::now();
    postgres.restart().await;
    process.until_hit().await;
    assert!(since.elapsed() < DEADLINE);
    assert_eq!(process.write(0).await, Some(2));
    assert_eq!(process.read(0).await.unwrap().0, 2);
}

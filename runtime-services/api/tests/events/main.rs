//! The program with its jobs and its cache, killed and cut off.
//!
//! `ORLOP_TEST_AMQP_URL` names the broker; its user must be allowed to declare queues.
//! `ORLOP_TEST_KILLS` is how often the program is killed.
//! ```text
//! ORLOP_TEST_AMQP_URL=amqp://app:app@127.0.0.1:5672/orlop \
//!   cargo test -p orlop-api --test events -- --ignored
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod broker;
#[path = "../rest/client.rs"]
#[allow(dead_code)]
mod client;
mod history;
mod program;
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rand::Rng as _;
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};
use tokio_postgres::NoTls;
use tokio_util::sync::CancellationToken;

use crate::{
    broker::{Gate, Job, Queue},
    history::History,
    program::{Program, SCHEMA},
    support::{postgres::Postgres, redis::Redis, until},
};

const WRITERS: usize = 4;
const READERS: usize = 2;
/// How long the broker is away.
const ABSENCE: Duration = Duration::from_secs(10);

/// What is told of: a lantern's id and its oil.
type Told = (String, i64);

async fn database(postgres: &Postgres) -> tokio_postgres::Client {
    let mut config: tokio_postgres::Config = postgres.url().parse().unwrap();
    config.options(format!("-c search_path={SCHEMA}"));
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn waiting(database: &tokio_postgres::Client) -> i64 {
    let count = "select count(*) from orlop_outbox";
    database.query_one(count, &[]).await.unwrap().get(0)
}

/// Everything that was committed: each lantern was lit with no oil and then trimmed one by one.
async fn committed(database: &tokio_postgres::Client) -> BTreeSet<Told> {
    let rows = database
        .query("select id::text, oil from lantern", &[])
        .await
        .unwrap();
    rows.iter()
        .flat_map(|row| {
            let (id, oil): (String, i64) = (row.get(0), row.get(1));
            (0..=oil).map(move |oil| (id.clone(), oil))
        })
        .collect()
}

fn told(job: &Job) -> Told {
    let data = &job.body["data"];
    (
        data["id"].as_str().unwrap().to_owned(),
        data["oil"].as_i64().unwrap(),
    )
}

/// Holds jobs against what was committed; returns how many came twice.
fn check(jobs: &[Job], committed: &BTreeSet<Told>) -> usize {
    let mut seen = HashSet::new();
    let first: Vec<&Job> = jobs
        .iter()
        .filter(|job| seen.insert(&job.message_id))
        .collect();
    let mut oil: BTreeMap<String, i64> = BTreeMap::new();
    for job in &first {
        let (id, now) = told(job);
        let next = oil.get(&id).map_or(0, |before| before + 1);
        assert_eq!(
            now, next,
            "out of order, or missing, or with another id: {job:?}"
        );
        oil.insert(id, now);
        assert_eq!(job.content_type, "application/json");
        assert!(job.persistent);
        assert!(job.traceparent.is_some());
    }
    let told: BTreeSet<Told> = first.iter().map(|job| told(job)).collect();
    assert_eq!(
        told.len(),
        first.len(),
        "one change has several message ids"
    );
    let missing: Vec<_> = committed.difference(&told).collect();
    let extra: Vec<_> = told.difference(committed).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "missing {missing:?}, extra {extra:?}"
    );
    jobs.len() - first.len()
}

async fn finish(mut tasks: JoinSet<()>, stop: CancellationToken) {
    stop.cancel();
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql, redis-server and a RabbitMQ, see above"]
async fn jobs_are_the_committed_changes_and_no_read_is_old_however_often_the_program_is_killed() {
    let kills: u32 = std::env::var("ORLOP_TEST_KILLS").map_or(20, |kills| kills.parse().unwrap());
    let (postgres, redis) = (Postgres::start().await, Redis::start().await);
    let (queue, gate) = (Queue::declare("lantern-kills").await, Gate::open().await);
    let environment = vec![("AMQP_URL", gate.url()), ("REDIS_URL", redis.url())];
    let mut program = Program::start(&postgres, (&queue.name, "lantern-none"), environment).await;
    let (history, stop) = (Arc::new(History::default()), CancellationToken::new());
    let tasks = history.work(program.api, (WRITERS, READERS), &stop);
    for _ in 0..kills {
        let before = history.acknowledged.load(Ordering::SeqCst);
        until("writes are acknowledged", async || {
            history.acknowledged.load(Ordering::SeqCst) > before
        })
        .await;
        // A random moment is what is tested.
        let moment = rand::rng().random_range(0..400);
        sleep(Duration::from_millis(moment)).await;
        program.restart().await;
    }
    let hits = history.hits.load(Ordering::SeqCst);
    until("rows come from the cache again", async || {
        history.hits.load(Ordering::SeqCst) > hits + 20
    })
    .await;
    finish(tasks, stop).await;
    let database = database(&postgres).await;
    until("the outbox is empty", async || {
        waiting(&database).await == 0
    })
    .await;
    let (jobs, committed) = (queue.take().await, committed(&database).await);
    let twice = check(&jobs, &committed);
    println!(
        "{kills} kills: {} changes committed, {} acknowledged, {} jobs, {twice} of them twice; {} reads, {} hits",
        committed.len(),
        history.acknowledged.load(Ordering::SeqCst),
        jobs.len() - twice,
        history.reads.load(Ordering::SeqCst),
        history.hits.load(Ordering::SeqCst),
    );
    for lantern in history.lanterns() {
        let last = (lantern.id.clone(), lantern.oil.load(Ordering::SeqCst));
        assert!(
            committed.contains(&last),
            "{last:?} was acknowledged and is lost"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql and a RabbitMQ, see above"]
async fn a_broker_that_is_away_loses_nothing_and_gets_all_in_order() {
    let postgres = Postgres::start().await;
    let (queue, gate) = (Queue::declare("lantern-away").await, Gate::open().await);
    let environment = vec![("AMQP_URL", gate.url())];
    let program = Program::start(&postgres, (&queue.name, "lantern-none"), environment).await;
    let (history, stop) = (Arc::new(History::default()), CancellationToken::new());
    let tasks = history.work(program.api, (WRITERS, 0), &stop);
    let database = database(&postgres).await;
    until("some are published", async || {
        program.metric("orlop_api_events_published_total").await > 100.0
    })
    .await;
    gate.set(false);
    // How long it is away is what is tested.
    sleep(ABSENCE).await;
    assert!(waiting(&database).await > 100, "nothing waits");
    until("the wait is measured", async || {
        program.metric("orlop_api_outbox_oldest_age_seconds").await > 1.0
    })
    .await;
    gate.set(true);
    let returned = std::time::Instant::now();
    finish(tasks, stop).await;
    until("the outbox is empty", async || {
        waiting(&database).await == 0
    })
    .await;
    let took = returned.elapsed();
    let (jobs, committed) = (queue.take().await, committed(&database).await);
    let twice = check(&jobs, &committed);
    println!(
        "{} jobs, {twice} of them twice; caught up in {took:?}",
        jobs.len() - twice
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql and a RabbitMQ, see above"]
async fn a_queue_that_is_missing_holds_back_only_its_own_events() {
    let postgres = Postgres::start().await;
    let (missing, gate) = (Queue::named("lantern-missing").await, Gate::open().await);
    let queue = Queue::declare("lantern-there").await;
    let environment = vec![("AMQP_URL", gate.url())];
    let program = Program::start(&postgres, (&queue.name, &missing.name), environment).await;
    let database = database(&postgres).await;
    for _ in 0..100 {
        program
            .api
            .post("/api/wicks", &json!({"oil": 1}))
            .await
            .expect(201);
    }
    program
        .api
        .post("/api/lanterns", &json!({"oil": 0}))
        .await
        .expect(201);
    until("only those of the missing queue wait", async || {
        waiting(&database).await == 100
    })
    .await;
    assert_eq!(queue.take().await.len(), 1);
    missing.create().await;
    until("the outbox is empty", async || {
        waiting(&database).await == 0
    })
    .await;
    assert_eq!(missing.take().await.len(), 100);
}

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    harbour::{Harbour, config, count, database, types},
    support::{postgres::Postgres, until},
};

#[tokio::test]
#[ignore = "needs postgresql"]
async fn while_the_database_is_away_it_is_said_so_and_soon_after_all_is_well() {
    let mut postgres = Postgres::start().await;
    let harbour = Harbour::open(&postgres).await;
    let api = harbour.api;
    let boat = json!({"hull": "h", "price": "1"});
    let created = api.post("/api/boats", &boat).await.expect(201);
    let path = created.header("location");

    postgres.crash();
    let started = Instant::now();
    // The first may find a connection that is not known to be closed yet.
    for _ in 0..3 {
        let away = api.get(path).await.expect(503);
        assert_eq!(away.problem(), "unavailable");
        assert_eq!(away.header("retry-after"), "1");
    }
    let lost = api
        .post("/api/boats", &json!({"hull": "i", "price": "1"}))
        .await;
    lost.expect(503);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "it does not hang"
    );
    harbour.health.get("/readyz").await.expect(200);

    postgres.restart().await;
    let back = Instant::now();
    until("the boat is read again", async || {
        api.get(path).await.status == 200
    })
    .await;
    assert!(
        back.elapsed() < Duration::from_secs(5),
        "{:?}",
        back.elapsed()
    );
    assert_eq!(api.get(path).await.expect(200).json(), created.json());
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn an_api_that_starts_before_its_database_waits_for_it() {
    let mut postgres = Postgres::start().await;
    postgres.crash();
    let harbour = Harbour::start(&postgres, config(types())).await;
    harbour.health.get("/readyz").await.expect(503);
    postgres.restart().await;
    harbour.until_ready().await;
    harbour.api.get("/api/boats").await.expect(200);
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn a_row_that_is_held_by_somebody_else_is_waited_for_only_so_long() {
    let postgres = Postgres::start().await;
    let harbour = Harbour::open(&postgres).await;
    let api = harbour.api;
    let boat = json!({"hull": "h", "price": "1"});
    let created = api.post("/api/boats", &boat).await.expect(201);
    let mut holder = database(&postgres).await;
    let transaction = holder.transaction().await.unwrap();
    transaction
        .query("select * from boat for update", &[])
        .await
        .unwrap();

    let path = created.header("location");
    let held = api.patch(path, "*", &json!({"price": "2"})).await;
    assert_eq!(held.expect(503).problem(), "unavailable");
    api.get(path).await.expect(200);
    transaction.rollback().await.unwrap();
    api.patch(path, "*", &json!({"price": "2"}))
        .await
        .expect(200);
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn a_write_whose_client_goes_away_is_done_whole_or_not_at_all() {
    let postgres = Postgres::start().await;
    let harbour = Harbour::open(&postgres).await;
    let api = harbour.api;
    let database = database(&postgres).await;
    let boat = json!({"hull": "h", "price": "1"});
    let boat = api.post("/api/boats", &boat).await.expect(201).json();
    for millis in 0..20 {
        let voyage = json!({"boat": boat["id"]});
        let sent = tokio::spawn(async move { api.post("/api/voyages", &voyage).await });
        // The later the cut, the further the write is.
        tokio::time::sleep(Duration::from_millis(millis)).await;
        sent.abort();
    }
    until("no write is under way", async || {
        let active =
            "pg_stat_activity where application_name = 'orlop-api' and xact_start is not null";
        count(&database, active).await == 0
    })
    .await;
    assert_eq!(
        count(&database, "voyage").await,
        count(&database, "orlop_outbox").await,
        "as many jobs as voyages"
    );
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn more_requests_than_can_be_served_are_refused_and_the_rest_are_served() {
    let postgres = Postgres::start().await;
    let harbour = Harbour::open(&postgres).await;
    let api = harbour.api;
    // Bodies that never come hold their slots.
    let headers = "POST /api/boats HTTP/1.1\r\nhost: harbour\r\n\
                   content-type: application/json\r\ncontent-length: 9\r\n\r\n";
    let mut held = Vec::new();
    for _ in 0..256 {
        let mut stream = TcpStream::connect(api.0).await.unwrap();
        stream.write_all(headers.as_bytes()).await.unwrap();
        held.push(stream);
    }
    until("no slot is left", async || {
        let answer = api.get("/api/boats").await;
        assert!(answer.status == 200 || answer.status == 503, "{answer:?}");
        answer.status == 503 && answer.header("retry-after") == "1"
    })
    .await;
    drop(held);
    until("there is room again", async || {
        api.get("/api/boats").await.status == 200
    })
    .await;
}

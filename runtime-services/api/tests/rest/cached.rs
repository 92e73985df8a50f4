use orlop_contract::api::{ApiConfig, CacheClass};
use serde_json::json;

use crate::{
    client::Client,
    harbour::{Harbour, config, types},
    support::{postgres::Postgres, redis::Redis, until},
};

fn cached() -> ApiConfig {
    let mut said = config(types());
    said.cache_classes = vec![CacheClass {
        name: "boat".into(),
        prefix: "boat:".into(),
        ttl_seconds: 300,
    }];
    said
}

/// Reads until the cache has it; it may not be trusted yet.
async fn until_hit(api: Client, path: &str) {
    until("the boat is read from the cache", async || {
        api.get(path).await.expect(200).header("cache-status") == "orlop; hit"
    })
    .await;
}

#[tokio::test]
#[ignore = "needs postgresql and redis-server"]
async fn a_cached_thing_is_never_older_than_what_was_acknowledged_by_any_replica() {
    let (postgres, redis) = (Postgres::start().await, Redis::start().await);
    let first = Harbour::start_with(&postgres, Some(&redis), cached()).await;
    let second = Harbour::start_with(&postgres, Some(&redis), cached()).await;
    first.until_ready().await;
    second.until_ready().await;
    let boat = json!({"hull": "h", "price": "1"});
    let created = first.api.post("/api/boats", &boat).await.expect(201);
    let path = created.header("location");
    for berths in 1..=30 {
        let change = json!({"berths": berths});
        let changed = first.api.patch(path, "*", &change).await.expect(200);
        for api in [first.api, second.api, second.api] {
            let read = api.get(path).await.expect(200);
            assert_eq!(
                read.json()["berths"],
                berths,
                "{}",
                read.header("cache-status")
            );
            assert_eq!(read.header("etag"), changed.header("etag"));
        }
    }
    until_hit(second.api, path).await;
    second.api.delete(path, "*").await.expect(204);
    first.api.get(path).await.expect(404);
}

#[tokio::test]
#[ignore = "needs postgresql and redis-server"]
async fn without_its_cache_the_api_answers_from_the_database() {
    let (postgres, mut redis) = (Postgres::start().await, Redis::start().await);
    let harbour = Harbour::start_with(&postgres, Some(&redis), cached()).await;
    harbour.until_ready().await;
    let api = harbour.api;
    let boat = json!({"hull": "h", "price": "1"});
    let created = api.post("/api/boats", &boat).await.expect(201);
    let path = created.header("location");
    until_hit(api, path).await;

    redis.kill();
    for berths in 1..=3 {
        api.patch(path, "*", &json!({"berths": berths}))
            .await
            .expect(200);
        assert_eq!(api.get(path).await.expect(200).json()["berths"], berths);
    }
    redis.restart().await;
    until_hit(api, path).await;
    assert_eq!(api.get(path).await.expect(200).json()["berths"], 3);
}

#[tokio::test]
#[ignore = "needs postgresql and redis-server"]
async fn what_was_read_before_is_answered_while_the_database_is_away() {
    let (mut postgres, redis) = (Postgres::start().await, Redis::start().await);
    let harbour = Harbour::start_with(&postgres, Some(&redis), cached()).await;
    harbour.until_ready().await;
    let api = harbour.api;
    let boat = json!({"hull": "h", "price": "1"});
    let created = api.post("/api/boats", &boat).await.expect(201);
    let path = created.header("location");
    until_hit(api, path).await;

    postgres.crash();
    for _ in 0..5 {
        let read = api.get(path).await.expect(200);
        assert!(read.header("cache-status").starts_with("orlop; hit"));
        assert_eq!(read.json(), created.json());
        api.patch(path, "*", &json!({"berths": 9}))
            .await
            .expect(503);
    }
    api.get("/api/boats").await.expect(503);
}

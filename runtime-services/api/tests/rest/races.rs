use futures::future::join_all;
use serde_json::json;

use crate::{
    harbour::{Harbour, count, database},
    support::postgres::Postgres,
};

#[tokio::test]
#[ignore = "needs postgresql"]
async fn of_writers_with_the_same_tag_exactly_one_wins() {
    let postgres = Postgres::start().await;
    let harbour = Harbour::open(&postgres).await;
    let api = harbour.api;
    let boat = json!({"hull": "h", "price": "1", "berths": 0});
    let created = api.post("/api/boats", &boat).await.expect(201);
    let path = created.header("location").to_owned();
    let mut tag = created.header("etag").to_owned();
    for round in 1..=20 {
        let writers = (0..4).map(|writer| {
            let body = json!({"berths": round * 10 + writer});
            let (path, tag) = (path.clone(), tag.clone());
            async move { api.patch(&path, &tag, &body).await }
        });
        let answers = join_all(writers).await;
        let (won, lost): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| answer.status == 200);
        assert_eq!(won.len(), 1, "round {round}");
        assert!(lost.iter().all(|answer| answer.status == 412), "{lost:?}");
        let now = api.get(&path).await.expect(200);
        assert_eq!(now.json(), won[0].json());
        assert_eq!(now.json()["version"], round + 1);
        tag = now.header("etag").to_owned();
    }
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn what_is_sent_many_times_under_one_key_is_created_once() {
    let postgres = Postgres::start().await;
    let harbour = Harbour::open(&postgres).await;
    let api = harbour.api;
    let database = database(&postgres).await;
    let key = [("idempotency-key", "\"order-1\"")];
    let pier = json!({"number": 1});
    let sent = (0..8).map(|_| api.post_with("/api/piers", &key, &pier));
    let answers = join_all(sent).await;
    assert_eq!(count(&database, "pier").await, 1);
    let created: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 201)
        .collect();
    assert!(!created.is_empty());
    for answer in &answers {
        if answer.status == 201 {
            assert_eq!(answer.json(), created[0].json());
            assert_eq!(answer.header("location"), created[0].header("location"));
        } else {
            assert_eq!(answer.status, 409);
            assert_eq!(answer.problem(), "key-in-use");
        }
    }
    let again = api.post_with("/api/piers", &key, &pier).await.expect(201);
    assert_eq!(again.json(), created[0].json());
    assert_eq!(again.header("etag"), created[0].header("etag"));
    let other = api
        .post_with("/api/piers", &key, &json!({"number": 2}))
        .await;
    assert_eq!(other.expect(422).problem(), "key-reused");
    let bad = api
        .post_with("/api/piers", &[("idempotency-key", "\"")], &pier)
        .await;
    assert_eq!(bad.expect(400).problem(), "query");
    assert_eq!(count(&database, "pier").await, 1);
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn a_part_that_is_added_while_its_whole_is_deleted_is_refused_or_goes_with_it() {
    let postgres = Postgres::start().await;
    let harbour = Harbour::open(&postgres).await;
    let api = harbour.api;
    let database = database(&postgres).await;
    let pier = api
        .post("/api/piers", &json!({"number": 7}))
        .await
        .expect(201)
        .json();
    let boat = json!({"hull": "h", "price": "1"});
    let boat = api.post("/api/boats", &boat).await.expect(201).json();
    for _ in 0..20 {
        let voyage = api
            .post("/api/voyages", &json!({"boat": boat["id"]}))
            .await
            .expect(201);
        let leg = json!({"miles": 1, "pier": pier["id"], "voyage": voyage.json()["id"]});
        let (deleted, added) = futures::join!(
            api.delete(voyage.header("location"), "*"),
            api.post("/api/voyage-legs", &leg),
        );
        deleted.expect(204);
        assert!(added.status == 201 || added.status == 422, "{added:?}");
    }
    assert_eq!(count(&database, "voyage").await, 0);
    assert_eq!(count(&database, "voyage_leg").await, 0);
}

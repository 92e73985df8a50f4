use serde_json::{Value, json};

use crate::{
    harbour::{Harbour, config, database, types},
    support::postgres::Postgres,
};

fn boats(fields: &Value, indexes: &Value) -> Value {
    json!([{
        "name": "Boat", "fields": fields, "indexes": indexes,
        "access": [{"name": "all", "roles": ["anonymous"], "allow": ["Read", "Write"]}],
    }])
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn the_old_and_the_new_revision_serve_the_same_tables() {
    let postgres = Postgres::start().await;
    let old = boats(
        &json!([{"name": "cost", "type": "Decimal"}, {"name": "gone", "type": "Text"}]),
        &json!([]),
    );
    let new = boats(
        &json!([
            {"name": "price", "type": "Decimal", "column": "cost"},
            {"name": "state", "type": "Enum", "values": ["new", "old"], "default": "new"},
        ]),
        &json!([{"name": "price", "fields": ["price"]}]),
    );
    let blue = Harbour::start(&postgres, config(old.clone())).await;
    blue.until_ready().await;
    let created = blue
        .api
        .post("/api/boats", &json!({"cost": "5", "gone": "g"}))
        .await
        .expect(201);
    let path = created.header("location");

    let green = Harbour::start(&postgres, config(new)).await;
    green.until_ready().await;
    let read = green.api.get(path).await.expect(200);
    assert_eq!(read.json()["price"], "5");
    assert_eq!(read.json()["state"], "new");
    assert_ne!(
        read.header("etag"),
        created.header("etag"),
        "another representation"
    );

    blue.api
        .post("/api/boats", &json!({"cost": "6", "gone": "g"}))
        .await
        .expect(201);
    // A tag of the other revision names the same version of the row.
    let tag = created.header("etag");
    green
        .api
        .patch(path, tag, &json!({"price": "7"}))
        .await
        .expect(200);
    assert_eq!(blue.api.get(path).await.expect(200).json()["cost"], "7");

    drop(blue);
    let blue = Harbour::start(&postgres, config(old)).await;
    blue.until_ready().await;
    green
        .api
        .post("/api/boats", &json!({"price": "8"}))
        .await
        .expect(201);
    assert_eq!(
        blue.api.get("/api/boats").await.expect(200).json()["items"][2]["gone"],
        json!(null)
    );
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn a_change_that_does_not_only_add_is_refused_and_changes_nothing() {
    let postgres = Postgres::start().await;
    let old = boats(&json!([{"name": "hull", "type": "Text"}]), &json!([]));
    let first = Harbour::start(&postgres, config(old)).await;
    first.until_ready().await;
    for _ in 0..2 {
        first
            .api
            .post("/api/boats", &json!({"hull": "same"}))
            .await
            .expect(201);
    }

    let retyped = boats(
        &json!([{"name": "hull", "type": "Int"}, {"name": "note", "type": "Text", "optional": true}]),
        &json!([]),
    );
    let refused = Harbour::start(&postgres, config(retyped))
        .await
        .failure()
        .await;
    assert!(
        refused.contains("column `hull` of table `boat` is text and cannot become bigint"),
        "{refused}"
    );
    let unique = boats(
        &json!([{"name": "hull", "type": "Text"}, {"name": "note", "type": "Text", "optional": true}]),
        &json!([{"name": "hull", "fields": ["hull"], "kind": "Unique"}]),
    );
    let refused = Harbour::start(&postgres, config(unique))
        .await
        .failure()
        .await;
    assert!(
        refused.contains("rows of table `boat` have the same hull"),
        "{refused}"
    );

    let notes = "select 1 from information_schema.columns where table_name = 'boat' and column_name = 'note'";
    let database = database(&postgres).await;
    assert!(database.query(notes, &[]).await.unwrap().is_empty());
    first
        .api
        .post("/api/boats", &json!({"hull": "same"}))
        .await
        .expect(201);
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn a_table_that_somebody_else_made_is_left_alone() {
    let postgres = Postgres::start().await;
    let database = database(&postgres).await;
    database
        .batch_execute("create schema harbour; create table harbour.boat (keel text)")
        .await
        .unwrap();
    let refused = Harbour::start(&postgres, config(types()))
        .await
        .failure()
        .await;
    assert!(
        refused.contains("table `boat` exists but was not made by this API"),
        "{refused}"
    );
    database
        .query("select keel from harbour.boat", &[])
        .await
        .unwrap();
}

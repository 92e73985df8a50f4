use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};

use crate::{
    client::Client,
    harbour::{Harbour, database},
    support::postgres::Postgres,
};

async fn hulls(api: Client, query: &str) -> Vec<String> {
    let page = api
        .get(&format!("/api/boats?{query}"))
        .await
        .expect(200)
        .json();
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|boat| boat["hull"].as_str().unwrap().to_owned())
        .collect()
}

/// Four boats, two of them with notes.
async fn fleet(api: Client) {
    for (hull, price, note) in [
        ("a", "9.5", json!("swift")),
        ("b", "10", json!(null)),
        ("c", "100", json!("calm")),
        ("d", "10", json!(null)),
    ] {
        let boat = json!({"hull": hull, "price": price, "note": note});
        api.post("/api/boats", &boat).await.expect(201);
    }
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn lists_are_filtered_and_sorted_by_value() {
    let postgres = Postgres::start().await;
    let harbour = Harbour::open(&postgres).await;
    let api = harbour.api;
    fleet(api).await;
    for (query, found) in [
        ("", "abcd"),
        ("sort=-id", "dcba"),
        ("sort=price", "abdc"),
        ("sort=-price,hull", "cbda"),
        ("sort=note", "cabd"),
        ("sort=-note", "acdb"),
        ("price=10.00", "bd"),
        ("price.lt=10", "a"),
        ("price.lte=10&sort=-hull", "dba"),
        ("price.gt=9.5&price.lt=100", "bd"),
        ("hull.in=a,c,z", "ac"),
        ("note.ne=calm", "abd"),
        ("hull=%27%20or%201=1", ""),
        ("createdAt.gt=2020-01-01T00:00:00Z&limit=2", "ab"),
    ] {
        assert_eq!(hulls(api, query).await.concat(), found, "{query}");
    }
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn pages_go_on_where_the_last_one_ended_in_any_order() {
    let postgres = Postgres::start().await;
    let harbour = Harbour::open(&postgres).await;
    let api = harbour.api;
    fleet(api).await;
    for sort in [
        "id",
        "-id",
        "price",
        "-price,hull",
        "note",
        "-note",
        "note,-price",
    ] {
        let whole = hulls(api, &format!("sort={sort}")).await;
        let mut paged = Vec::new();
        let mut path = format!("/api/boats?limit=1&sort={sort}");
        for _ in 0..whole.len() {
            let page = api.get(&path).await.expect(200);
            paged.push(page.json()["items"][0]["hull"].as_str().unwrap().to_owned());
            match page.json()["next"].as_str() {
                Some(next) => {
                    assert!(page.header("link").contains(next));
                    path = format!("/api/boats?limit=1&sort={sort}&after={next}");
                }
                None => assert_eq!(paged.len(), whole.len(), "{sort}"),
            }
        }
        assert_eq!(paged, whole, "{sort}");
    }
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn pages_show_every_old_thing_once_while_new_ones_arrive() {
    let postgres = Postgres::start().await;
    let harbour = Harbour::open(&postgres).await;
    let api = harbour.api;
    for number in 0..60 {
        let boat = json!({"hull": format!("old-{number}"), "price": (number % 7).to_string()});
        api.post("/api/boats", &boat).await.expect(201);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let writer = tokio::spawn(async move {
        let mut number = 0;
        while !stopped.load(Ordering::Relaxed) {
            let boat = json!({"hull": format!("new-{number}"), "price": (number % 7).to_string()});
            api.post("/api/boats", &boat).await.expect(201);
            number += 1;
        }
        number
    });
    let mut seen = Vec::new();
    let mut next = json!("");
    while let Value::String(after) = &next {
        let after = if after.is_empty() {
            String::new()
        } else {
            format!("&after={after}")
        };
        let page = api
            .get(&format!("/api/boats?limit=5&sort=price{after}"))
            .await;
        let page = page.expect(200).json();
        for boat in page["items"].as_array().unwrap() {
            seen.push(boat["hull"].as_str().unwrap().to_owned());
        }
        next = page["next"].clone();
    }
    stop.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 0, "something arrived meanwhile");
    let different: BTreeSet<_> = seen.iter().collect();
    assert_eq!(different.len(), seen.len(), "nothing is shown twice");
    let old = seen.iter().filter(|hull| hull.starts_with("old-")).count();
    assert_eq!(old, 60);
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn whatever_is_included_is_read_in_one_statement() {
    let mut postgres = Postgres::start().await;
    let admin = database(&postgres).await;
    admin
        .batch_execute("alter system set shared_preload_libraries = 'pg_stat_statements'")
        .await
        .unwrap();
    postgres.restart().await;
    let harbour = Harbour::open(&postgres).await;
    let api = harbour.api;
    let admin = database(&postgres).await;
    admin
        .batch_execute("create extension pg_stat_statements schema public")
        .await
        .unwrap();
    let pier = api
        .post("/api/piers", &json!({"number": 7}))
        .await
        .expect(201)
        .json();
    let boat = json!({"hull": "h", "price": "1"});
    let boat = api.post("/api/boats", &boat).await.expect(201).json();
    for miles in 1..=3 {
        let leg = json!({"miles": miles, "pier": pier["id"]});
        let voyage = json!({"boat": boat["id"], "legs": [leg.clone(), leg]});
        api.post("/api/voyages", &voyage).await.expect(201);
    }

    admin
        .batch_execute("select pg_stat_statements_reset()")
        .await
        .unwrap();
    let path = format!(
        "/api/boats/{}?include=voyages.legs.pier",
        boat["id"].as_str().unwrap()
    );
    let one = api.get(&path).await.expect(200).json();
    let list = api
        .get("/api/voyages?include=boat,legs.pier")
        .await
        .expect(200)
        .json();
    let row = admin
        .query_one(
            "select count(*), sum(calls)::bigint from pg_stat_statements where query like '%row_to_json%'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 2));

    assert_eq!(one["voyages"].as_array().unwrap().len(), 3);
    assert_eq!(one["voyages"][2]["legs"][1]["pier"]["number"], 7);
    assert_eq!(list["items"][0]["boat"]["hull"], "h");
    assert_eq!(list["items"][2]["legs"][0]["miles"], 3);
}

use serde_json::json;

use crate::{
    harbour::{Harbour, count, database},
    support::postgres::Postgres,
};

#[tokio::test]
#[ignore = "needs postgresql"]
async fn a_thing_is_created_read_changed_and_deleted() {
    let postgres = Postgres::start().await;
    let harbour = Harbour::open(&postgres).await;
    let api = harbour.api;

    let body = json!({"hull": "h-1", "price": "19.90", "launched": "2026-01-31T12:00:00+01:00"});
    let created = api.post("/api/boats", &body).await.expect(201);
    let boat = created.json();
    let path = created.header("location");
    assert_eq!(path, format!("/api/boats/{}", boat["id"].as_str().unwrap()));
    assert_eq!(boat["version"], 1);
    assert_eq!(boat["price"], "19.9");
    assert_eq!(boat["berths"], 2);
    assert_eq!(boat["note"], json!(null));
    assert_eq!(boat["launched"], "2026-01-31T11:00:00.000000Z");

    let read = api.get(path).await.expect(200);
    assert_eq!(read.json(), boat);
    let tag = read.header("etag");
    assert_eq!(tag, created.header("etag"));
    let again = api.send("GET", path, &[("if-none-match", tag)], "").await;
    assert!(again.expect(304).body.is_empty());

    let changed = api
        .patch(path, tag, &json!({"note": "fast"}))
        .await
        .expect(200);
    assert_eq!(changed.json()["note"], "fast");
    assert_eq!(changed.json()["hull"], "h-1");
    assert_eq!(changed.json()["version"], 2);
    assert_ne!(changed.header("etag"), tag);
    assert_eq!(api.get(path).await.expect(200).json(), changed.json());

    let refused = api.delete(path, tag).await.expect(412);
    assert_eq!(refused.problem(), "changed");
    api.delete(path, changed.header("etag")).await.expect(204);
    assert_eq!(api.get(path).await.expect(404).problem(), "not-found");
    api.delete(path, "*").await.expect(404);
    api.patch(path, "*", &json!({"note": "gone"}))
        .await
        .expect(404);
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn parts_come_and_go_with_their_whole_and_tell_of_it_once() {
    let postgres = Postgres::start().await;
    let harbour = Harbour::open(&postgres).await;
    let api = harbour.api;
    let database = database(&postgres).await;
    let boat = api
        .post("/api/boats", &json!({"hull": "h", "price": "1"}))
        .await
        .expect(201);
    let pier = api
        .post("/api/piers", &json!({"number": 7}))
        .await
        .expect(201);
    let (boat, pier) = (boat.json()["id"].clone(), pier.json()["id"].clone());

    let lost =
        json!({"boat": boat, "legs": [{"miles": 3, "pier": pier}, {"miles": 4, "pier": boat}]});
    let refused = api.post("/api/voyages", &lost).await.expect(422);
    assert_eq!(refused.problem(), "dangling");
    assert_eq!(count(&database, "voyage").await, 0, "all or nothing");
    assert_eq!(
        count(&database, "orlop_outbox").await,
        0,
        "no job of what was not committed"
    );

    let voyage =
        json!({"boat": boat, "legs": [{"miles": 3, "pier": pier}, {"miles": 4, "pier": pier}]});
    let created = api.post("/api/voyages", &voyage).await.expect(201);
    let legs = created.json()["legs"].clone();
    assert_eq!(legs[0]["miles"], 3);
    assert_eq!(legs[1]["voyage"], created.json()["id"]);
    let job = database
        .query_one("select queue, subject, body from orlop_outbox", &[])
        .await
        .unwrap();
    let id = created.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(job.get::<_, &str>(0), "casts");
    assert_eq!(job.get::<_, &str>(1), format!("voyage:{id}"));
    let body: serde_json::Value = serde_json::from_str(job.get(2)).unwrap();
    assert_eq!(body["data"], json!({"id": id, "boat": boat}));

    let held = api
        .delete(&format!("/api/boats/{}", boat.as_str().unwrap()), "*")
        .await;
    assert_eq!(held.expect(409).problem(), "conflict");
    api.delete(created.header("location"), created.header("etag"))
        .await
        .expect(204);
    assert_eq!(count(&database, "voyage_leg").await, 0);
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn what_is_not_allowed_is_told_with_the_right_status() {
    let postgres = Postgres::start().await;
    let harbour = Harbour::open(&postgres).await;
    let api = harbour.api;
    let json_type = ("content-type", "application/json");
    let boat = api
        .post("/api/boats", &json!({"hull": "h", "price": "1"}))
        .await
        .expect(201);
    let path = boat.header("location");

    let invalid = api
        .post("/api/boats", &json!({"hull": 1, "keel": 2}))
        .await
        .expect(422);
    assert_eq!(invalid.problem(), "body");
    let pointers: Vec<_> = invalid.json()["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(pointers, ["/hull", "/price", "/keel"]);

    let twice = api
        .post("/api/boats", &json!({"hull": "h", "price": "2"}))
        .await
        .expect(409);
    assert_eq!(twice.json()["detail"], "Another Boat has the same hull.");
    assert_eq!(
        api.get("/api/secrets").await.expect(403).problem(),
        "forbidden"
    );
    assert_eq!(
        api.get("/api/voyages?include=secret")
            .await
            .expect(403)
            .problem(),
        "forbidden"
    );
    assert_eq!(
        api.get("/api/keels").await.expect(404).problem(),
        "not-found"
    );
    let method = api.send("PUT", path, &[], "").await.expect(405);
    assert_eq!(method.header("allow"), "GET, HEAD, PATCH, DELETE");
    api.delete("/api/piers", "*").await.expect(405);
    api.send("POST", "/api/boats", &[], "{}").await.expect(415);
    let packed = [json_type, ("content-encoding", "gzip")];
    api.send("POST", "/api/boats", &packed, "{}")
        .await
        .expect(415);
    let long = format!("\"{}\"", "x".repeat(256 * 1024));
    api.send("POST", "/api/boats", &[json_type], &long)
        .await
        .expect(413);
    let broken = api
        .send("POST", "/api/boats", &[json_type], "{")
        .await
        .expect(400);
    assert_eq!(broken.problem(), "json");
    let blind = api
        .send("PATCH", path, &[json_type], "{}")
        .await
        .expect(428);
    assert_eq!(blind.problem(), "condition-missing");
    api.send("DELETE", path, &[], "").await.expect(428);
    assert_eq!(
        api.patch(path, "3", &json!({})).await.expect(400).problem(),
        "query"
    );
    assert_eq!(
        api.get("/api/boats?limit=0").await.expect(400).problem(),
        "query"
    );
    let head = api.send("HEAD", path, &[], "").await.expect(200);
    assert!(head.body.is_empty());
    assert_eq!(head.header("etag"), boat.header("etag"));
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn the_description_is_served_and_requests_are_counted_by_route() {
    let postgres = Postgres::start().await;
    let harbour = Harbour::open(&postgres).await;
    let document = harbour.api.get("/api/openapi.json").await.expect(200);
    assert_eq!(document.json()["openapi"], "3.1.0");
    harbour.api.get("/api/boats").await.expect(200);
    let metrics = harbour.health.get("/metrics").await.expect(200);
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    for line in [
        "http_requests_total{route=\"/api/boats\",method=\"GET\",status=\"200\"} 1",
        "http_requests_total{route=\"/api/openapi.json\",method=\"GET\",status=\"200\"} 1",
        "http_request_duration_seconds_count{route=\"/api/boats\",method=\"GET\"} 1",
        "database_connections_max 10",
    ] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
}

#[tokio::test]
#[ignore = "needs postgresql"]
async fn the_trace_of_a_request_is_that_of_its_job_and_of_its_problem() {
    let postgres = Postgres::start().await;
    let harbour = Harbour::open(&postgres).await;
    let api = harbour.api;
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{id}-00f067aa0ba902b7-01");
    let trace = [("traceparent", parent.as_str())];
    let boat = api
        .post("/api/boats", &json!({"hull": "h", "price": "1"}))
        .await
        .expect(201);
    let voyage = json!({"boat": boat.json()["id"]});
    api.post_with("/api/voyages", &trace, &voyage)
        .await
        .expect(201);
    let database = database(&postgres).await;
    let job = database
        .query_one("select trace from orlop_outbox", &[])
        .await
        .unwrap();
    let job: String = job.get(0);
    assert!(
        job.starts_with(&format!("00-{id}-")) && job.ends_with("-01"),
        "{job}"
    );
    assert_ne!(job, parent, "the job is told of by a span of its own");
    let refused = api
        .post_with("/api/voyages", &trace, &json!({}))
        .await
        .expect(422);
    assert_eq!(refused.json()["traceId"], id);
}

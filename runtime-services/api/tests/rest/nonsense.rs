use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::Value;

use crate::{client::Client, harbour::Harbour, support::postgres::Postgres};

/// Requests of one run; each goes through the whole service.
const CASES: u32 = 256;

#[derive(Clone, Debug)]
struct Nonsense {
    method: &'static str,
    path: String,
    if_match: &'static str,
    body: String,
}

/// Words that mean something, so that nonsense reaches deep.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "limit",
            "sort",
            "after",
            "include",
            "price",
            "price.lt",
            "hull",
            "hull.in",
            "berths",
            "note",
            "launched",
            "plan",
            "sound",
            "id",
            "createdAt.gte",
            "version",
            "voyages",
            "voyages.legs.pier",
            "-price,hull",
            "0",
            "-1",
            "1e9",
            "9223372036854775808",
            "NaN",
            "99999999999999999999.9999999999",
            "9999-12-31T23:59:59Z",
            "-009999-01-01T00:00:00Z",
            "67e55044-10b1-426f-9247-bb680e5fe0c8",
            "true",
            "null",
            "%00",
            "%FF",
            "%F0%9F%9A%A2",
            "'",
            "\"",
            ";",
            "$1",
            "",
            "WyJpZCIsWyIxIl1d",
            "WyJpZCIsW251bGxdXQ",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z0-9%+._~-]{0,12}",
    ]
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    let name = prop_oneof![
        prop::sample::select(vec![
            "hull", "price", "berths", "note", "launched", "plan", "boat", "legs", "miles"
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(name.clone(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn nonsense() -> impl Strategy<Value = Nonsense> {
    let path = prop::sample::select(vec![
        "/api/boats",
        "/api/voyages",
        "/api/voyage-legs",
        "/api/boats/67e55044-10b1-426f-9247-bb680e5fe0c8",
        "/api/secrets",
        "/api/%20",
    ]);
    let query = prop::collection::vec((word(), word()), 0..4);
    let body = prop_oneof![json().prop_map(|json| json.to_string()), any::<String>()];
    let method = prop::sample::select(vec!["GET", "POST", "PATCH", "DELETE", "PUT"]);
    let if_match = prop::sample::select(vec!["*", "\"1-0\"", "W/\"1\"", "x"]);
    (method, path, query, if_match, body).prop_map(|(method, path, query, if_match, body)| {
        let query: Vec<_> = query
            .into_iter()
            .map(|(name, value)| format!("{}={}", in_uri(&name), in_uri(&value)))
            .collect();
        Nonsense {
            method,
            path: format!("{path}?{}", query.join("&")),
            if_match,
            body,
        }
    })
}

/// What a client's library would refuse to send is encoded; what the server has to decode is not.
fn in_uri(text: &str) -> String {
    text.replace('"', "%22").replace('\'', "%27")
}

async fn status(api: Client, nonsense: &Nonsense) -> (u16, String) {
    let headers = [
        ("content-type", "application/json"),
        ("if-match", nonsense.if_match),
    ];
    let answer = api
        .send(nonsense.method, &nonsense.path, &headers, &nonsense.body)
        .await;
    let told = String::from_utf8_lossy(&answer.body).into_owned();
    (answer.status.as_u16(), told)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn no_nonsense_is_answered_as_our_fault() {
    let postgres = Postgres::start().await;
    let harbour = Harbour::open(&postgres).await;
    let api = harbour.api;
    let handle = tokio::runtime::Handle::current();
    let checked = tokio::task::spawn_blocking(move || {
        let mut runner = TestRunner::new(Config::with_cases(CASES));
        runner.run(&nonsense(), |nonsense| {
            let (status, told) = handle.block_on(status(api, &nonsense));
            prop_assert!(status < 500, "{status} {told}");
            Ok(())
        })
    });
    checked.await.unwrap().unwrap();
}

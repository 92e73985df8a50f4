use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::time::{advance, timeout};

use super::*;
use crate::fake::{self, Call, Reply, failure};

/// An API server that has one Lease.
#[derive(Clone, Default)]
struct Server {
    lease: Arc<Mutex<Option<Value>>>,
    is_down: Arc<Mutex<bool>>,
}

impl Server {
    fn answer(&self, call: Call) -> Reply {
        if *self.is_down.lock().unwrap() {
            return failure(503, "down");
        }
        let mut lease = self.lease.lock().unwrap();
        let version = lease
            .as_ref()
            .map(|lease| lease["metadata"]["resourceVersion"].clone());
        let mut stored = call.body;
        match call.line.split_once(' ').unwrap().0 {
            "GET" => {
                return lease
                    .clone()
                    .map_or(failure(404, "none"), |lease| (200, lease));
            }
            "POST" if version.is_some() => return failure(409, "exists"),
            "POST" => stored["metadata"]["resourceVersion"] = json!("1"),
            _ if version.as_ref() != Some(&stored["metadata"]["resourceVersion"]) => {
                return failure(409, "changed");
            }
            _ => {
                let version: u64 = version.unwrap().as_str().unwrap().parse().unwrap();
                stored["metadata"]["resourceVersion"] = json!((version + 1).to_string());
            }
        }
        *lease = Some(stored.clone());
        (200, stored)
    }

    fn election(&self, identity: &str) -> Election {
        let server = self.clone();
        let client = fake::client(move |call| server.answer(call));
        let (name, identity) = ("operator".to_owned(), identity.to_owned());
        Election::new(client, "harbour", name, identity, &Metrics::new())
    }

    /// The lease, held; it must be had within five minutes.
    async fn acquire(&self, identity: &str) -> Held {
        timeout(Duration::from_mins(5), self.election(identity).acquire())
            .await
            .unwrap()
    }

    fn spec(&self) -> Value {
        self.lease.lock().unwrap().as_ref().unwrap()["spec"].clone()
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_one_leads_and_the_second_waits_for_as_long_as_it_renews() {
    let server = Server::default();
    let mut first = server.acquire("first").await;
    let renewing = tokio::spawn(async move { first.keep().await });
    let second = timeout(Duration::from_mins(5), server.election("second").acquire()).await;
    assert!(second.is_err(), "two lead");
    assert!(!renewing.is_finished());
    assert_eq!(server.spec()["holderIdentity"], "first");
    assert_eq!(server.spec()["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_released_is_taken_at_once() {
    let server = Server::default();
    server.acquire("first").await.release().await;
    let start = Instant::now();
    server.acquire("second").await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(server.spec()["holderIdentity"], "second");
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_gone_is_replaced_only_after_the_whole_duration() {
    let server = Server::default();
    drop(server.acquire("first").await);
    let start = Instant::now();
    server.acquire("second").await;
    assert!(start.elapsed() >= DURATION, "{:?}", start.elapsed());
    assert!(
        start.elapsed() <= DURATION + RETRY_EVERY,
        "{:?}",
        start.elapsed()
    );
    assert_eq!(server.spec()["leaseTransitions"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_comes_back_under_its_name_goes_on_at_once() {
    let server = Server::default();
    drop(server.acquire("first").await);
    let start = Instant::now();
    server.acquire("first").await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(server.spec()["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_reach_the_server_gives_up_before_another_may_take_over() {
    let server = Server::default();
    let mut first = server.acquire("first").await;
    let renewed = Instant::now();
    *server.is_down.lock().unwrap() = true;
    first.keep().await;
    assert_eq!(renewed.elapsed(), GIVE_UP_AFTER);
    assert!(GIVE_UP_AFTER < DURATION);
}

#[tokio::test(start_paused = true)]
async fn a_short_failure_costs_nothing() {
    let server = Server::default();
    let mut first = server.acquire("first").await;
    let renewing = tokio::spawn(async move { first.keep().await });
    advance(Duration::from_secs(4)).await;
    *server.is_down.lock().unwrap() = true;
    tokio::time::sleep(Duration::from_secs(3)).await;
    *server.is_down.lock().unwrap() = false;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(!renewing.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_holder_whose_lease_is_in_other_hands_stops_but_a_new_label_does_not_matter() {
    let server = Server::default();
    let mut first = server.acquire("first").await;
    {
        let mut lease = server.lease.lock().unwrap();
        let lease = lease.as_mut().unwrap();
        lease["metadata"]["labels"] = json!({"colour": "blue"});
        lease["metadata"]["resourceVersion"] = json!("70");
    }
    assert!(first.renew().await);
    {
        let mut lease = server.lease.lock().unwrap();
        let lease = lease.as_mut().unwrap();
        lease["spec"]["holderIdentity"] = json!("second");
        lease["metadata"]["resourceVersion"] = json!("80");
    }
    let start = Instant::now();
    first.keep().await;
    assert_eq!(start.elapsed(), RENEW_EVERY);
    assert_eq!(server.spec()["holderIdentity"], "second");
}

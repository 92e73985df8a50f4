//! Servers of the tests: real ones from Debian's packages, each of one test, on loopback, in a
//! directory of its own, gone with the test.

#![allow(clippy::unwrap_used, clippy::panic)]
// Each test program uses some of them.
#![allow(dead_code)]

pub(crate) mod cluster;
pub(crate) mod postgres;
pub(crate) mod redis;
mod server;

use std::time::{Duration, Instant};

/// Of all waits for something to come about.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Polls until the state of the world is as wanted.
pub(crate) async fn until(what: &str, mut wanted: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !wanted().await {
        assert!(
            since.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

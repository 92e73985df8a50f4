//! Waiting for the world: polling with a deadline.

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result};
use tokio::time::Instant;

/// Often enough to measure seconds, seldom enough to leave two cores to the cluster.
const POLL_EVERY: Duration = Duration::from_millis(250);

/// Asks `probe` until it gives `Ok`; an `Err` is what was seen last.
///
/// # Errors
/// When `within` is over: what was awaited, and the last state seen.
pub async fn eventually<T>(
    within: Duration,
    what: impl fmt::Display,
    mut probe: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        // A probe that hangs is a failure too.
        let seen = tokio::time::timeout_at(deadline, probe()).await;
        match seen {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(state)) if Instant::now() + POLL_EVERY >= deadline => {
                return Err(state).with_context(|| format!("not within {within:?}: {what}"));
            }
            Ok(Err(_)) => tokio::time::sleep(POLL_EVERY).await,
            Err(_) => anyhow::bail!("not within {within:?}: {what}: the probe itself hangs"),
        }
    }
}

/// Lets `window` pass, because what (does not) happen in it is what the test observes.
pub async fn observe_for(window: Duration, what: &str) {
    println!("observing for {window:?}: {what}");
    tokio::time::sleep(window).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_probe_is_asked_until_it_succeeds() {
        let mut asked = 0;
        let value = eventually(Duration::from_secs(5), "the third answer", async || {
            asked += 1;
            anyhow::ensure!(asked == 3, "answer {asked}");
            Ok(asked)
        });
        assert_eq!(value.await.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_names_what_was_awaited_and_what_was_seen() {
        let never = eventually(Duration::from_secs(2), "a green lamp", async || {
            anyhow::bail!("the lamp is red") as Result<()>
        });
        let error = format!("{:#}", never.await.unwrap_err());
        assert_eq!(error, "not within 2s: a green lamp: the lamp is red");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_hangs_ends_at_the_deadline() {
        let hung = eventually(Duration::from_secs(2), "an answer", async || {
            std::future::pending::<Result<()>>().await
        });
        assert!(hung.await.unwrap_err().to_string().contains("hangs"));
    }
}

//! Waiting for the world: polling with a deadline.

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use tokio::time::{Instant, sleep, timeout_at};

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
    let mut last = anyhow!("the first look at it did not end");
    let value = timeout_at(deadline, async {
        loop {
            match probe().await {
                Ok(value) => return value,
                Err(state) => last = state,
            }
            sleep(POLL_EVERY).await;
        }
    });
    match value.await {
        Ok(value) => Ok(value),
        Err(_) => Err(last).with_context(|| format!("not within {within:?}: {what}")),
    }
}

/// Lets `window` pass, because what (does not) happen in it is what the test observes.
pub async fn observe_for(window: Duration, what: &str) {
    println!("observing for {window:?}: {what}");
    sleep(window).await;
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
        let error = format!("{:#}", hung.await.unwrap_err());
        assert!(error.ends_with("did not end"), "{error}");
    }
}

//! How often an object may be written.
//!
//! Where something else keeps undoing what the operator does, every pass writes and every write
//! brings about the next pass. Such an object gets a pass a second; the API server, the other
//! objects and the reader of the log are spared.

use tokio::time::Instant;

/// Writing passes in a row before the bound is felt: more than a release, or than putting back
/// every object of a large application one after another.
const BURST: f64 = 60.0;
/// Writing passes a second after that.
const RATE: f64 = 1.0;

/// The passes that one object may still write in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    left: f64,
    at: Instant,
}

impl Budget {
    pub(crate) fn full() -> Self {
        Self {
            left: BURST,
            at: Instant::now(),
        }
    }

    pub(crate) fn spend(&mut self) {
        *self = Self {
            left: self.now() - 1.0,
            at: Instant::now(),
        };
    }

    /// When a pass may write again, if not now.
    pub(crate) fn exhausted_until(&self) -> Option<Instant> {
        let missing = 1.0 - self.now();
        let wait = std::time::Duration::try_from_secs_f64(missing / RATE).ok()?;
        (!wait.is_zero()).then(|| Instant::now() + wait)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.now() >= BURST
    }

    fn now(&self) -> f64 {
        (self.left + self.at.elapsed().as_secs_f64() * RATE).min(BURST)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_fought_over_is_written_once_a_second_after_a_burst() {
        let mut budget = Budget::full();
        let start = Instant::now();
        let mut passes = 0;
        while start.elapsed() < Duration::from_secs(10) {
            if let Some(until) = budget.exhausted_until() {
                tokio::time::sleep_until(until).await;
            } else {
                budget.spend();
                passes += 1;
            }
        }
        // The timer's granularity may cost one.
        assert!((69..=70).contains(&passes), "{passes}");
    }

    #[tokio::test(start_paused = true)]
    async fn it_recovers_with_time() {
        let mut budget = Budget::full();
        for _ in 0..60 {
            budget.spend();
        }
        assert!(budget.exhausted_until().is_some());
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(budget.is_full());
    }
}

//! Whether the process lives and whether it may be given work.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// The answers of `/healthz` and `/readyz`.
#[derive(Clone, Debug, Default)]
pub struct Health {
    ready: Arc<AtomicBool>,
    pulses: Arc<Mutex<Vec<Pulse>>>,
}

#[derive(Debug)]
struct Pulse {
    name: &'static str,
    at_least_every: Duration,
    last: Arc<Mutex<Instant>>,
}

/// The beat of one loop; see [`Health::pulse`].
#[derive(Clone, Debug)]
pub struct Heart(Arc<Mutex<Instant>>);

impl Heart {
    pub fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl Health {
    /// From now on `/readyz` answers 200.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// From now on `/readyz` answers 503, until it is ready again.
    pub fn set_unready(&self) {
        self.ready.store(false, Ordering::Release);
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Watches a loop that must beat `at_least_every` so often; when it does not, `/healthz` says
    /// so and whoever supervises the process restarts it.
    #[must_use]
    pub fn pulse(&self, name: &'static str, at_least_every: Duration) -> Heart {
        let last = Arc::new(Mutex::new(Instant::now()));
        let pulse = Pulse {
            name,
            at_least_every,
            last: Arc::clone(&last),
        };
        self.pulses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(pulse);
        Heart(last)
    }

    /// Names of the loops that have stopped beating.
    #[must_use]
    pub fn stopped(&self) -> Vec<&'static str> {
        let pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses
            .iter()
            .filter(|pulse| pulse.is_overdue())
            .map(|pulse| pulse.name)
            .collect()
    }
}

impl Pulse {
    fn is_overdue(&self) -> bool {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
            > self.at_least_every
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stops_beating_is_named() {
        let health = Health::default();
        let beating = health.pulse("beating", Duration::from_secs(10));
        let _stopped = health.pulse("stopped", Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(11)).await;
        beating.beat();
        assert_eq!(health.stopped(), ["stopped"]);
    }
}

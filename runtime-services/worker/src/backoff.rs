//! How long to wait before the broker is tried again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);

/// A broker that is back is found within this time, and a hundred workers ask it for no more than
/// a few dozen connections a second.
const MOST: Duration = Duration::from_secs(3);

/// Doubling waits of which a random half is taken, so that workers do not all come at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    pub(crate) fn next(&mut self) -> Duration {
        let longest = self.next;
        self.next = (longest * 2).min(MOST);
        rand::random_range(longest / 2..=longest)
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_anew_after_a_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(waits[0] <= FIRST && waits[0] >= FIRST / 2);
        assert!(waits.iter().all(|wait| *wait <= MOST), "{waits:?}");
        assert!(waits[19] >= MOST / 2, "{waits:?}");
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}

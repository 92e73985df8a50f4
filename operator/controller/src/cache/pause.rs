//! How long a watch that broke waits before it starts again.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// A server that was restarted is asked again at once,
const SHORTEST: Duration = Duration::from_millis(500);
/// and after a long outage nobody waits longer than this, with few enough watches that all of them
/// coming back together are no burden. (kube-runtime's own waits up to half a minute.)
const LONGEST: Duration = Duration::from_secs(8);

/// Doubling pauses, with up to a half taken off by chance, so that watches that broke together do not
/// come back together.
#[derive(Debug)]
pub(super) struct Pause {
    next: Duration,
}

impl Pause {
    pub(super) const fn new() -> Self {
        Self { next: SHORTEST }
    }
}

impl Iterator for Pause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(LONGEST);
        Some(pause.mul_f64(1.0 - rand::random::<f64>() / 2.0))
    }
}

impl Backoff for Pause {
    fn reset(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_are_short_again_after_a_success() {
        let mut pause = Pause::new();
        let lengths: Vec<_> = pause.by_ref().take(20).collect();
        assert!(lengths[0] <= SHORTEST);
        let late = &lengths[10..];
        assert!(
            late.iter()
                .all(|length| (LONGEST / 2..=LONGEST).contains(length)),
            "{late:?}"
        );
        pause.reset();
        assert!(pause.next().unwrap() <= SHORTEST);
    }
}

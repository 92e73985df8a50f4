//! What stands on a RabbitMQ broker for each declared queue, and under which names.
//!
//! For a queue `Q`: `Q` itself, `Q.dead` for jobs that failed for good, and `Q.retry.1` ...
//! `Q.retry.n`, in which a failed job waits before it returns to `Q`. Queue `n` of these gives every
//! message the same time to live, because expiry is acted on only at a queue's head.

use std::time::Duration;

/// Virtual host of everything that Orlop declares.
pub const VHOST: &str = "orlop";

/// User with all rights; only the operator has its password.
pub const ADMIN_USER: &str = "orlop-admin";

/// User that publishes and consumes, and configures nothing.
pub const APP_USER: &str = "app";

pub const AMQP_PORT: u16 = 5672;
pub const MANAGEMENT_PORT: u16 = 15672;
pub const PROMETHEUS_PORT: u16 = 15692;

/// How often a job may be tried at most: each try but the last may need a queue of its own.
pub const ATTEMPTS_MAX: u32 = 20;

/// Message header: how many attempts at the job have failed. An integer, absent before the first.
pub const ATTEMPT_HEADER: &str = "x-orlop-attempt";

/// Message header of a dead letter: a [`DeadReason`] as text.
pub const DEAD_REASON_HEADER: &str = "x-orlop-dead-reason";

/// Message header of a dead letter: what the last attempt said, as text of at most
/// [`DEAD_ERROR_MAX`] bytes.
pub const DEAD_ERROR_HEADER: &str = "x-orlop-dead-error";

/// Message header of a dead letter: the queue that it was taken from.
pub const DEAD_QUEUE_HEADER: &str = "x-orlop-dead-queue";

/// Headers travel with every copy of a message: a sentence, not a log.
pub const DEAD_ERROR_MAX: usize = 512;

/// Why a job is in the dead letter queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeadReason {
    /// The last attempt that was allowed has failed.
    Attempts,
    /// The handler said that trying again is of no use.
    Refused,
    /// The broker delivered it again and again, and no worker lived to settle it.
    Deliveries,
}

impl DeadReason {
    pub const ALL: [Self; 3] = [Self::Attempts, Self::Refused, Self::Deliveries];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Refused => "refused",
            Self::Deliveries => "deliveries",
        }
    }
}

/// Name of the queue for jobs of `queue` that failed for good.
#[must_use]
pub fn dead(queue: &str) -> String {
    format!("{queue}.dead")
}

/// Name of the queue in which jobs of `queue` wait for the backoff at place `rung`, counted from 1.
#[must_use]
pub fn retry(queue: &str, rung: usize) -> String {
    format!("{queue}.retry.{rung}")
}

/// The backoffs, shortest first: place `n` (counted from 1) is the time to live of
/// [`retry`]`(queue, n)`. Each doubles the one before, up to `max_backoff`, which stands only once:
/// what fails after the last place is reached waits there again.
///
/// Empty when there is only one attempt. Attempts over [`ATTEMPTS_MAX`] count as that many.
#[must_use]
pub fn ladder(attempts: u32, backoff: Duration, max_backoff: Duration) -> Vec<Duration> {
    let retries = attempts.min(ATTEMPTS_MAX).saturating_sub(1);
    let mut ladder: Vec<Duration> = (0..retries)
        .map(|retry| backoff.saturating_mul(1 << retry).min(max_backoff))
        .collect();
    ladder.dedup();
    ladder
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn backoffs_double_up_to_the_cap_which_stands_once() {
        let climbed = ladder(7, secs(2), secs(10));
        assert_eq!(climbed, [secs(2), secs(4), secs(8), secs(10)]);
    }

    #[test]
    fn one_attempt_has_nothing_to_wait_for() {
        assert_eq!(ladder(1, secs(2), secs(10)), []);
        assert_eq!(ladder(0, secs(2), secs(10)), []);
    }

    #[test]
    fn the_ladder_is_bounded_whatever_is_asked_for() {
        let climbed = ladder(u32::MAX, Duration::from_millis(1), Duration::MAX);
        assert_eq!(climbed.len(), 19);
        assert!(climbed.is_sorted());
    }

    #[test]
    fn a_first_backoff_over_the_cap_is_the_cap() {
        assert_eq!(ladder(5, secs(60), secs(10)), [secs(10)]);
    }
}

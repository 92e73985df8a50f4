//! Configuration and statistics of `orlop-worker`.
//!
//! Durations are whole milliseconds: only programs write and read these, and the type of a manifest
//! (GEP-2257 text) belongs to people.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// File of a [`WorkerConfig`] as JSON.
pub const CONFIG_PATH: &str = "/etc/orlop/worker/worker.json";

/// Environment variable with the broker's URL, `amqp://user:password@host:port/vhost`.
pub const AMQP_URL_VARIABLE: &str = "AMQP_URL";

/// Path of a [`WorkerStats`] as JSON, on [`crate::HEALTH_PORT`].
pub const STATS_PATH: &str = "/stats";

/// Jobs at once in one worker: each holds a connection to the handler.
pub const CONCURRENCY_MAX: u16 = 1000;

/// Quorum queues give one consumer no more than this many unsettled messages.
pub const PREFETCH_MAX: u16 = 2000;

/// Time that one attempt may take. A broker takes a message back, and the channel with it, that is
/// not settled within 30 minutes (RabbitMQ's `consumer_timeout`), waiting for a free place included.
pub const HANDLER_TIMEOUT_MAX: Duration = Duration::from_mins(10);

/// Request header: number of this attempt, counted from 1.
pub const ATTEMPT_REQUEST_HEADER: &str = "orlop-attempt";

/// Request header: the message id that the publisher gave, absent where it gave none. The same on
/// every attempt.
pub const MESSAGE_ID_REQUEST_HEADER: &str = "orlop-message-id";

/// Request header: the queue that the job was taken from.
pub const QUEUE_REQUEST_HEADER: &str = "orlop-queue";

/// What one worker does: takes jobs from one queue and gives each to a handler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerConfig {
    pub queue: String,
    /// Where jobs go that failed for good. It exists already, like every queue named here.
    pub dead_queue: String,
    /// Jobs handled at once, 1 to [`CONCURRENCY_MAX`].
    pub concurrency: u16,
    /// Messages taken from the broker and not settled yet: at least `concurrency`, at most
    /// [`PREFETCH_MAX`].
    pub prefetch: u16,
    pub handler: Handler,
    pub retry: Retry,
    /// After SIGTERM the process ends within this time. What was taken is finished until shortly
    /// before, the rest goes back to the queue.
    pub drain_millis: Millis,
}

/// What a job is given to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Handler {
    Http(HttpHandler),
}

/// The body of the message is posted, with its content type. A status of 200 to 299 says that the
/// job is done; 408, 425, 429, 500 to 599, and no answer in time say that it is to be tried again;
/// any other that trying again is of no use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpHandler {
    /// `http://host:port/path`
    pub url: String,
    /// Time from the request to the end of the answer, connecting included: at most
    /// [`HANDLER_TIMEOUT_MAX`].
    pub timeout_millis: Millis,
}

/// How often and how late a failed job is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, 1 to [`crate::queue::ATTEMPTS_MAX`].
    pub attempts: u32,
    /// Shortest delay first; the n-th failure goes to the n-th, later ones to the last. Empty only
    /// where `attempts` is 1.
    pub rungs: Vec<Rung>,
}

/// A queue in which failed jobs wait, all for the same time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rung {
    pub queue: String,
    pub delay_millis: Millis,
}

/// A duration of whole milliseconds, written as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl From<Millis> for Duration {
    fn from(millis: Millis) -> Self {
        Self::from_millis(millis.0)
    }
}

impl From<Duration> for Millis {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

/// What a worker has done since it started. Counters only grow while `start` stays the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStats {
    /// Random id of this run of the process.
    pub start: String,
    /// Whether jobs are being taken from the broker.
    pub connected: bool,
    /// Whether it was told to stop and finishes what it has taken.
    pub draining: bool,
    /// Jobs settled, by outcome.
    pub jobs: Jobs,
    /// Messages that the broker had delivered before, to this or another consumer.
    pub redelivered: u64,
    /// Time that attempts took, added up over all that ended.
    pub busy_seconds: f64,
    /// Attempts that run now.
    pub in_flight: u64,
    /// What is wrong between it and the broker. Absent while nothing is.
    pub last_error: Option<BrokerError>,
    /// The last attempt that failed, whatever came after it.
    pub handler_failure: Option<HandlerFailure>,
}

/// Attempts that ended, by what came of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Jobs {
    pub done: u64,
    /// Put into a queue of [`Retry::rungs`].
    pub retried: u64,
    /// Put into the dead letter queue.
    pub dead: u64,
    /// Cut off unfinished and given back, because the time to drain or the connection had ended, or
    /// because no other queue took the failed job.
    pub returned: u64,
}

/// Why a worker takes no jobs, or cannot get rid of those that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerError {
    pub kind: BrokerErrorKind,
    /// One line. Holds neither credentials nor counters nor times.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BrokerErrorKind {
    /// No connection, or the one there was is lost.
    Unreachable,
    /// The broker refuses the credentials, or what they may do.
    AccessRefused,
    /// A queue of the configuration does not exist.
    QueueMissing,
    /// The broker takes no copy of a failed job.
    PublishRefused,
    /// Anything else that the broker said.
    Other,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandlerFailure {
    /// One line without counters and times, such as `handler answered 500 Internal Server Error`.
    pub message: String,
    /// How many attempts have failed since one succeeded. Zero once one has.
    pub in_a_row: u64,
    /// How long ago.
    pub ago_millis: Millis,
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = r#"{"queue":"emails","deadQueue":"emails.dead","concurrency":8,"prefetch":16,"handler":{"http":{"url":"http://mailer:3000/jobs","timeoutMillis":30000}},"retry":{"attempts":2,"rungs":[{"queue":"emails.retry.1","delayMillis":2000}]},"drainMillis":20000}"#;

    #[test]
    fn a_configuration_reads_and_writes_as_documented() {
        let config: WorkerConfig = serde_json::from_str(WRITTEN).unwrap();
        assert_eq!(Duration::from(config.drain_millis), Duration::from_secs(20));
        assert_eq!(serde_json::to_string(&config).unwrap(), WRITTEN);
    }

    #[test]
    fn a_field_that_is_not_known_is_refused_at_every_depth() {
        for (known, unknown) in [
            ("\"queue\":\"emails\"", "\"queues\":\"emails\""),
            ("\"timeoutMillis\":30000", "\"timeoutMillis\":30000,\"x\":1"),
            ("\"delayMillis\":2000", "\"delayMillis\":2000,\"x\":1"),
            ("\"attempts\":2", "\"attempts\":2,\"x\":1"),
        ] {
            let written = WRITTEN.replacen(known, unknown, 1);
            assert_ne!(written, WRITTEN);
            let error = serde_json::from_str::<WorkerConfig>(&written).unwrap_err();
            assert!(error.to_string().contains("unknown field"), "{error}");
        }
    }
}

//! The configuration, checked: nothing looks at the raw one afterwards.

use std::{fmt::Display, fs, io, ops::RangeInclusive, path::PathBuf, time::Duration};

use http::Uri;
use lapin::{
    types::ShortString,
    uri::{AMQPScheme, AMQPUri},
};
use orlop_contract::{
    queue::ATTEMPTS_MAX,
    worker::{
        CONCURRENCY_MAX, HANDLER_TIMEOUT_MAX, Handler, HttpHandler, PREFETCH_MAX, WorkerConfig,
    },
};
use thiserror::Error;

use crate::retry::{Ladder, Rung};

/// A broker that is gone without a word is noticed after two of these, in seconds.
const HEARTBEAT_SECS: u16 = 10;

/// Largest frame in bytes: half of what brokers propose. lapin reserves 64 of them per connection;
/// of the usual ones, two connections would take most of a worker's memory. Bodies are cut into
/// frames, headers must fit into one.
const FRAME_MAX: u32 = 64 * 1024;

/// What the worker does, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) broker: AMQPUri,
    pub(crate) queue: ShortString,
    pub(crate) dead_queue: ShortString,
    pub(crate) concurrency: usize,
    pub(crate) prefetch: u16,
    pub(crate) handler: HandlerSettings,
    pub(crate) ladder: Ladder,
    pub(crate) drain: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct HandlerSettings {
    pub(crate) url: Uri,
    pub(crate) timeout: Duration,
}

/// Why a configuration cannot be worked with. Ends the process: only another one helps.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to understand {}", path.display())]
    Parse {
        path: PathBuf,
        source: serde_json::Error,
    },
    /// A field, and what is allowed.
    #[error("invalid {field}: {allowed}")]
    Invalid {
        field: &'static str,
        allowed: String,
    },
}

impl Settings {
    /// Reads and checks the configuration file. `broker` is the broker's URL, which is never shown:
    /// it holds a password.
    pub(crate) fn read(path: PathBuf, broker: &str) -> Result<Self, ConfigError> {
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        match serde_json::from_slice(&text) {
            Ok(config) => Self::check(config, broker),
            Err(source) => Err(ConfigError::Parse { path, source }),
        }
    }

    fn check(config: WorkerConfig, broker: &str) -> Result<Self, ConfigError> {
        let WorkerConfig {
            queue,
            dead_queue,
            concurrency,
            prefetch,
            handler: Handler::Http(handler),
            retry,
            drain_millis,
        } = config;
        within("concurrency", concurrency, 1..=CONCURRENCY_MAX)?;
        within("prefetch", prefetch, concurrency..=PREFETCH_MAX)?;
        within("retry.attempts", retry.attempts, 1..=ATTEMPTS_MAX)?;
        if retry.attempts > 1 && retry.rungs.is_empty() {
            return invalid("retry.rungs", "must not be empty where attempts is over 1");
        }
        let rungs = retry.rungs.into_iter().map(|rung| {
            Ok(Rung {
                queue: queue_name("retry.rungs.queue", rung.queue)?,
                delay: rung.delay_millis.into(),
            })
        });
        let rungs = rungs.collect::<Result<Vec<_>, _>>()?;
        if !rungs.is_sorted_by_key(|rung| rung.delay) {
            return invalid("retry.rungs", "must stand in the order of their delays");
        }
        Ok(Self {
            broker: broker_uri(broker)?,
            queue: queue_name("queue", queue)?,
            dead_queue: queue_name("deadQueue", dead_queue)?,
            concurrency: concurrency.into(),
            prefetch,
            handler: handler_settings(&handler)?,
            ladder: Ladder {
                attempts: retry.attempts,
                rungs,
            },
            drain: drain_millis.into(),
        })
    }
}

fn broker_uri(text: &str) -> Result<AMQPUri, ConfigError> {
    const FIELD: &str = "AMQP_URL";
    let Ok(mut uri) = text.parse::<AMQPUri>() else {
        return invalid(FIELD, "must be amqp://user:password@host:port/vhost");
    };
    if uri.scheme != AMQPScheme::AMQP {
        return invalid(FIELD, "must start with amqp://, TLS is not supported");
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECS);
    uri.query.frame_max.get_or_insert(FRAME_MAX);
    Ok(uri)
}

fn handler_settings(handler: &HttpHandler) -> Result<HandlerSettings, ConfigError> {
    const URL: &str = "handler.http.url";
    const ALLOWED: &str = "must be http://host:port/path";
    let Ok(url) = handler.url.parse::<Uri>() else {
        return invalid(URL, ALLOWED);
    };
    if url.scheme_str() != Some("http") || url.host().is_none_or(str::is_empty) {
        return invalid(URL, ALLOWED);
    }
    let timeout = Duration::from(handler.timeout_millis);
    if timeout.is_zero() || timeout > HANDLER_TIMEOUT_MAX {
        let allowed = format!("must be 1 to {}", HANDLER_TIMEOUT_MAX.as_millis());
        return invalid("handler.http.timeoutMillis", allowed);
    }
    Ok(HandlerSettings { url, timeout })
}

fn queue_name(field: &'static str, name: String) -> Result<ShortString, ConfigError> {
    match ShortString::try_new(name) {
        Ok(name) if !name.as_str().is_empty() => Ok(name),
        _ => invalid(field, "must be 1 to 255 bytes long"),
    }
}

fn within<N: Copy + PartialOrd + Display>(
    field: &'static str,
    number: N,
    allowed: RangeInclusive<N>,
) -> Result<(), ConfigError> {
    if allowed.contains(&number) {
        return Ok(());
    }
    let allowed = format!("must be {} to {}", allowed.start(), allowed.end());
    invalid(field, allowed)
}

fn invalid<T>(field: &'static str, allowed: impl Into<String>) -> Result<T, ConfigError> {
    let allowed = allowed.into();
    Err(ConfigError::Invalid { field, allowed })
}

#[cfg(test)]
mod tests {
    use orlop_contract::worker::{self, Millis, Retry};

    use super::*;

    const BROKER: &str = "amqp://app:secret@broker:5672/orlop";

    fn config() -> WorkerConfig {
        WorkerConfig {
            queue: "harbour".to_owned(),
            dead_queue: "harbour.dead".to_owned(),
            concurrency: 8,
            prefetch: 16,
            handler: Handler::Http(HttpHandler {
                url: "http://lantern:3000/jobs".to_owned(),
                timeout_millis: Millis(30_000),
            }),
            retry: Retry {
                attempts: 3,
                rungs: vec![rung(1, 2_000), rung(2, 4_000)],
            },
            drain_millis: Millis(20_000),
        }
    }

    fn rung(place: usize, delay: u64) -> worker::Rung {
        worker::Rung {
            queue: orlop_contract::queue::retry("harbour", place),
            delay_millis: Millis(delay),
        }
    }

    fn refusal(config: WorkerConfig, broker: &str) -> String {
        Settings::check(config, broker).unwrap_err().to_string()
    }

    #[test]
    fn a_good_configuration_is_taken_and_gets_limits() {
        let settings = Settings::check(config(), BROKER).unwrap();
        assert_eq!(settings.broker.vhost, "orlop");
        assert_eq!(settings.broker.query.heartbeat, Some(HEARTBEAT_SECS));
        assert_eq!(settings.broker.query.frame_max, Some(FRAME_MAX));
        assert_eq!(settings.ladder.rungs.len(), 2);
    }

    #[test]
    fn a_refusal_names_the_field_and_what_is_allowed() {
        type Break = fn(&mut WorkerConfig);
        let cases: [(Break, &str); 9] = [
            (
                |c| c.concurrency = 0,
                "invalid concurrency: must be 1 to 1000",
            ),
            (|c| c.prefetch = 7, "invalid prefetch: must be 8 to 2000"),
            (
                |c| c.retry.attempts = 21,
                "invalid retry.attempts: must be 1 to 20",
            ),
            (
                |c| c.retry.rungs.clear(),
                "invalid retry.rungs: must not be empty where attempts is over 1",
            ),
            (
                |c| c.retry.rungs.reverse(),
                "invalid retry.rungs: must stand in the order of their delays",
            ),
            (
                |c| c.queue.clear(),
                "invalid queue: must be 1 to 255 bytes long",
            ),
            (
                |c| c.dead_queue = "x".repeat(256),
                "invalid deadQueue: must be 1 to 255 bytes long",
            ),
            (
                |c| {
                    let Handler::Http(http) = &mut c.handler;
                    http.url = "https://lantern/jobs".to_owned();
                },
                "invalid handler.http.url: must be http://host:port/path",
            ),
            (
                |c| {
                    let Handler::Http(http) = &mut c.handler;
                    http.timeout_millis = Millis(600_001);
                },
                "invalid handler.http.timeoutMillis: must be 1 to 600000",
            ),
        ];
        for (change, expected) in cases {
            let mut config = config();
            change(&mut config);
            assert_eq!(refusal(config, BROKER), expected);
        }
    }

    #[test]
    fn a_broker_that_cannot_be_reached_so_is_refused_without_its_password() {
        for broker in ["amqps://app:secret@broker/orlop", "secret", ""] {
            let told = refusal(config(), broker);
            assert!(told.starts_with("invalid AMQP_URL: must "), "{told}");
            assert!(!told.contains("secret"), "{told}");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_no_configuration_is_named() {
        let missing = Settings::read("/nowhere/worker.json".into(), BROKER).unwrap_err();
        assert_eq!(missing.to_string(), "failed to read /nowhere/worker.json");
        let other = Settings::read("/proc/self/status".into(), BROKER).unwrap_err();
        assert!(matches!(other, ConfigError::Parse { .. }), "{other}");
    }
}

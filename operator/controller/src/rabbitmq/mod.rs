//! RabbitMQ over HTTP: the management interface for what is declared, Prometheus' for what is counted.
//!
//! The counts of the management interface would be older: it collects them every few seconds, and
//! doing so is deprecated (its feature `management_metrics_collection`). Those of the other come
//! from the queues themselves, all queues in one answer.

mod definitions;
mod metrics;

use std::{collections::BTreeSet, time::Duration};

use http::{Method, StatusCode};
use orlop_contract::queue::PROMETHEUS_PORT;
use orlop_plan::{
    RabbitMqSource, ReadFailure,
    broker::{
        Action, Reading,
        reading::{Alarm, Permission, User},
    },
};
use serde::Deserialize;
use serde_json::{Value, json};

use self::definitions::Definitions;
use crate::connection::{Answer, Connection};

/// All calls of one reading or one action: more than a broker under load needs, less than the
/// pollers' deadline.
const DEADLINE: Duration = Duration::from_millis(2_500);

/// What is told of an error, before what is quoted of the broker.
const QUOTED_CHARS_MAX: usize = 300;

/// Reads everything that is looked at, in three calls whatever the number of queues.
///
/// # Errors
/// In words that stay the same while the cause does.
pub(crate) async fn read(source: &RabbitMqSource) -> Result<Reading, ReadFailure> {
    within(async {
        let (declared, counted) =
            futures::join!(declared(source), counted(source, PROMETHEUS_PORT));
        let (mut reading, counted) = (declared?, counted?);
        for (name, statistics) in counted {
            if let Some(queue) = reading.queues.get_mut(&name) {
                queue.statistics = statistics;
            }
        }
        Ok(reading)
    })
    .await
}

/// Does one thing. Doing it twice is doing it once.
///
/// # Errors
/// What the broker answers if it does not do it.
pub(crate) async fn perform(source: &RabbitMqSource, action: &Action) -> Result<(), ReadFailure> {
    within(async {
        let mut connection = management(source).await?;
        let (method, path, body) = request(&source.vhost, action);
        let answer = connection.ask(&method, &path, body.as_ref()).await?;
        let is_gone = method == Method::DELETE && answer.status == StatusCode::NOT_FOUND;
        if answer.status.is_success() || is_gone {
            return Ok(());
        }
        Err(failure(&answer))
    })
    .await
}

async fn within<T>(work: impl Future<Output = Result<T, ReadFailure>>) -> Result<T, ReadFailure> {
    tokio::time::timeout(DEADLINE, work)
        .await
        .unwrap_or_else(|_| {
            let cause = format!("no answer within {} ms", DEADLINE.as_millis());
            Err(ReadFailure::Unreachable(cause))
        })
}

async fn management(source: &RabbitMqSource) -> Result<Connection, ReadFailure> {
    let credentials = Some((source.user.as_str(), source.password.reveal()));
    Connection::open(&source.host, source.port, credentials).await
}

async fn declared(source: &RabbitMqSource) -> Result<Reading, ReadFailure> {
    let mut connection = management(source).await?;
    let answer = connection
        .ask(&Method::GET, "/api/definitions", None)
        .await?;
    let definitions: Definitions = parse(&answer)?;
    let mut reading = definitions.reading(&source.vhost);
    let answer = connection
        .ask(&Method::GET, "/api/health/checks/alarms", None)
        .await?;
    reading.alarms = alarms(&answer)?;
    Ok(reading)
}

async fn counted(source: &RabbitMqSource, port: u16) -> Result<metrics::Counts, ReadFailure> {
    let mut connection = Connection::open(&source.host, port, None).await?;
    let families = metrics::FAMILIES.map(|family| format!("&family={family}"));
    let path = format!(
        "/metrics/detailed?vhost={}{}",
        encoded(&source.vhost),
        families.concat()
    );
    let answer = connection.ask(&Method::GET, &path, None).await?;
    if !answer.status.is_success() {
        return Err(failure(&answer));
    }
    Ok(metrics::parse(&String::from_utf8_lossy(&answer.body)))
}

/// The check answers 503 while there is an alarm, and lists them.
fn alarms(answer: &Answer) -> Result<BTreeSet<Alarm>, ReadFailure> {
    #[derive(Deserialize)]
    struct Check {
        #[serde(default)]
        alarms: Vec<InForce>,
    }
    #[derive(Deserialize)]
    struct InForce {
        resource: String,
    }
    if answer.status.is_success() {
        return Ok(BTreeSet::new());
    }
    if answer.status != StatusCode::SERVICE_UNAVAILABLE {
        return Err(failure(answer));
    }
    let check: Check = serde_json::from_slice(&answer.body).map_err(|_| failure(answer))?;
    let known = check
        .alarms
        .iter()
        .filter_map(|alarm| match alarm.resource.as_str() {
            "disk space" => Some(Alarm::Disk),
            "memory" => Some(Alarm::Memory),
            _ => None,
        });
    Ok(known.collect())
}

fn request(vhost: &str, action: &Action) -> (Method, String, Option<Value>) {
    let vhost = encoded(vhost);
    let put = |path: String, body: Value| (Method::PUT, path, Some(body));
    match action {
        Action::PutVhost => put(format!("/api/vhosts/{vhost}"), json!({})),
        Action::PutUser { name, user } => {
            let User {
                tags,
                password_hash,
            } = user;
            put(
                format!("/api/users/{}", encoded(name)),
                json!({
                    "tags": tags,
                    "password_hash": password_hash,
                    "hashing_algorithm": "rabbit_password_hashing_sha256",
                }),
            )
        }
        Action::PutPermission { user, permission } => {
            let Permission {
                configure,
                write,
                read,
            } = permission;
            put(
                format!("/api/permissions/{vhost}/{}", encoded(user)),
                json!({"configure": configure, "write": write, "read": read}),
            )
        }
        Action::PutPolicy { name, policy } => put(
            format!("/api/policies/{vhost}/{}", encoded(name)),
            json!(policy),
        ),
        Action::DeletePolicy { name } => (
            Method::DELETE,
            format!("/api/policies/{vhost}/{}", encoded(name)),
            None,
        ),
        Action::DeclareQueue { name } => put(
            format!("/api/queues/{vhost}/{}", encoded(name)),
            json!({"durable": true, "arguments": {"x-queue-type": "quorum"}}),
        ),
    }
}

fn parse<T: for<'de> Deserialize<'de>>(answer: &Answer) -> Result<T, ReadFailure> {
    if !answer.status.is_success() {
        return Err(failure(answer));
    }
    serde_json::from_slice(&answer.body)
        .map_err(|error| ReadFailure::Failed(format!("an answer that cannot be read: {error}")))
}

fn failure(answer: &Answer) -> ReadFailure {
    if answer.status == StatusCode::UNAUTHORIZED {
        return ReadFailure::CredentialsRefused("user or password is wrong".to_owned());
    }
    let text = String::from_utf8_lossy(&answer.body);
    let reason = serde_json::from_str::<Value>(&text)
        .ok()
        .and_then(|value| Some(value.get("reason")?.as_str()?.to_owned()));
    let quoted: String = reason
        .unwrap_or_else(|| text.into_owned())
        .chars()
        .take(QUOTED_CHARS_MAX)
        .collect();
    ReadFailure::Failed(format!("{}: {quoted}", answer.status))
}

/// One segment of a path: all but unreserved characters (RFC 3986, section 2.3) by their code.
fn encoded(segment: &str) -> String {
    let characters = segment.bytes().map(|byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    });
    characters.collect()
}

#[cfg(test)]
mod tests;

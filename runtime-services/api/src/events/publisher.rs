//! The connection to the broker: publishes with confirms.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable, ShortString},
    uri::AMQPUri,
};
use thiserror::Error;
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

/// A broker under load answers the handshake late, one that is gone not at all.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the broker may take to confirm a batch. A transaction of the database is open
/// meanwhile, so it must not be long; one that is short of memory or disk never confirms.
const CONFIRM: Duration = Duration::from_secs(3);

/// After this long no more is sent before what was confirmed is deleted: a relay that dies
/// publishes again what it had sent in about this time.
const SLICE: Duration = Duration::from_millis(20);

/// AMQP 0-9-1, section 1.2.2.3: stored on disk before it is confirmed.
const PERSISTENT: u8 = 2;

/// Why nothing can be published.
#[derive(Debug, Error)]
pub enum BrokerError {
    #[error("the address of the broker is not valid: {0}")]
    Address(String),
    #[error("failed to connect to the broker")]
    Connect(#[source] lapin::Error),
    #[error("failed to connect to the broker in time")]
    Silent,
    #[error("failed to publish")]
    Publish(#[source] lapin::Error),
}

/// A row of the outbox.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) position: i64,
    pub(super) id: Uuid,
    pub(super) queue: String,
    pub(super) subject: String,
    pub(super) body: String,
    pub(super) trace: Option<String>,
}

/// What became of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Confirmed,
    /// There is no such queue.
    Unroutable,
    /// The queue takes no more.
    Full,
    /// It may be stored or not.
    Unknown,
    /// It was not sent: an earlier one of its subject was not confirmed, or not in time.
    Held,
}

#[derive(Debug)]
pub(super) struct Publisher {
    connection: Connection,
    channel: Channel,
}

impl Publisher {
    pub(super) async fn open(uri: &AMQPUri) -> Result<Self, BrokerError> {
        let open = async {
            let name = "orlop-api publishes";
            let properties = ConnectionProperties::default().with_connection_name(name.into());
            let connection = Connection::connect_uri(uri.clone(), properties).await?;
            let channel = connection.create_channel().await?;
            channel
                .confirm_select(ConfirmSelectOptions::default())
                .await?;
            Ok(Self {
                connection,
                channel,
            })
        };
        match timeout(CONNECT, open).await {
            Ok(opened) => opened.map_err(BrokerError::Connect),
            Err(_) => Err(BrokerError::Silent),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    /// Publishes what it can and waits for what the broker says of each. Messages of one subject
    /// go one after another, each after the confirm of the one before; those of different subjects
    /// go at once. A connection that gave an `Unknown` is of no more use.
    pub(super) async fn publish(&self, messages: &[Message]) -> Vec<Outcome> {
        let mut subjects: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, message) in messages.iter().enumerate() {
            subjects.entry(&message.subject).or_default().push(at);
        }
        let begun = Instant::now();
        let chains = subjects
            .into_values()
            .map(|chain| self.publish_chain(messages, chain, begun));
        let mut outcomes = vec![Outcome::Held; messages.len()];
        for (at, outcome) in join_all(chains).await.into_iter().flatten() {
            outcomes[at] = outcome;
        }
        outcomes
    }

    async fn publish_chain(
        &self,
        messages: &[Message],
        chain: Vec<usize>,
        begun: Instant,
    ) -> Vec<(usize, Outcome)> {
        let mut outcomes = Vec::with_capacity(chain.len());
        for at in chain {
            if !outcomes.is_empty() && begun.elapsed() > SLICE {
                break;
            }
            let outcome = match timeout_at(begun + CONFIRM, self.send(&messages[at])).await {
                Ok(Ok(confirmation)) => outcome(&confirmation),
                Ok(Err(_)) | Err(_) => Outcome::Unknown,
            };
            outcomes.push((at, outcome));
            if outcome != Outcome::Confirmed {
                break;
            }
        }
        outcomes
    }

    async fn send(&self, message: &Message) -> Result<Confirmation, lapin::Error> {
        let mut properties = BasicProperties::default()
            .with_message_id(message.id.to_string().into())
            .with_delivery_mode(PERSISTENT)
            .with_content_type("application/json".into());
        if let Some(trace) = &message.trace {
            let mut headers = FieldTable::default();
            headers.insert(
                "traceparent".into(),
                AMQPValue::LongString(trace.as_str().into()),
            );
            properties = properties.with_headers(headers);
        }
        let options = BasicPublishOptions {
            // Otherwise a message for a queue that does not exist is confirmed and gone.
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let queue = ShortString::from(message.queue.as_str());
        let body = message.body.as_bytes();
        self.channel
            .basic_publish("".into(), queue, options, body, properties)
            .await?
            .await
    }
}

fn outcome(confirmation: &Confirmation) -> Outcome {
    match confirmation {
        Confirmation::Ack(None) => Outcome::Confirmed,
        Confirmation::Ack(Some(_)) => Outcome::Unroutable,
        Confirmation::Nack(_) => Outcome::Full,
        Confirmation::NotRequested => Outcome::Unknown,
    }
}

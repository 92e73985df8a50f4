//! The connection to the broker: publishes with confirms.

use std::time::Duration;

use futures::future::join_all;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, PublisherConfirm,
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

    /// Publishes all, then waits for what the broker says of each. A connection that gave an
    /// `Unknown` is of no more use.
    pub(super) async fn publish(&self, messages: &[Message]) -> Vec<Outcome> {
        let until = Instant::now() + CONFIRM;
        let mut confirms = Vec::with_capacity(messages.len());
        for message in messages {
            let sent = timeout_at(until, self.send(message)).await;
            confirms.push(sent.ok().and_then(Result::ok));
        }
        join_all(confirms.into_iter().map(|confirm| settled(confirm, until))).await
    }

    async fn send(&self, message: &Message) -> Result<PublisherConfirm, lapin::Error> {
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
            .await
    }
}

async fn settled(confirm: Option<PublisherConfirm>, until: Instant) -> Outcome {
    let Some(confirm) = confirm else {
        return Outcome::Unknown;
    };
    match timeout_at(until, confirm).await {
        Ok(Ok(Confirmation::Ack(None))) => Outcome::Confirmed,
        Ok(Ok(Confirmation::Ack(Some(_)))) => Outcome::Unroutable,
        Ok(Ok(Confirmation::Nack(_))) => Outcome::Full,
        Ok(Ok(Confirmation::NotRequested) | Err(_)) | Err(_) => Outcome::Unknown,
    }
}

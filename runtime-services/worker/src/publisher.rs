//! Copies of failed jobs on their way back to the broker.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt as _};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, Event,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
    uri::AMQPUri,
};
use orlop_contract::worker::{BrokerError, BrokerErrorKind};
use thiserror::Error;
use tokio::time::timeout;

use crate::broker::{self, SessionError};

/// A quorum queue confirms in milliseconds. One that has lost its majority, or a broker that is out
/// of disk or memory, does not confirm at all until that is over.
const CONFIRM_LIMIT: Duration = Duration::from_secs(30);

/// Publishes with confirms, over a connection of its own: a broker short of memory or disk stops
/// reading from connections that publish, and acknowledgements must still get through, because they
/// are what frees it.
pub(crate) struct Publisher {
    connection: Connection,
    channel: Channel,
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
}

/// The part of a [`Publisher`] that every job has.
#[derive(Clone, Debug)]
pub(crate) struct Outlet(Channel);

/// Why the broker does not have the copy, or may not have it.
#[derive(Debug, Error)]
pub(crate) enum PublishError {
    #[error(transparent)]
    Lost(SessionError),
    #[error("queue '{queue}' does not exist")]
    Unroutable { queue: String },
    #[error("queue '{queue}' takes no more messages")]
    Full { queue: String },
    #[error("the broker did not confirm a message for queue '{queue}' within {CONFIRM_LIMIT:?}")]
    Unconfirmed { queue: String },
}

impl PublishError {
    pub(crate) fn told(&self) -> BrokerError {
        BrokerError {
            kind: match self {
                Self::Lost(error) => error.kind(),
                Self::Unroutable { .. } => BrokerErrorKind::QueueMissing,
                Self::Full { .. } | Self::Unconfirmed { .. } => BrokerErrorKind::PublishRefused,
            },
            message: self.to_string(),
        }
    }
}

impl Publisher {
    pub(crate) async fn open(uri: &AMQPUri) -> Result<Self, SessionError> {
        let connection = broker::connect(uri, "orlop-worker publishes").await?;
        let events = Box::pin(connection.events_listener());
        let channel = connection
            .create_channel()
            .await
            .map_err(SessionError::Lost)?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .map_err(SessionError::Lost)?;
        Ok(Self {
            connection,
            channel,
            events,
        })
    }

    pub(crate) fn outlet(&self) -> Outlet {
        Outlet(self.channel.clone())
    }

    /// The next thing that the broker says of this connection by itself.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        self.events.next().await
    }

    pub(crate) async fn close(&self) -> Result<(), lapin::Error> {
        broker::close(&self.connection).await
    }
}

impl Outlet {
    /// Returns once the broker has written the message to its queue.
    pub(crate) async fn publish(
        &self,
        queue: &ShortString,
        body: &[u8],
        properties: BasicProperties,
    ) -> Result<(), PublishError> {
        let lost = |error| PublishError::Lost(SessionError::Lost(error));
        let named = || queue.as_str().to_owned();
        // Without `mandatory`, what no queue takes is confirmed and gone.
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let confirmed = async {
            self.0
                .basic_publish("".into(), queue.clone(), options, body, properties)
                .await?
                .await
        };
        match timeout(CONFIRM_LIMIT, confirmed).await {
            Err(_) => Err(PublishError::Unconfirmed { queue: named() }),
            Ok(Err(error)) => Err(lost(error)),
            Ok(Ok(Confirmation::Ack(None))) => Ok(()),
            Ok(Ok(Confirmation::Ack(Some(_)))) => Err(PublishError::Unroutable { queue: named() }),
            Ok(Ok(Confirmation::Nack(_) | Confirmation::NotRequested)) => {
                Err(PublishError::Full { queue: named() })
            }
        }
    }
}

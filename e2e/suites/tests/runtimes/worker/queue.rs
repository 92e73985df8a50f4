//! One queue with its dead letters, as an application sees them.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
    uri::AMQPUri,
};
use orlop_contract::queue;
use orlop_suites::eventually;

/// A retry and a few settled messages.
const WITHIN: Duration = Duration::from_secs(30);

const PERSISTENT: u8 = 2;

pub(super) struct Queue {
    pub(super) name: String,
    channel: Channel,
    _connection: Connection,
}

/// Message id of the n-th job.
pub(super) fn id(number: usize) -> String {
    format!("{number:05}")
}

impl Queue {
    pub(super) async fn open(broker: &AMQPUri, name: &str) -> Result<Self> {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect_uri(broker.clone(), properties).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Self {
            name: name.to_owned(),
            channel,
            _connection: connection,
        })
    }

    /// Publishes so many jobs, and returns when the broker has written them.
    pub(super) async fn publish(&self, jobs: usize) -> Result<()> {
        let published = (0..jobs).map(|number| async move {
            let properties = BasicProperties::default()
                .with_message_id(id(number).into())
                .with_content_type("application/json".into())
                .with_delivery_mode(PERSISTENT);
            let options = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let queue = ShortString::from(self.name.as_str());
            let confirm = self
                .channel
                .basic_publish("".into(), queue, options, b"{}", properties);
            let confirmation = confirm.await?.await?;
            ensure!(confirmation == Confirmation::Ack(None), "{confirmation:?}");
            Ok(())
        });
        try_join_all(published).await?;
        Ok(())
    }

    /// Waits until so many messages are in the queue that no consumer has.
    pub(super) async fn holds(&self, messages: usize) -> Result<()> {
        self.comes_to(&self.name, messages).await
    }

    /// Waits until so many are dead letters.
    pub(super) async fn buried(&self, messages: usize) -> Result<()> {
        self.comes_to(&queue::dead(&self.name), messages).await
    }

    async fn comes_to(&self, name: &str, messages: usize) -> Result<()> {
        let only_look = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        eventually(WITHIN, format!("{name} holds {messages}"), async || {
            let looked = self
                .channel
                .queue_declare(name.into(), only_look, FieldTable::default());
            let held = looked.await?.message_count();
            ensure!(usize::try_from(held)? == messages, "it holds {held}");
            Ok(())
        })
        .await
    }

    /// Headers of a dead letter, which is gone then.
    pub(super) async fn exhume(&self) -> Result<BTreeMap<ShortString, AMQPValue>> {
        let dead = queue::dead(&self.name).into();
        let letter = self.channel.basic_get(dead, BasicGetOptions::default());
        let letter = letter.await?.context("there is no dead letter")?;
        letter.ack(BasicAckOptions::default()).await?;
        let headers = letter.delivery.properties.headers().as_ref();
        Ok(headers.context("it has no headers")?.inner().clone())
    }
}

//! Queues of one test, as the operator declares them, and what is in them.

use std::{collections::BTreeMap, env, time::Duration};

use futures::future::try_join_all;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
    uri::AMQPUri,
};
use orlop_contract::queue;

pub(crate) struct Queues {
    pub(crate) name: String,
    pub(crate) delays: Vec<Duration>,
    channel: Channel,
    _connection: Connection,
}

pub(crate) fn broker() -> AMQPUri {
    let url = env::var("ORLOP_TEST_AMQP_URL").expect("ORLOP_TEST_AMQP_URL names a RabbitMQ");
    url.parse().unwrap()
}

/// Message id of the n-th job.
pub(crate) fn id(number: usize) -> String {
    format!("{number:05}")
}

impl Queues {
    /// Names queues and deletes what a run before has left of them.
    pub(crate) async fn named(test: &str) -> Self {
        let connection = Connection::connect_uri(broker(), ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();
        let name = format!("harbour-{test}");
        let rungs = (1..=3).map(|rung| queue::retry(&name, rung));
        for old in [name.clone(), queue::dead(&name)].into_iter().chain(rungs) {
            channel
                .queue_delete(old.into(), QueueDeleteOptions::default())
                .await
                .unwrap();
        }
        Self {
            name,
            delays: Vec::new(),
            channel,
            _connection: connection,
        }
    }

    pub(crate) async fn declare(test: &str, delays: &[Duration]) -> Self {
        let mut queues = Self::named(test).await;
        queues.create(delays).await;
        queues.delays = delays.to_vec();
        queues
    }

    pub(crate) async fn create(&self, delays: &[Duration]) {
        self.create_one(&self.name, &[]).await;
        self.create_one(&queue::dead(&self.name), &[]).await;
        let text = |text: &str| AMQPValue::LongString(text.into());
        for (delay, rung) in delays.iter().zip(1..) {
            let millis = i64::try_from(delay.as_millis()).unwrap();
            let arguments = [
                ("x-message-ttl", AMQPValue::LongLongInt(millis)),
                ("x-dead-letter-exchange", text("")),
                ("x-dead-letter-routing-key", text(&self.name)),
                ("x-dead-letter-strategy", text("at-least-once")),
                ("x-overflow", text("reject-publish")),
            ];
            self.create_one(&queue::retry(&self.name, rung), &arguments)
                .await;
        }
    }

    async fn create_one(&self, name: &str, arguments: &[(&str, AMQPValue)]) {
        let mut table = FieldTable::default();
        table.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        for (key, value) in arguments {
            table.insert((*key).into(), value.clone());
        }
        self.channel
            .queue_declare(name.into(), QueueDeclareOptions::durable(), table)
            .await
            .unwrap();
    }

    pub(crate) async fn delete_rung(&self, rung: usize) {
        self.channel
            .queue_delete(
                queue::retry(&self.name, rung).into(),
                QueueDeleteOptions::default(),
            )
            .await
            .unwrap();
    }

    pub(crate) async fn publish(&self, jobs: usize) {
        let published = (0..jobs).map(|number| async move {
            let properties = BasicProperties::default()
                .with_message_id(id(number).into())
                .with_content_type("application/json".into())
                .with_delivery_mode(2);
            let confirm = self.channel.basic_publish(
                "".into(),
                self.name.as_str().into(),
                BasicPublishOptions::default(),
                b"{}",
                properties,
            );
            confirm.await?.await
        });
        try_join_all(published).await.unwrap();
    }

    /// Messages that no consumer has.
    pub(crate) async fn waiting(&self) -> usize {
        self.ready(&self.name).await
    }

    pub(crate) async fn dead(&self) -> usize {
        self.ready(&queue::dead(&self.name)).await
    }

    async fn ready(&self, name: &str) -> usize {
        let only_look = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let declared = self
            .channel
            .queue_declare(name.into(), only_look, FieldTable::default())
            .await
            .unwrap();
        declared.message_count().try_into().unwrap()
    }

    /// Headers of the next dead letter, which is gone then.
    pub(crate) async fn take_dead(&self) -> BTreeMap<ShortString, AMQPValue> {
        let letter = self
            .channel
            .basic_get(queue::dead(&self.name).into(), BasicGetOptions::default())
            .await
            .unwrap()
            .expect("there is a dead letter");
        letter.ack(BasicAckOptions::default()).await.unwrap();
        let headers = letter.delivery.properties.headers().clone();
        headers.unwrap().inner().clone()
    }
}

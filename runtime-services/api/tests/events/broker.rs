//! A queue of the test's own on the broker that the environment names, and a gate before it.

use std::{
    env,
    sync::{Arc, Mutex},
};

use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{BasicGetOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
    uri::AMQPUri,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

fn url() -> AMQPUri {
    let url = env::var("ORLOP_TEST_AMQP_URL").expect("ORLOP_TEST_AMQP_URL names a RabbitMQ");
    url.parse().unwrap()
}

/// Removed at the test's start, not at its end, so that a failure can be looked at.
pub(crate) struct Queue {
    pub(crate) name: String,
    channel: Channel,
    _connection: Connection,
}

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) message_id: String,
    pub(crate) content_type: String,
    pub(crate) persistent: bool,
    pub(crate) traceparent: Option<String>,
    pub(crate) body: serde_json::Value,
}

impl Queue {
    pub(crate) async fn named(name: &str) -> Self {
        let connection = Connection::connect_uri(url(), ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel
            .queue_delete(name.into(), QueueDeleteOptions::default())
            .await
            .unwrap();
        Self {
            name: name.to_owned(),
            channel,
            _connection: connection,
        }
    }

    pub(crate) async fn declare(name: &str) -> Self {
        let queue = Self::named(name).await;
        queue.create().await;
        queue
    }

    /// As the operator does.
    pub(crate) async fn create(&self) {
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        self.channel
            .queue_declare(
                self.name.as_str().into(),
                QueueDeclareOptions::durable(),
                arguments,
            )
            .await
            .unwrap();
    }

    /// Everything in it, in its order.
    pub(crate) async fn take(&self) -> Vec<Job> {
        let mut jobs = Vec::new();
        let options = BasicGetOptions { no_ack: true };
        while let Some(message) = self
            .channel
            .basic_get(self.name.as_str().into(), options)
            .await
            .unwrap()
        {
            let properties = &message.properties;
            let headers = properties.headers().clone().unwrap_or_default();
            let traceparent = match headers.inner().get("traceparent") {
                Some(AMQPValue::LongString(trace)) => Some(trace.to_string()),
                _ => None,
            };
            let text = |said: &Option<lapin::types::ShortString>| {
                said.as_ref().map(ToString::to_string).unwrap_or_default()
            };
            jobs.push(Job {
                message_id: text(properties.message_id()),
                content_type: text(properties.content_type()),
                persistent: *properties.delivery_mode() == Some(2),
                traceparent,
                body: serde_json::from_slice(&message.data).unwrap(),
            });
        }
        jobs
    }
}

/// A way to the broker that can be closed: connections break, new ones are refused.
#[derive(Clone)]
pub(crate) struct Gate {
    port: u16,
    /// While there is one, the gate is open.
    passage: Arc<Mutex<Option<CancellationToken>>>,
}

impl Gate {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gate = Self {
            port: listener.local_addr().unwrap().port(),
            passage: Arc::new(Mutex::new(Some(CancellationToken::new()))),
        };
        let passage = Arc::clone(&gate.passage);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let open = passage.lock().unwrap().clone();
                if let Some(open) = open {
                    tokio::spawn(open.run_until_cancelled_owned(pass(stream)));
                }
            }
        });
        gate
    }

    pub(crate) fn set(&self, open: bool) {
        let next = open.then(CancellationToken::new);
        let before = std::mem::replace(&mut *self.passage.lock().unwrap(), next);
        if let Some(before) = before {
            before.cancel();
        }
    }

    /// Address of the broker through the gate.
    pub(crate) fn url(&self) -> String {
        let AMQPUri {
            authority, vhost, ..
        } = url();
        let lapin::uri::AMQPUserInfo { username, password } = authority.userinfo;
        let vhost = vhost.replace('/', "%2f");
        format!(
            "amqp://{username}:{password}@127.0.0.1:{}/{vhost}",
            self.port
        )
    }
}

async fn pass(mut stream: TcpStream) {
    let authority = url().authority;
    if let Ok(mut broker) = TcpStream::connect((authority.host, authority.port)).await {
        // Ends with the connection, however that ends.
        drop(copy_bidirectional(&mut stream, &mut broker).await);
    }
}

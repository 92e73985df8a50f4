//! A broker: its queues stand, whatever is deleted comes back, messages and credentials outlive it.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{Method, Request};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use orlop_suites::{eventually, figure, fixture, in_namespace, send, verdict_of, with};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::tier::Tier;

/// The broker is asked every second; the rest is for a busy machine.
const SET_BACK_WITHIN: Duration = Duration::from_mins(1);
/// A broker that is silent for ten seconds may be busy.
const TOLD_WITHIN: Duration = Duration::from_mins(1);

const BROKER: &str = "hold";
/// Three Secrets, a ConfigMap, two Services, a StatefulSet.
const OBJECTS: usize = 7;

#[tokio::test]
async fn a_broker_and_whatever_is_deleted_of_it_comes_back_with_its_messages() -> Result<()> {
    in_namespace("broker", async |namespace| {
        let tier = Tier::start(namespace, fixture(BROKER)?).await?;
        let broker = tier.object().await?;
        let queues = broker.data.pointer("/status/queues");
        ensure!(queues == Some(&json!(["letters"])), "declared: {queues:?}");
        let expected = [
            "letters",
            "letters.dead",
            "letters.retry.1",
            "letters.retry.2",
        ];
        let management = Management::of(&tier).await?;
        ensure!(management.queues().await? == expected.map(str::to_owned).into());

        management.publish("letters", 10).await?;
        dead_letters_are_kept_apart(&management).await?;
        what_is_deleted_on_the_broker_comes_back(&management).await?;

        let password = tier.secret("binding", "password").await?;
        tier.each_of_its_objects_comes_back(OBJECTS).await?;
        let management = Management::of(&tier).await?;
        management.holds("letters", 9).await?;
        management.holds("letters.dead", 1).await?;
        let after = tier.secret("binding", "password").await?;
        ensure!(after == password, "users have another password");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn messages_and_credentials_outlive_a_broker_that_is_made_again() -> Result<()> {
    in_namespace("keeps", async |namespace| {
        let tier = Tier::start(namespace, fixture(BROKER)?).await?;
        Management::of(&tier).await?.publish("letters", 50).await?;
        let password = tier.secret("auth", "admin-password").await?;

        tier.delete().await?;
        let left = tier.claims().await?;
        ensure!(left == 1, "{left} volumes are left");

        tier.make().await?;
        let after = tier.secret("auth", "admin-password").await?;
        ensure!(after == password, "the credentials are others");
        Management::of(&tier).await?.holds("letters", 50).await
    })
    .await
}

#[tokio::test]
async fn a_broker_that_is_to_be_deleted_with_its_data_leaves_nothing() -> Result<()> {
    in_namespace("deletion", async |namespace| {
        let manifest = with(fixture(BROKER)?, "/spec/deletion", json!("Delete"))?;
        let tier = Tier::start(namespace, manifest).await?;
        tier.delete().await?;
        tier.leaves_nothing().await
    })
    .await
}

#[tokio::test]
async fn a_password_that_somebody_changed_is_told_and_a_restart_sets_it_back() -> Result<()> {
    in_namespace("password", async |namespace| {
        let tier = Tier::start(namespace, fixture(BROKER)?).await?;
        let management = Management::of(&tier).await?;
        let changed = json!({"password": "barnacle", "tags": ["administrator"]});
        let user = "/api/users/orlop-admin";
        management.call(Method::PUT, user, Some(changed)).await?;

        let began = Instant::now();
        eventually(TOLD_WITHIN, "the cause is told", async || {
            let verdict = verdict_of(&tier.object().await?)?;
            ensure!(verdict.reason == "CredentialsRefused", "{verdict:?}");
            let told = &verdict.message;
            ensure!(told.contains("Secret 'hold-auth'"), "{told}");
            Ok(())
        })
        .await?;
        let took = format!("{:.1}", began.elapsed().as_secs_f64());
        figure("broker.told.CredentialsRefused", took, "s");

        let pods = namespace.api::<Pod>();
        pods.delete("hold-0", &DeleteParams::default()).await?;
        tier.ready().await?;
        management.holds("letters", 0).await
    })
    .await
}

/// One message is refused by a consumer.
async fn dead_letters_are_kept_apart(management: &Management) -> Result<()> {
    let refuse = json!({"count": 1, "ackmode": "reject_requeue_false", "encoding": "auto"});
    let path = "/api/queues/orlop/letters/get";
    management.call(Method::POST, path, Some(refuse)).await?;
    management.holds("letters.dead", 1).await?;
    management.holds("letters", 9).await
}

async fn what_is_deleted_on_the_broker_comes_back(management: &Management) -> Result<()> {
    let before = management.definitions().await?;
    for path in [
        "/api/queues/orlop/letters.retry.1",
        "/api/policies/orlop/orlop.letters",
        "/api/users/app",
    ] {
        management.call(Method::DELETE, path, None).await?;
        eventually(SET_BACK_WITHIN, format!("{path} comes back"), async || {
            let now = management.definitions().await?;
            ensure!(now == before, "now: {now}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// The broker's management interface, as the operator sees it.
struct Management {
    address: SocketAddr,
    authorization: String,
}

impl Management {
    async fn of(tier: &Tier<'_>) -> Result<Self> {
        let password = tier.secret("auth", "admin-password").await?;
        let credentials = BASE64_STANDARD.encode(format!("orlop-admin:{password}"));
        Ok(Self {
            address: SocketAddr::new(tier.address().await?, 15672),
            authorization: format!("Basic {credentials}"),
        })
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", &self.authorization)
            .header("content-type", "application/json")
            .body(body.map(|body| body.to_string()).unwrap_or_default())?;
        let answer = send(self.address, request).await?;
        ensure!(
            answer.status.is_success(),
            "{path}: {} {}",
            answer.status,
            answer.body
        );
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// Persistent messages, through the default exchange.
    async fn publish(&self, queue: &str, messages: u32) -> Result<()> {
        for number in 0..messages {
            let message = json!({
                "properties": {"delivery_mode": 2},
                "routing_key": queue,
                "payload": format!("message {number}"),
                "payload_encoding": "string",
            });
            let path = "/api/exchanges/orlop/amq.default/publish";
            let answer = self.call(Method::POST, path, Some(message)).await?;
            ensure!(answer == json!({"routed": true}), "{answer}");
        }
        Ok(())
    }

    async fn queues(&self) -> Result<BTreeSet<String>> {
        let definitions = self.definitions().await?;
        let queues = definitions["queues"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let names = queues.iter().filter_map(|queue| queue["name"].as_str());
        Ok(names.map(str::to_owned).collect())
    }

    /// All that is declared: queues, policies, users and their rights, in a fixed order.
    async fn definitions(&self) -> Result<Value> {
        let mut definitions = self.call(Method::GET, "/api/definitions", None).await?;
        let mut kept = json!({});
        for part in ["queues", "policies", "users", "permissions", "vhosts"] {
            let mut items = definitions[part].take();
            if let Some(items) = items.as_array_mut() {
                items.sort_by_key(Value::to_string);
            }
            kept[part] = items;
        }
        Ok(kept)
    }

    /// Waits until a queue holds so many messages that nobody is working on.
    async fn holds(&self, queue: &str, messages: u64) -> Result<()> {
        let path = format!("/api/queues/orlop/{queue}?disable_stats=true&enable_queue_totals=true");
        eventually(
            SET_BACK_WITHIN,
            format!("{queue} holds {messages}"),
            async || {
                let told = self.call(Method::GET, &path, None).await?;
                let ready = told["messages_ready"].as_u64();
                ensure!(ready == Some(messages), "it holds {ready:?}");
                Ok(())
            },
        )
        .await
    }
}

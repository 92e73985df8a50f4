//! A broker: its queues stand, whatever is deleted comes back, messages and credentials outlive it.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{Method, Request};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret, Service};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use orlop_suites::{
    Identity, TestNamespace, eventually, figure, fixture, in_namespace, made, ready_object, send,
    verdict_of, with,
};
use serde_json::{Value, json};

/// A volume, an image of some size, and Erlang's start.
const READY_WITHIN: Duration = Duration::from_mins(3);
/// Secrets are looked at every 15 seconds.
const BACK_WITHIN: Duration = Duration::from_mins(1);
/// The broker is asked every second.
const SET_BACK_WITHIN: Duration = Duration::from_secs(15);
/// A broker that is silent for ten seconds may be busy.
const TOLD_WITHIN: Duration = Duration::from_secs(30);
/// A node has a minute to stop.
const GONE_WITHIN: Duration = Duration::from_secs(90);

const BROKER: &str = "hold";

#[tokio::test]
async fn a_broker_and_whatever_is_deleted_of_it_comes_back_with_its_messages() -> Result<()> {
    in_namespace("broker", async |namespace| {
        let manifest = fixture(BROKER)?;
        namespace.apply(&manifest).await?;
        let broker = ready_object(namespace, &manifest, READY_WITHIN).await?;
        let queues = broker.data.pointer("/status/queues");
        ensure!(queues == Some(&json!(["letters"])), "declared: {queues:?}");
        let expected = [
            "letters",
            "letters.dead",
            "letters.retry.1",
            "letters.retry.2",
        ];
        let management = Management::of(namespace).await?;
        ensure!(management.queues().await? == expected.map(str::to_owned).into());

        management.publish("letters", 10).await?;
        dead_letters_are_kept_apart(&management).await?;
        what_is_deleted_on_the_broker_comes_back(&management).await?;

        let password = secret(namespace, "hold-binding", "password").await?;
        // The StatefulSet's own history carries its pods' labels.
        let objects = made(namespace).await?.into_keys();
        let objects: Vec<Identity> = objects
            .filter(|identity| identity.kind() != "ControllerRevision")
            .collect();
        ensure!(objects.len() == 7, "made: {objects:?}");
        for identity in &objects {
            comes_back(namespace, identity).await?;
        }
        ready_object(namespace, &manifest, READY_WITHIN).await?;
        let management = Management::of(namespace).await?;
        management.holds("letters", 9).await?;
        management.holds("letters.dead", 1).await?;
        let after = secret(namespace, "hold-binding", "password").await?;
        ensure!(after == password, "users have another password");
        figure("broker.deleted-and-restored", objects.len(), "objects");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn messages_and_credentials_outlive_a_broker_that_is_made_again() -> Result<()> {
    in_namespace("keeps", async |namespace| {
        let manifest = fixture(BROKER)?;
        namespace.apply(&manifest).await?;
        ready_object(namespace, &manifest, READY_WITHIN).await?;
        Management::of(namespace)
            .await?
            .publish("letters", 50)
            .await?;
        let password = secret(namespace, "hold-auth", "admin-password").await?;

        delete(namespace, &manifest).await?;
        let left = claims(namespace).await?;
        ensure!(left == 1, "{left} volumes are left");

        namespace.apply(&manifest).await?;
        ready_object(namespace, &manifest, READY_WITHIN).await?;
        let after = secret(namespace, "hold-auth", "admin-password").await?;
        ensure!(after == password, "the credentials are others");
        Management::of(namespace).await?.holds("letters", 50).await
    })
    .await
}

#[tokio::test]
async fn a_broker_that_is_to_be_deleted_with_its_data_leaves_nothing() -> Result<()> {
    in_namespace("deletion", async |namespace| {
        let manifest = with(fixture(BROKER)?, "/spec/deletion", json!("Delete"))?;
        namespace.apply(&manifest).await?;
        ready_object(namespace, &manifest, READY_WITHIN).await?;
        delete(namespace, &manifest).await?;
        eventually(GONE_WITHIN, "nothing is left", async || {
            let (objects, claims) = (made(namespace).await?, claims(namespace).await?);
            ensure!(objects.is_empty(), "{:?} are left", objects.keys());
            ensure!(claims == 0, "{claims} volumes are left");
            Ok(())
        })
        .await
    })
    .await
}

#[tokio::test]
async fn a_password_that_somebody_changed_is_told_and_a_restart_sets_it_back() -> Result<()> {
    in_namespace("password", async |namespace| {
        let manifest = fixture(BROKER)?;
        namespace.apply(&manifest).await?;
        ready_object(namespace, &manifest, READY_WITHIN).await?;
        let management = Management::of(namespace).await?;
        let changed = json!({"password": "barnacle", "tags": ["administrator"]});
        let user = "/api/users/orlop-admin";
        management.call(Method::PUT, user, Some(changed)).await?;

        let (api, _) = namespace.api_of(&manifest).await?;
        eventually(TOLD_WITHIN, "the cause is told", async || {
            let verdict = verdict_of(&api.get(BROKER).await?)?;
            ensure!(verdict.reason == "CredentialsRefused", "{verdict:?}");
            let told = &verdict.message;
            ensure!(told.contains("Secret 'hold-auth'"), "{told}");
            Ok(())
        })
        .await?;

        let pods = namespace.api::<Pod>();
        pods.delete("hold-0", &DeleteParams::default()).await?;
        ready_object(namespace, &manifest, READY_WITHIN).await?;
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

async fn comes_back(namespace: &TestNamespace, identity: &Identity) -> Result<()> {
    let api = identity.api(namespace);
    let old = api.get(&identity.name).await?.uid();
    api.delete(&identity.name, &DeleteParams::default()).await?;
    eventually(BACK_WITHIN, format!("{identity} comes back"), async || {
        let object = api.get(&identity.name).await?;
        ensure!(object.uid() != old, "it is still the old one");
        Ok(())
    })
    .await
}

/// Deletes the broker and waits until nothing runs any more.
async fn delete(namespace: &TestNamespace, manifest: &Value) -> Result<()> {
    let (api, object) = namespace.api_of(manifest).await?;
    api.delete(&object.name_any(), &DeleteParams::default())
        .await?;
    eventually(GONE_WITHIN, "no pod is left", async || {
        let pods = namespace.api::<Pod>().list(&ListParams::default()).await?;
        ensure!(pods.items.is_empty(), "{} pods are left", pods.items.len());
        ensure!(api.get_opt(BROKER).await?.is_none(), "the broker is left");
        Ok(())
    })
    .await
}

async fn claims(namespace: &TestNamespace) -> Result<usize> {
    let claims = namespace.api::<PersistentVolumeClaim>();
    Ok(claims.list(&ListParams::default()).await?.items.len())
}

async fn secret(namespace: &TestNamespace, name: &str, key: &str) -> Result<String> {
    let secret = namespace.api::<Secret>().get(name).await?;
    let data = secret.data.with_context(|| format!("{name} is empty"))?;
    let value = data.get(key).with_context(|| format!("{name}: no {key}"))?;
    Ok(String::from_utf8(value.0.clone())?)
}

/// The broker's management interface, as the operator sees it.
struct Management {
    address: SocketAddr,
    authorization: String,
}

impl Management {
    async fn of(namespace: &TestNamespace) -> Result<Self> {
        let service = namespace.api::<Service>().get(BROKER).await?;
        let spec = service.spec.context("a Service has a spec")?;
        let ip = spec.cluster_ip.context("the broker has no address")?;
        let password = secret(namespace, "hold-auth", "admin-password").await?;
        let credentials = BASE64_STANDARD.encode(format!("orlop-admin:{password}"));
        Ok(Self {
            address: SocketAddr::new(ip.parse()?, 15672),
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

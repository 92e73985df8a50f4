//! An API on a database that exists elsewhere: served by what a Secret says, and by what is wrong
//! with it told.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use http::Request;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::api::{Patch, PatchParams, PostParams};
use orlop_crds::AppPlatform;
use orlop_suites::{
    TestNamespace, edge_address, eventually, figure, fixture, get, in_namespace, ready, send,
    verdict,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::tier::Tier;

/// What the fixture calls the Secret.
const SECRET: &str = "purser";
/// Secrets are looked at every 15 seconds; an image has to be pulled before a container can fail.
const TOLD_WITHIN: Duration = Duration::from_mins(2);
/// Promised, from the moment at which the Secret is right.
const READY_WITHIN: Duration = Duration::from_mins(3);
/// A node may learn of an address later than the status.
const ANSWERS_WITHIN: Duration = Duration::from_mins(1);

#[tokio::test]
async fn an_api_serves_from_a_database_that_exists_elsewhere() -> Result<()> {
    in_namespace("external", async |namespace| {
        let elsewhere = Tier::start(namespace, fixture("ledger")?).await?;
        let right = binding(&elsewhere).await?;
        namespace.apply(&fixture("annex")?).await?;
        told(
            namespace,
            "ConfigMissing",
            &["Secret/purser", "does not exist"],
        )
        .await?;

        let mut without_uri = right.clone();
        without_uri.remove("uri");
        store(namespace, &without_uri).await?;
        told(
            namespace,
            "ConfigMissing",
            &["Secret/purser", "has no 'uri'"],
        )
        .await?;

        store(namespace, &right).await?;
        serves(namespace).await
    })
    .await
}

#[tokio::test]
async fn a_password_that_a_database_elsewhere_refuses_is_told_and_can_be_corrected() -> Result<()> {
    in_namespace("refused", async |namespace| {
        let elsewhere = Tier::start(namespace, fixture("ledger")?).await?;
        let right = binding(&elsewhere).await?;
        let password = elsewhere.secret("binding", "password").await?;
        let uri = elsewhere.secret("binding", "uri").await?;
        let mut wrong = right.clone();
        let entry = |text: &str| ByteString(text.as_bytes().to_vec());
        wrong.insert("password".to_owned(), entry("barnacle"));
        wrong.insert("uri".to_owned(), entry(&uri.replace(&password, "barnacle")));
        store(namespace, &wrong).await?;
        namespace.apply(&fixture("annex")?).await?;
        told(namespace, "CrashLooping", &["clerk/"]).await?;

        store(namespace, &right).await?;
        serves(namespace).await
    })
    .await
}

/// The entries with which a database is reached.
async fn binding(tier: &Tier<'_>) -> Result<BTreeMap<String, ByteString>> {
    let secrets = tier.namespace.api::<Secret>();
    let secret = secrets.get("ledger-binding").await?;
    secret.data.context("the binding is empty")
}

/// Makes the Secret of a person, or gives it other entries.
async fn store(namespace: &TestNamespace, entries: &BTreeMap<String, ByteString>) -> Result<()> {
    let secrets = namespace.api::<Secret>();
    if secrets.get_opt(SECRET).await?.is_some() {
        let patch = Patch::Merge(json!({"data": entries}));
        secrets
            .patch(SECRET, &PatchParams::default(), &patch)
            .await?;
        return Ok(());
    }
    let secret = json!({"metadata": {"name": SECRET}, "data": entries});
    let secret = serde_json::from_value(secret)?;
    secrets.create(&PostParams::default(), &secret).await?;
    Ok(())
}

async fn told(namespace: &TestNamespace, reason: &str, words: &[&str]) -> Result<()> {
    let began = Instant::now();
    let platforms = namespace.api::<AppPlatform>();
    eventually(TOLD_WITHIN, format!("{reason} is told"), async || {
        let verdict = verdict(&platforms.get("annex").await?)?;
        let fits = !verdict.ready && verdict.reason == reason;
        let fits = fits && words.iter().all(|word| verdict.message.contains(word));
        ensure!(fits, "{}: {}", verdict.reason, verdict.message);
        println!("told: {}", verdict.message);
        Ok(())
    })
    .await?;
    let took = format!("{:.1}", began.elapsed().as_secs_f64());
    figure(&format!("external.told.{reason}"), took, "s");
    Ok(())
}

/// Waits until it is Ready, and reads back what it has stored.
async fn serves(namespace: &TestNamespace) -> Result<()> {
    let began = Instant::now();
    ready(namespace, "annex", READY_WITHIN).await?;
    let took = format!("{:.1}", began.elapsed().as_secs_f64());
    figure("external.ready", took, "s");
    let edge = edge_address(namespace, "annex").await?;
    let receipt = json!({"payer": "Ida"});
    let location = eventually(ANSWERS_WITHIN, "a row is created", async || {
        let request = Request::post("/api/receipts")
            .header("content-type", "application/json")
            .body(receipt.to_string())?;
        let answer = send(edge, request).await?;
        ensure!(answer.status == 201, "{} {}", answer.status, answer.body);
        Ok(answer.header("location").to_owned())
    })
    .await?;
    let answer = get(edge, &location).await?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
    let read: Value = serde_json::from_str(&answer.body)?;
    ensure!(read["payer"] == receipt["payer"], "{read}");
    Ok(())
}

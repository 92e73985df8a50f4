//! The corpus of good and bad manifests, sent raw to a real API server: its verdict is the one
//! that `orlop` gives offline.

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;
use orlop_crds::schema::{
    corpus::{Case, cases},
    validate,
};
use orlop_suites::{Cluster, figure};
use serde_json::Value;

/// Requests under way at once: few enough to leave the API server to other tests.
const AT_ONCE: usize = 8;

#[tokio::test]
async fn the_api_server_and_the_offline_check_give_one_verdict() -> Result<()> {
    let client = Cluster::connect().await?.client();
    let verdicts: Vec<(Case, Result<(), String>)> = stream::iter(cases())
        .map(|case| async {
            let answer = create(client.clone(), &case).await;
            anyhow::Ok((case, answer?))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;

    let mut differ = Vec::new();
    for (case, answer) in &verdicts {
        let offline = validate(&case.manifest);
        if answer.is_ok() != case.is_accepted() || answer.is_ok() != offline.is_empty() {
            differ.push(format!(
                "{}: due {:?}, offline {offline:?}, API server {answer:?}",
                case.name, case.refused_at
            ));
        }
    }

    let accepted = verdicts.iter().filter(|(_, answer)| answer.is_ok()).count();
    figure("manifests_accepted", accepted, "cases");
    figure("manifests_refused", verdicts.len() - accepted, "cases");
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    Ok(())
}

/// What the API server says to a strict client; nothing is stored. A refusal is its message.
async fn create(client: Client, case: &Case) -> Result<Result<(), String>> {
    let path = format!(
        "/apis/orlop.dev/v1alpha1/namespaces/default/{}?dryRun=All&fieldValidation=Strict",
        case.plural
    );
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&case.manifest)?)?;
    match client.request::<Value>(request).await {
        Ok(_) => Ok(Ok(())),
        // 400: not this kind, or fields that are not known; 422: everything else that is invalid.
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => {
            Ok(Err(status.message.clone()))
        }
        Err(error) => Err(error).with_context(|| format!("no verdict on '{}'", case.name)),
    }
}

//! What is deleted comes back, what is edited is set back, what is no longer declared goes, and
//! what is not ours is left alone.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, PostParams},
};
use orlop_crds::{AppPlatform, AppService};
use orlop_suites::{
    Identity, TestNamespace, differences, edge_address, eventually, figure, fixture, get,
    in_namespace, made, normalised, ready, verdict,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::edits::Walk;

const READY_WITHIN: Duration = Duration::from_secs(150);
/// The API server's garbage collector may have to go first; the rest is for a busy machine.
const BACK_WITHIN: Duration = Duration::from_mins(1);
/// Objects of others are not watched: the operator looks again after half a minute at the latest.
const NOTICED_WITHIN: Duration = Duration::from_secs(90);
/// Pods take up to a minute to stop.
const GONE_WITHIN: Duration = Duration::from_mins(3);

const WALK: Walk = Walk {
    name: "repair",
    edits_a_round: 1,
    objects_at_once: 4,
};

#[tokio::test]
async fn every_object_that_is_deleted_comes_back_the_same() -> Result<()> {
    in_namespace("deletes", async |namespace| {
        namespace.apply(&fixture("harbour")?).await?;
        ready(namespace, "harbour", READY_WITHIN).await?;
        let before = comparable(namespace).await?;
        for kind in [
            "AppService",
            "ConfigMap",
            "ControllerRevision",
            "Deployment",
            "PodDisruptionBudget",
            "Service",
        ] {
            let made = before.keys().any(|identity| identity.kind() == kind);
            ensure!(made, "the operator made no {kind}");
        }

        let mut longest = Duration::ZERO;
        for identity in before.keys() {
            let began = Instant::now();
            let api = identity.api(namespace);
            let old = api.get(&identity.name).await?.uid();
            api.delete(&identity.name, &DeleteParams::default()).await?;
            eventually(BACK_WITHIN, format!("{identity} comes back"), async || {
                let object = api.get(&identity.name).await?;
                ensure!(object.uid() != old, "it is still the old one");
                differs_nowhere(&before, &comparable(namespace).await?)
            })
            .await?;
            longest = longest.max(began.elapsed());
        }
        let longest = format!("{:.1}", longest.as_secs_f64());
        figure("repair.back-at-last", longest, "s");
        ready(namespace, "harbour", READY_WITHIN).await?;
        differs_nowhere(&before, &comparable(namespace).await?)?;
        figure("repair.deleted-and-restored", before.len(), "objects");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_owned_field_that_is_edited_is_set_back() -> Result<()> {
    in_namespace("edits", async |namespace| {
        namespace.apply(&fixture("moorings")?).await?;
        ready(namespace, "moorings", READY_WITHIN).await?;
        let objects = made(namespace).await?;
        let edited = WALK.edit_each_owned_field(namespace, objects).await?;
        edited.ensure_covers(&[
            ("AppService", "spec/image"),
            ("AppService", "spec/replicas"),
            ("ConfigMap", "data/nginx.conf"),
            ("Deployment", "spec/replicas"),
            ("Deployment", "spec/template/spec/containers/image"),
            (
                "Deployment",
                "spec/template/spec/containers/resources/limits/memory",
            ),
            ("Deployment", "metadata/ownerReferences"),
            ("PodDisruptionBudget", "spec/maxUnavailable"),
            ("Service", "spec/selector"),
            ("Service", "spec/ports/targetPort"),
            ("Service", "metadata/labels/orlop.dev~1owner"),
            ("Service", "metadata/ownerReferences"),
        ])?;
        ready(namespace, "moorings", READY_WITHIN).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_service_that_is_no_longer_declared_goes_and_the_others_stay() -> Result<()> {
    in_namespace("removal", async |namespace| {
        let both = fixture("harbour")?;
        namespace.apply(&both).await?;
        ready(namespace, "harbour", READY_WITHIN).await?;
        let before = made(namespace).await?;
        let (crane, others): (BTreeMap<_, _>, BTreeMap<_, _>) = before
            .into_iter()
            .partition(|(identity, _)| identity.name.starts_with("harbour-crane"));
        ensure!(crane.len() >= 4, "crane had only {:?}", crane.keys());

        let mut pier_alone = both;
        let services = pier_alone
            .pointer_mut("/spec/services")
            .and_then(Value::as_array_mut);
        services.context("the fixture has services")?.truncate(1);
        namespace.apply(&pier_alone).await?;
        eventually(GONE_WITHIN, "all of crane is gone", async || {
            let left = made(namespace).await?;
            let left: Vec<_> = left
                .keys()
                .filter(|identity| crane.contains_key(identity))
                .collect();
            ensure!(left.is_empty(), "{left:?} are left");
            let pods = ListParams::default().labels("orlop.dev/owner-name=harbour-crane");
            let pods = namespace.api::<Pod>().list(&pods).await?.items.len();
            ensure!(pods == 0, "{pods} pods are left");
            Ok(())
        })
        .await?;

        ready(namespace, "harbour", READY_WITHIN).await?;
        let left = made(namespace).await?;
        for (identity, object) in &others {
            let now = left
                .get(identity)
                .with_context(|| format!("{identity} went too"))?;
            ensure!(now.uid() == object.uid(), "{identity} was made anew");
        }
        let edge = edge_address(namespace, "harbour").await?;
        let answer = get(edge, "/crane").await?;
        ensure!(
            answer.body.contains("<h1>pier</h1>"),
            "/crane leads to {}",
            answer.body
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn foreign_objects_of_our_names_are_refused_untouched_until_they_are_gone() -> Result<()> {
    in_namespace("foreign", async |namespace| {
        let mut foreign = BTreeMap::new();
        for object in strangers() {
            let object = create(namespace, &object).await?;
            let kind = object.types.clone().unwrap_or_default().kind;
            foreign.insert(format!("{kind}/{}", object.name_any()), object);
        }
        namespace.apply(&fixture("harbour")?).await?;

        while !foreign.is_empty() {
            let named = eventually(NOTICED_WITHIN, "a foreign object is named", async || {
                refused(namespace, &foreign).await
            })
            .await?;
            let (_, object) = foreign.remove_entry(&named).context("it is one of them")?;
            let now = get_again(namespace, &object).await?;
            ensure!(
                now.resource_version() == object.resource_version(),
                "{named} was written: {now:?}"
            );
            delete(namespace, &object).await?;
        }
        ready(namespace, "harbour", READY_WITHIN).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_foreign_appservice_of_our_name_keeps_its_spec_until_it_is_gone() -> Result<()> {
    in_namespace("foreign-kind", async |namespace| {
        let services = namespace.api::<AppService>();
        let person: AppService = serde_json::from_value(json!({
            "apiVersion": "orlop.dev/v1alpha1",
            "kind": "AppService",
            "metadata": {"name": "skiff-sail"},
            "spec": {"image": "orlop.dev/fixture-page:1", "port": 3000, "replicas": 0},
        }))?;
        services.create(&PostParams::default(), &person).await?;
        namespace.apply(&fixture("skiff")?).await?;
        let platforms = namespace.api::<AppPlatform>();
        eventually(
            NOTICED_WITHIN,
            "the foreign AppService is named",
            async || {
                let verdict = verdict(&platforms.get("skiff").await?)?;
                ensure!(verdict.reason == "NameTaken", "{verdict:?}");
                ensure!(
                    verdict.message.contains("AppService/skiff-sail"),
                    "{verdict:?}"
                );
                Ok(())
            },
        )
        .await?;
        let now = services.get("skiff-sail").await?;
        ensure!(
            now.spec == person.spec,
            "its spec was changed: {:?}",
            now.spec
        );
        ensure!(now.owner_references().is_empty(), "it was adopted");

        services
            .delete("skiff-sail", &DeleteParams::default())
            .await?;
        ready(namespace, "skiff", READY_WITHIN).await?;
        Ok(())
    })
    .await
}

/// Objects of a person, of exactly the names that `harbour` needs.
fn strangers() -> Vec<Value> {
    let object = |api_version: &str, kind: &str, name: &str, rest: Value| {
        let mut object =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
        if let (Value::Object(object), Value::Object(rest)) = (&mut object, rest) {
            object.extend(rest);
        }
        object
    };
    let labels = json!({"matchLabels": {"owner": "harbourmaster"}});
    let pod = json!({
        "metadata": {"labels": {"owner": "harbourmaster"}},
        "spec": {"containers": [{"name": "log", "image": "orlop.dev/fixture-page:1"}]},
    });
    let service = json!({"spec": {"ports": [{"port": 7}]}});
    let budget = json!({"spec": {"minAvailable": 1, "selector": labels}});
    vec![
        object(
            "v1",
            "ConfigMap",
            "harbour-edge",
            json!({"data": {"log": "calm"}}),
        ),
        object(
            "apps/v1",
            "Deployment",
            "harbour-edge",
            json!({"spec": {"replicas": 0, "selector": labels, "template": pod}}),
        ),
        object("v1", "Service", "harbour-edge", service.clone()),
        object(
            "policy/v1",
            "PodDisruptionBudget",
            "harbour-edge",
            budget.clone(),
        ),
        object("v1", "Service", "harbour-pier", service.clone()),
        object("policy/v1", "PodDisruptionBudget", "harbour-pier", budget),
        object("v1", "Service", "harbour-crane", service),
    ]
}

/// Which of the foreign objects the application's status names.
async fn refused(
    namespace: &TestNamespace,
    foreign: &BTreeMap<String, DynamicObject>,
) -> Result<String> {
    let platform = namespace.api::<AppPlatform>().get("harbour").await?;
    let verdict = verdict(&platform)?;
    ensure!(
        !verdict.ready && verdict.reason == "NameTaken",
        "{verdict:?}"
    );
    // `component/Kind/name: cause`
    let named = verdict.message.split(": ").next().unwrap_or_default();
    let Some((_, named)) = named.split_once('/') else {
        bail!("the message names no object: {}", verdict.message);
    };
    ensure!(
        foreign.contains_key(named),
        "{named} is not one of {:?}",
        foreign.keys()
    );
    Ok(named.to_owned())
}

async fn create(namespace: &TestNamespace, object: &Value) -> Result<DynamicObject> {
    let (api, parsed) = namespace.api_of(object).await?;
    let mut created = api.create(&PostParams::default(), &parsed).await?;
    created.types = parsed.types;
    // Controllers of the cluster write the status once; that is not what is tested.
    let name = created.name_any();
    eventually(
        BACK_WITHIN,
        format!("{name} is seen by its controller"),
        async || {
            let now = api.get(&name).await?;
            let generation = now
                .data
                .pointer("/status/observedGeneration")
                .and_then(Value::as_i64);
            let observed = generation.is_none() || generation == now.metadata.generation;
            let is_observed_kind = !matches!(
                created.types.as_ref().map(|types| types.kind.as_str()),
                Some("Deployment" | "PodDisruptionBudget")
            );
            ensure!(
                is_observed_kind || generation.is_some() && observed,
                "not yet"
            );
            Ok(DynamicObject {
                types: created.types.clone(),
                ..now
            })
        },
    )
    .await
}

async fn get_again(namespace: &TestNamespace, object: &DynamicObject) -> Result<DynamicObject> {
    let (api, _) = namespace.api_of(&serde_json::to_value(object)?).await?;
    Ok(api.get(&object.name_any()).await?)
}

async fn delete(namespace: &TestNamespace, object: &DynamicObject) -> Result<()> {
    let (api, _) = namespace.api_of(&serde_json::to_value(object)?).await?;
    api.delete(&object.name_any(), &DeleteParams::default())
        .await?;
    Ok(())
}

/// All objects, normalised, with the owners' UIDs replaced by their names: an owner that was made
/// again has another UID, and only that may differ.
async fn comparable(namespace: &TestNamespace) -> Result<BTreeMap<Identity, Value>> {
    let mut owners = Vec::new();
    for platform in namespace
        .api::<AppPlatform>()
        .list(&ListParams::default())
        .await?
    {
        owners.push((platform.uid().unwrap_or_default(), platform.name_any()));
    }
    for service in namespace
        .api::<AppService>()
        .list(&ListParams::default())
        .await?
    {
        owners.push((service.uid().unwrap_or_default(), service.name_any()));
    }
    let comparable = |object: &DynamicObject| -> Result<Value> {
        let mut object = normalised(object)?;
        // A fingerprint over all of it, UIDs included.
        if let Some(Value::Object(annotations)) = object.pointer_mut("/metadata/annotations") {
            annotations.remove("orlop.dev/intent");
        }
        let text = owners.iter().fold(object.to_string(), |text, (uid, name)| {
            text.replace(uid, name)
        });
        Ok(serde_json::from_str(&text)?)
    };
    let objects = made(namespace).await?;
    objects
        .into_iter()
        .map(|(identity, object)| Ok((identity, comparable(&object)?)))
        .collect()
}

fn differs_nowhere(
    before: &BTreeMap<Identity, Value>,
    after: &BTreeMap<Identity, Value>,
) -> Result<()> {
    for (identity, wanted) in before {
        let now = after
            .get(identity)
            .with_context(|| format!("{identity} is missing"))?;
        let differences = differences(wanted, now);
        ensure!(
            differences.is_empty(),
            "{identity} differs: {differences:#?}"
        );
    }
    let strange = after.keys().find(|identity| !before.contains_key(identity));
    ensure!(strange.is_none(), "{strange:?} was not there before");
    Ok(())
}

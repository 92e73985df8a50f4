//! Tiers and worker pools: what somebody edits of their objects is set back, field by field, and
//! all of it runs again.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use kube::{ResourceExt as _, api::DynamicObject};
use orlop_suites::{
    Identity, TestNamespace, differences, eventually, figure, fixture, in_namespace, made,
    normalised, ready,
};
use serde_json::Value;
use tokio::time::Instant;

use crate::edits::{Walk, placeless};

const READY_WITHIN: Duration = Duration::from_mins(5);
/// A minute for Secrets, and the passes that are saved up where an object was written often.
const FOLLOWED_WITHIN: Duration = Duration::from_mins(2);
const KINDS: [&str; 4] = ["BrokerTier", "CacheTier", "DatabaseTier", "WorkerPool"];
/// They have three thousand fields, and an object that is edited again and again is written once a
/// second: as many as the API server takes together are edited together.
const WALK: Walk = Walk {
    name: "tiers",
    edits_a_round: usize::MAX,
    objects_at_once: 8,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_owned_field_of_tiers_and_pools_that_is_edited_is_set_back() -> Result<()> {
    in_namespace("tiers", async |namespace| {
        namespace.apply(&fixture("fleet")?).await?;
        ready(namespace, "fleet", READY_WITHIN).await?;
        let (owners, parts) = owners_and_parts(namespace).await?;
        let kinds: Vec<_> = owners.keys().map(Identity::kind).collect();
        ensure!(kinds == KINDS, "made: {kinds:?}");

        let began = Instant::now();
        let edited = WALK.edit_each_owned_field(namespace, owners).await?;
        edited.ensure_covers(&[
            ("BrokerTier", "spec/rabbitmq/queues/retry/attempts"),
            ("CacheTier", "spec/valkey/memory"),
            ("DatabaseTier", "spec/postgres/resources/limits/memory"),
            ("DatabaseTier", "spec/deletion"),
            ("DatabaseTier", "metadata/ownerReferences"),
            ("WorkerPool", "spec/concurrency"),
            ("WorkerPool", "spec/handler/http/path"),
        ])?;
        // What was made of an edited spec is made again of the right one.
        are_again(namespace, &parts).await?;

        let (_, now) = owners_and_parts(namespace).await?;
        let now = now.into_iter().filter(|(it, _)| parts.contains_key(it));
        let edited = WALK.edit_each_owned_field(namespace, now.collect()).await?;
        edited.ensure_covers(&[
            ("ConfigMap", "data/postgresql.conf"),
            ("ConfigMap", "metadata/ownerReferences"),
            ("Deployment", "spec/replicas"),
            ("Deployment", "spec/template/spec/containers/image"),
            ("PodDisruptionBudget", "spec/maxUnavailable"),
            ("Secret", "data/password"),
            ("Secret", "data/uri"),
            ("Secret", "metadata/labels/orlop.dev~1owner-kind"),
            ("Secret", "metadata/ownerReferences"),
            ("Service", "spec/selector"),
            ("Service", "spec/ports/targetPort"),
            ("StatefulSet", "spec/persistentVolumeClaimRetentionPolicy"),
            ("StatefulSet", "spec/replicas"),
            ("StatefulSet", "spec/template/spec/containers/image"),
            ("StatefulSet", "spec/updateStrategy/rollingUpdate/partition"),
            ("StatefulSet", "metadata/labels/orlop.dev~1owner"),
        ])?;
        // What a data service was given at its start nobody can take from it.
        for key in ["superuser-password", "erlang-cookie", "replica-password"] {
            let path = format!("data/{key}");
            ensure!(!edited.covers("Secret", &path), "{key} could be edited");
        }
        are_again(namespace, &parts).await?;
        told("tiers.edited", began);

        let began = Instant::now();
        ready(namespace, "fleet", READY_WITHIN).await?;
        told("tiers.ready-again", began);
        Ok(())
    })
    .await
}

type Objects = BTreeMap<Identity, DynamicObject>;

/// The tiers and the pool, and what was made for them, without the pods' own history.
async fn owners_and_parts(namespace: &TestNamespace) -> Result<(Objects, Objects)> {
    let is_of = |kind: &str| KINDS.contains(&kind);
    let objects = made(namespace).await?.into_iter();
    let (owners, others): (Objects, Objects) = objects.partition(|(it, _)| is_of(it.kind()));
    let parts = others.into_iter().filter(|(_, object)| {
        let labels = object.labels();
        let is_made_by_us = object
            .metadata
            .managed_fields
            .iter()
            .flatten()
            .any(|entry| {
                let manager = entry.manager.as_deref().unwrap_or_default();
                manager.starts_with("orlop-")
            });
        is_made_by_us
            && labels
                .get("orlop.dev/owner-kind")
                .is_some_and(|kind| is_of(kind))
    });
    Ok((owners, parts.collect()))
}

/// Waits until objects are what they were, to the letter.
async fn are_again(namespace: &TestNamespace, before: &Objects) -> Result<()> {
    eventually(FOLLOWED_WITHIN, "all objects are as before", async || {
        let now = made(namespace).await?;
        for (identity, object) in before {
            let now = now
                .get(identity)
                .with_context(|| format!("{identity} is gone"))?;
            let differences = differences(&comparable(object)?, &comparable(now)?);
            ensure!(differences.is_empty(), "{identity}: {differences:#?}");
        }
        Ok(())
    })
    .await
}

/// Without the place of a revision in the pool's history: it has moved on.
fn comparable(object: &DynamicObject) -> Result<Value> {
    Ok(placeless(&normalised(object)?))
}

fn told(name: &str, began: Instant) {
    let took = format!("{:.1}", began.elapsed().as_secs_f64());
    figure(name, took, "s");
}

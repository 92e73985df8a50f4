//! At rest nothing is written: not by a second pass, not after a restart.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::events::v1::Event;
use kube::{ResourceExt as _, api::ListParams};
use orlop_suites::{
    Cluster, OPERATOR_NAMESPACE, Operator, Quiet, TestNamespace, Write, eventually, figure,
    fixture, in_namespace, observe_for, ready,
};

/// Twice this is observed, before and after a restart: three minutes together.
const HALF: Duration = Duration::from_secs(90);
/// No write for so long means that what was begun has ended: longer than any delay inside.
const SETTLED_AFTER: SignedDuration = SignedDuration::from_secs(8);
const SETTLED_WITHIN: Duration = Duration::from_secs(90);

#[tokio::test]
async fn at_rest_the_operator_writes_nothing_but_its_lease() -> Result<()> {
    in_namespace("rest", async |namespace| {
        let operator = Operator::of(&namespace.cluster);
        let user = operator.user().await?;
        namespace.apply(&fixture("harbour")?).await?;
        ready(namespace, "harbour", Duration::from_mins(2)).await?;
        settled(namespace, &user).await?;

        let began = Timestamp::now();
        let events = events(namespace).await?;
        observe_for(HALF, "an application at rest").await;
        {
            let _alone = Quiet::disturb().await;
            operator.restart().await?;
        }
        observe_for(HALF, "the same after a restart of the operator").await;

        let writes = writes(&namespace.cluster, &user, began).await?;
        let here: Vec<_> = writes
            .iter()
            .filter(|write| is_ours(write, namespace))
            .collect();
        ensure!(here.is_empty(), "at rest the operator wrote {here:#?}");
        let leases = writes
            .iter()
            .filter(|write| write.resource == "leases")
            .count();
        ensure!(
            leases > 0,
            "not even the Lease is in the audit log: it tells nothing"
        );
        let after = self::events(namespace).await?;
        ensure!(
            after == events,
            "events were repeated: {events:#?}, then {after:#?}"
        );
        figure("rest.writes", here.len(), "writes in 180 s");
        figure("rest.lease-renewals", leases, "writes in 180 s");
        Ok(())
    })
    .await
}

/// Writes in this test's namespace, and those that belong to no test at all, except the Lease.
fn is_ours(write: &Write, namespace: &TestNamespace) -> bool {
    let is_lease = write.resource == "leases" && write.namespace == OPERATOR_NAMESPACE;
    let of_another_test =
        write.namespace.starts_with("suite-") && write.namespace != namespace.name();
    !is_lease && !of_another_test
}

async fn settled(namespace: &TestNamespace, user: &str) -> Result<()> {
    let began = Timestamp::now();
    eventually(SETTLED_WITHIN, "the operator has finished", async || {
        let writes = writes(&namespace.cluster, user, began).await?;
        let last = writes.iter().rfind(|write| is_ours(write, namespace));
        let since = last.map_or(began, |write| write.at);
        ensure!(
            since.duration_until(Timestamp::now()) > SETTLED_AFTER,
            "it still writes: {last:?}"
        );
        Ok(())
    })
    .await
}

async fn writes(cluster: &Cluster, user: &str, since: Timestamp) -> Result<Vec<Write>> {
    cluster.audit_log().writes_by(user, since).await
}

/// Events about our kinds, and how often each was told.
async fn events(namespace: &TestNamespace) -> Result<BTreeMap<String, (String, i32)>> {
    let list = namespace
        .api::<Event>()
        .list(&ListParams::default())
        .await?;
    let told = list.into_iter().filter_map(|event| {
        let group = event.regarding.as_ref()?.api_version.as_ref()?;
        let ours = group.starts_with("orlop.dev/");
        let count = event.series.as_ref().map_or(1, |series| series.count);
        ours.then(|| (event.name_any(), (event.note.unwrap_or_default(), count)))
    });
    Ok(told.collect())
}

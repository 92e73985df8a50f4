//! What every pod that Orlop makes has in common.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Lifecycle, LifecycleHandler, PodSecurityContext, ResourceRequirements,
        SeccompProfile, SecurityContext, SleepAction, TopologySpreadConstraint,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::LabelSelector},
};
use orlop_crds::pod as said;

/// Pause between the decision to stop a pod and the signal to it: time for every node's kube-proxy
/// to take it out, which the stop itself does not wait for.
pub(crate) const DRAIN_PAUSE_SECS: i64 = 5;

pub(crate) fn drain_pause() -> Lifecycle {
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            sleep: Some(SleepAction {
                seconds: DRAIN_PAUSE_SECS,
            }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

/// Pod Security `restricted`, for the pod.
pub(crate) fn restricted_pod() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

/// Pod Security `restricted`, for the container.
pub(crate) fn restricted_container() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            ..Capabilities::default()
        }),
        ..SecurityContext::default()
    }
}

/// Evenly over zones, then over nodes. Not enforced: with a zone lost, running somewhere is better
/// than waiting.
pub(crate) fn spread(selector: &BTreeMap<String, String>) -> Vec<TopologySpreadConstraint> {
    ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        .into_iter()
        .map(|key| TopologySpreadConstraint {
            max_skew: 1,
            topology_key: key.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(LabelSelector {
                match_labels: Some(selector.clone()),
                ..LabelSelector::default()
            }),
            ..TopologySpreadConstraint::default()
        })
        .collect()
}

pub(crate) fn resources(said: &said::Resources) -> Option<ResourceRequirements> {
    let requests = said.requests.as_ref().and_then(amounts);
    let limits = said.limits.as_ref().and_then(amounts);
    (requests.is_some() || limits.is_some()).then(|| ResourceRequirements {
        requests,
        limits,
        ..ResourceRequirements::default()
    })
}

fn amounts(said: &said::Amounts) -> Option<BTreeMap<String, Quantity>> {
    let said::Amounts { cpu, memory } = said;
    let named = [("cpu", cpu), ("memory", memory)];
    let amounts: BTreeMap<_, _> = named
        .into_iter()
        .filter_map(|(name, amount)| {
            Some((name.to_owned(), Quantity(amount.as_ref()?.to_string())))
        })
        .collect();
    (!amounts.is_empty()).then_some(amounts)
}

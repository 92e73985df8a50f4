//! What every pod that Orlop makes has in common.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, Lifecycle, LifecycleHandler, LocalObjectReference,
        PodSecurityContext, PodSpec, ResourceRequirements, SeccompProfile, SecurityContext,
        SleepAction, Toleration, TopologySpreadConstraint,
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

/// A pod of which only what its author says about all pods is set.
pub(crate) fn options(said: &said::PodOptions) -> PodSpec {
    let said::PodOptions {
        image_pull_secrets,
        tolerations,
        node_selector,
    } = said;
    let image_pull_secrets: Vec<_> = image_pull_secrets.iter().map(local_reference).collect();
    let tolerations: Vec<_> = tolerations.iter().map(toleration).collect();
    let node_selector: BTreeMap<_, _> = node_selector
        .iter()
        .map(|(key, value)| (key.clone(), value.0.clone()))
        .collect();
    PodSpec {
        image_pull_secrets: (!image_pull_secrets.is_empty()).then_some(image_pull_secrets),
        tolerations: (!tolerations.is_empty()).then_some(tolerations),
        node_selector: (!node_selector.is_empty()).then_some(node_selector),
        ..PodSpec::default()
    }
}

fn toleration(said: &said::Toleration) -> Toleration {
    let said::Toleration {
        key,
        operator,
        value,
        effect,
        toleration_seconds,
    } = said;
    Toleration {
        key: key.clone(),
        operator: operator.map(|operator| operator.as_str().to_owned()),
        value: value.clone(),
        effect: effect.map(|effect| effect.as_str().to_owned()),
        toleration_seconds: *toleration_seconds,
    }
}

fn local_reference(said: &said::LocalReference) -> LocalObjectReference {
    LocalObjectReference {
        name: said.name.clone(),
    }
}

/// A container whose last words stand in its pod's status when it fails: what it wrote to its
/// termination log, or else the end of its output.
pub(crate) fn container() -> Container {
    Container {
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
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

//! The root cause of pods that do not run, from what the cluster says of them.
//!
//! Messages hold no pod names, counters or times: a cause that lasts must read the same in every
//! pass, or the status would be written for ever.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentCondition},
    core::v1::{ContainerStateTerminated, ContainerStatus, Pod},
};
use orlop_crds::Reason;

use crate::{Observed, condition::shorten, last_words::last_words};

/// What hinders, in words that end without a full stop.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    pub reason: Reason,
    pub message: String,
}

/// Longest piece quoted from the cluster.
const QUOTED_CHARS_MAX: usize = 400;

/// The worst cause that a deployment and its pods show; none while they are merely starting.
pub(crate) fn diagnose(
    deployment: Option<&Deployment>,
    pods: &[&Pod],
    observed: &Observed,
    now: Timestamp,
) -> Option<Cause> {
    let of_deployment = deployment.and_then(replica_failure);
    let refusals = observed.refusals.iter();
    let of_stateful_sets = refusals.map(|refusal| not_created(&refusal.message));
    let of_pods = pods.iter().filter_map(|pod| of_pod(pod, observed, now));
    of_pods.chain(of_deployment).chain(of_stateful_sets).min()
}

/// Pods that could not even be created.
fn replica_failure(deployment: &Deployment) -> Option<Cause> {
    let condition = deployment_condition(deployment, "ReplicaFailure")?;
    if condition.status != "True" {
        return None;
    }
    Some(not_created(
        condition.message.as_deref().unwrap_or("no message"),
    ))
}

/// What a controller was answered when it wanted to create a pod. What comes before the API server's
/// own sentence names the pod.
fn not_created(text: &str) -> Cause {
    let detail = [" is forbidden: ", " failed error: "]
        .iter()
        .find_map(|before| text.split_once(before))
        .map_or(text, |(_, detail)| detail);
    let reason = if text.contains("exceeded quota") || text.contains("failed quota") {
        Reason::QuotaExceeded
    } else {
        Reason::PodsForbidden
    };
    Cause {
        reason,
        message: format!("pods cannot be created: {}", quoted(detail)),
    }
}

pub(crate) fn deployment_condition<'a>(
    deployment: &'a Deployment,
    kind: &str,
) -> Option<&'a DeploymentCondition> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

fn of_pod(pod: &Pod, observed: &Observed, now: Timestamp) -> Option<Cause> {
    if pod.metadata.deletion_timestamp.is_some() || is_ready(pod) {
        return None;
    }
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().flatten();
    unschedulable(pod).or_else(|| {
        containers
            .filter_map(|c| of_container(pod, c, observed, now))
            .min()
    })
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    pod_condition(pod, "Ready").is_some_and(|(status, _, _)| status == "True")
}

/// Whether it has its node.
pub(crate) fn is_scheduled(pod: &Pod) -> bool {
    pod_condition(pod, "PodScheduled").is_some_and(|(status, _, _)| status == "True")
}

fn pod_condition<'a>(pod: &'a Pod, kind: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions
        .iter()
        .find(|condition| condition.type_ == kind)?;
    let reason = found.reason.as_deref().unwrap_or_default();
    Some((
        &found.status,
        reason,
        found.message.as_deref().unwrap_or_default(),
    ))
}

fn unschedulable(pod: &Pod) -> Option<Cause> {
    let (status, reason, message) = pod_condition(pod, "PodScheduled")?;
    (status == "False" && reason == "Unschedulable").then(|| {
        // What follows tells what preemption would not change either.
        let detail = message.split(" preemption:").next().unwrap_or(message);
        let detail = quoted(detail.trim_end_matches('.'));
        // The scheduler says so of claims that are not bound, not found or bound elsewhere.
        if detail.contains("PersistentVolumeClaim")
            || detail.contains("persistentvolumeclaim")
            || detail.contains("persistent volume")
            || detail.contains("volume node affinity")
        {
            return Cause {
                reason: Reason::VolumePending,
                message: format!("no node has the volume: {detail}"),
            };
        }
        Cause {
            reason: Reason::Unschedulable,
            message: format!("no node fits: {detail}"),
        }
    })
}

fn of_container(
    pod: &Pod,
    status: &ContainerStatus,
    observed: &Observed,
    now: Timestamp,
) -> Option<Cause> {
    if let Some(waiting) = status
        .state
        .as_ref()
        .and_then(|state| state.waiting.as_ref())
    {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let message = waiting.message.as_deref().unwrap_or_default();
        if let Some(cause) = of_waiting(status, reason, message) {
            return Some(cause);
        }
    }
    probe_failure(pod, status, observed, now).or_else(|| ended(status))
}

fn of_waiting(status: &ContainerStatus, reason: &str, message: &str) -> Option<Cause> {
    let cause = |reason, message| Some(Cause { reason, message });
    match reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable"
        | "ImageInspectError" => cause(
            Reason::ImagePullFailed,
            format!("image '{}' cannot be pulled", status.image),
        ),
        "CreateContainerConfigError" if message.contains("runAsNonRoot") => cause(
            Reason::PodsForbidden,
            format!("the image runs as root: {}", quoted(message)),
        ),
        "CreateContainerConfigError" => {
            cause(Reason::ConfigMissing, quoted(message).replace('"', "'"))
        }
        "CreateContainerError" | "RunContainerError" => cause(
            Reason::CrashLooping,
            format!("the container cannot start: {}", quoted(message)),
        ),
        _ => None,
    }
}

/// A container that runs, or was ended, because of a probe.
fn probe_failure(
    pod: &Pod,
    status: &ContainerStatus,
    observed: &Observed,
    now: Timestamp,
) -> Option<Cause> {
    let name = pod.metadata.name.as_deref()?;
    let failure = observed
        .probe_failures
        .iter()
        .find(|failure| failure.pod == name)?;
    if is_warming_up(status, now) {
        return None;
    }
    // A container that ends by itself fails its probes too; the end is then the root. One that was
    // ended because of its liveness probe may end with any code.
    let killed = failure.message.starts_with("Liveness");
    if !killed && crashed(status).is_some_and(|exit| exit != 137 && exit != 143) {
        return None;
    }
    Some(Cause {
        reason: Reason::ProbeFailing,
        message: quoted(&without_address(&failure.message)),
    })
}

/// A probe that fails so soon after the container's start says only that it is starting.
const WARM_UP: SignedDuration = SignedDuration::from_secs(6);

fn is_warming_up(status: &ContainerStatus, now: Timestamp) -> bool {
    let running = status
        .state
        .as_ref()
        .and_then(|state| state.running.as_ref());
    let started = running.and_then(|running| running.started_at.as_ref());
    status.restart_count == 0
        && started.is_some_and(|started| now.duration_since(started.0) < WARM_UP)
}

/// Pod addresses change with every pod; the port and path say enough.
fn without_address(message: &str) -> String {
    let words = message.split(' ').map(|word| {
        let (start, rest) = match word.split_once("://") {
            Some((scheme, rest)) => (scheme.trim_start_matches('"'), rest),
            None => ("", word),
        };
        match rest.split_once(':') {
            Some((host, rest)) if host.parse::<std::net::IpAddr>().is_ok() => {
                let scheme = if start.is_empty() {
                    String::new()
                } else {
                    format!("{start} ")
                };
                format!("{scheme}port {}", rest.trim_end_matches(['"', ':']))
            }
            _ => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Exit code of the end that the container is recovering from.
fn crashed(status: &ContainerStatus) -> Option<i32> {
    terminated(status).map(|ended| ended.exit_code)
}

fn terminated(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let mut newest_first = [&status.state, &status.last_state].into_iter().flatten();
    newest_first.find_map(|state| state.terminated.as_ref())
}

fn ended(status: &ContainerStatus) -> Option<Cause> {
    let ended = terminated(status)?;
    if ended.reason.as_deref() == Some("OOMKilled") {
        return Some(Cause {
            reason: Reason::OutOfMemory,
            message: "the container was killed for using more memory than its limit".to_owned(),
        });
    }
    // One end may be chance (a node restart); two in a row are a loop.
    let back_off = status
        .state
        .as_ref()
        .and_then(|state| state.waiting.as_ref())
        .is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"));
    let code = ended.exit_code;
    let said = ended.message.as_deref().and_then(last_words);
    let said = said.map(|words| format!(": {words}")).unwrap_or_default();
    (back_off || status.restart_count > 0).then(|| Cause {
        reason: Reason::CrashLooping,
        message: format!("the container ends with exit code {code} after each start{said}"),
    })
}

fn quoted(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    shorten(&line, QUOTED_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{ProbeFailure, Refusal};

    fn now() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    fn pod(status: &Value) -> Pod {
        let value = json!({"metadata": {"name": "lantern-1"}, "spec": null, "status": status});
        serde_json::from_value(value).unwrap()
    }

    fn container(state: &Value, last: &Value, restarts: i32) -> Value {
        json!({"containerStatuses": [{
            "name": "main", "image": "acme/lantern:1", "imageID": "", "ready": false,
            "restartCount": restarts, "state": state, "lastState": last,
        }]})
    }

    fn diagnosed(pod: &Pod, observed: &Observed) -> Option<Reason> {
        diagnose(None, &[pod], observed, now()).map(|cause| cause.reason)
    }

    #[test]
    fn each_way_of_not_running_has_its_cause() {
        let waiting = |reason: &str, message: &str| {
            container(
                &json!({"waiting": {"reason": reason, "message": message}}),
                &json!({}),
                0,
            )
        };
        let exit = |reason: &str| json!({"terminated": {"exitCode": 1, "reason": reason}});
        let back_off = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let unschedulable = json!({"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes",
        }]});
        let cases = [
            (
                waiting("ImagePullBackOff", "Back-off"),
                Some(Reason::ImagePullFailed),
            ),
            (
                waiting("ErrImagePull", "not found"),
                Some(Reason::ImagePullFailed),
            ),
            (
                waiting("CreateContainerConfigError", "secret \"s\" not found"),
                Some(Reason::ConfigMissing),
            ),
            (
                waiting("CreateContainerConfigError", "container has runAsNonRoot"),
                Some(Reason::PodsForbidden),
            ),
            (
                waiting("RunContainerError", "exec: not found"),
                Some(Reason::CrashLooping),
            ),
            (waiting("ContainerCreating", ""), None),
            (
                container(&back_off, &exit("Error"), 3),
                Some(Reason::CrashLooping),
            ),
            (
                container(&back_off, &exit("OOMKilled"), 3),
                Some(Reason::OutOfMemory),
            ),
            (
                container(&json!({"running": {}}), &exit("Error"), 1),
                Some(Reason::CrashLooping),
            ),
            (container(&json!({"running": {}}), &json!({}), 0), None),
            (unschedulable, Some(Reason::Unschedulable)),
        ];
        for (status, expected) in cases {
            assert_eq!(
                diagnosed(&pod(&status), &Observed::default()),
                expected,
                "{status}"
            );
        }
    }

    #[test]
    fn a_pod_that_waits_for_its_volume_is_told_apart_from_one_without_room() {
        let waiting = |message: &str| {
            pod(&json!({"conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": message,
            }]}))
        };
        for message in [
            "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
            "0/3 nodes are available: 3 node(s) didn't find available persistent volumes to bind.",
            "0/3 nodes are available: 3 node(s) had volume node affinity conflict.",
            "persistentvolumeclaim \"data-lantern-0\" not found",
        ] {
            let reason = diagnosed(&waiting(message), &Observed::default());
            assert_eq!(reason, Some(Reason::VolumePending), "{message}");
        }
    }

    #[test]
    fn a_failed_probe_is_the_cause_of_a_container_that_runs() {
        let message = "Readiness probe failed: Get \"http://192.0.2.7:3000/ready\": refused";
        let observed = Observed {
            probe_failures: vec![ProbeFailure {
                pod: "lantern-1".into(),
                message: message.into(),
            }],
            ..Observed::default()
        };
        let running = pod(&container(&json!({"running": {}}), &json!({}), 0));
        let cause = diagnose(None, &[&running], &observed, now()).unwrap();
        assert_eq!(cause.reason, Reason::ProbeFailing);
        assert!(
            cause.message.contains("port 3000/ready"),
            "{}",
            cause.message
        );
        assert!(!cause.message.contains("192.0.2.7"), "{}", cause.message);
    }

    #[test]
    fn a_probe_that_fails_right_after_the_start_is_no_cause_yet() {
        let observed = Observed {
            probe_failures: vec![ProbeFailure {
                pod: "lantern-1".into(),
                message: "Readiness probe failed: refused".into(),
            }],
            ..Observed::default()
        };
        let started_at = |time: &str| {
            pod(&container(
                &json!({"running": {"startedAt": time}}),
                &json!({}),
                0,
            ))
        };
        assert_eq!(
            diagnosed(&started_at("2026-11-22T11:59:57Z"), &observed),
            None
        );
        let long_ago = started_at("2026-11-22T11:59:50Z");
        assert_eq!(diagnosed(&long_ago, &observed), Some(Reason::ProbeFailing));
    }

    #[test]
    fn a_container_that_ends_by_itself_is_not_blamed_on_its_probe() {
        let observed = Observed {
            probe_failures: vec![ProbeFailure {
                pod: "lantern-1".into(),
                message: "refused".into(),
            }],
            ..Observed::default()
        };
        let crashing = container(
            &json!({"running": {}}),
            &json!({"terminated": {"exitCode": 1, "reason": "Error"}}),
            2,
        );
        assert_eq!(
            diagnosed(&pod(&crashing), &observed),
            Some(Reason::CrashLooping)
        );
    }

    #[test]
    fn a_container_that_ends_is_told_with_its_last_words() {
        let ended = json!({"terminated": {
            "exitCode": 1, "reason": "Error",
            "message": "starting\nno chart of these waters\n",
        }});
        let back_off = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let crashing = pod(&container(&back_off, &ended, 3));
        let cause = diagnose(None, &[&crashing], &Observed::default(), now()).unwrap();
        assert_eq!(
            cause.message,
            "the container ends with exit code 1 after each start: no chart of these waters"
        );
    }

    #[test]
    fn a_quota_without_room_is_told_apart_from_a_policy() {
        let deployment = |message: &str| -> Deployment {
            let condition = json!({"type": "ReplicaFailure", "status": "True", "message": message});
            serde_json::from_value(json!({
                "metadata": {}, "spec": null, "status": {"conditions": [condition]},
            }))
            .unwrap()
        };
        let quota =
            deployment("pods \"x-1\" is forbidden: exceeded quota: small, requested: pods=1");
        let cause = diagnose(Some(&quota), &[], &Observed::default(), now()).unwrap();
        assert_eq!(cause.reason, Reason::QuotaExceeded);
        assert!(!cause.message.contains("x-1"), "{}", cause.message);
        let refused = Observed {
            refusals: vec![Refusal {
                stateful_set: "rope".into(),
                message: "create Pod rope-0 in StatefulSet rope failed error: pods \"rope-0\" is \
                          forbidden: exceeded quota: small, requested: pods=1"
                    .into(),
            }],
            ..Observed::default()
        };
        let same = diagnose(None, &[], &refused, now()).unwrap();
        assert_eq!(same, cause);
        let policy = deployment("pods \"x-1\" is forbidden: violates PodSecurity \"restricted\"");
        let cause = diagnose(Some(&policy), &[], &Observed::default(), now()).unwrap();
        assert_eq!(cause.reason, Reason::PodsForbidden);
    }
}

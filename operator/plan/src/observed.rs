//! What one pass has read, without judgement.

use std::collections::BTreeSet;

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment, StatefulSet},
    core::v1::{Pod, Secret, Service},
    discovery::v1::EndpointSlice,
};

use orlop_crds::BrokerTier;

use crate::{Entropy, Kind, Object, ObjectName, Snapshots};

/// What one pass has read of one object's world. All of it is of the object's own namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Objects that carry the owner's UID, in the owner label or as owner reference.
    pub children: Vec<Object>,
    /// Pods that carry the owner label.
    pub pods: Vec<Pod>,
    /// What the Services among the children address.
    pub endpoint_slices: Vec<EndpointSlice>,
    /// The newest failed probe of pods that run without being ready.
    pub probe_failures: Vec<ProbeFailure>,
    /// Why StatefulSets that miss pods could not create them at their last attempt.
    pub refusals: Vec<Refusal>,
    /// Which of the objects that it refers to exist.
    pub existing: BTreeSet<ObjectName>,
    /// The BrokerTiers among them.
    pub brokers: Vec<BrokerTier>,
    /// Those of the Secrets it names that exist. What was made for the object, or for one of the
    /// same kind and name before it, is among the children too.
    pub secrets: Vec<Secret>,
    /// What the data services said last.
    pub snapshots: Snapshots,
    pub entropy: Entropy,
}

/// The newest "Unhealthy" event of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeFailure {
    pub pod: String,
    /// As the kubelet says it: `Readiness probe failed: HTTP probe failed with statuscode: 500`.
    pub message: String,
}

/// The newest "FailedCreate" event of a StatefulSet, which has no condition that would tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub stateful_set: String,
    /// As its controller says it: `create Pod x-0 in StatefulSet x failed error: pods "x-0" is
    /// forbidden: exceeded quota: ...`.
    pub message: String,
}

impl Observed {
    pub(crate) fn get(&self, kind: Kind, name: &str) -> Option<&Object> {
        self.children
            .iter()
            .find(|object| object.kind() == kind && object.metadata().name.as_deref() == Some(name))
    }

    pub(crate) fn deployments(&self) -> impl Iterator<Item = &Deployment> {
        self.children.iter().filter_map(|object| match object {
            Object::Deployment(deployment) => Some(deployment.as_ref()),
            _ => None,
        })
    }

    pub(crate) fn stateful_sets(&self) -> impl Iterator<Item = &StatefulSet> {
        self.children.iter().filter_map(|object| match object {
            Object::StatefulSet(set) => Some(set.as_ref()),
            _ => None,
        })
    }

    pub(crate) fn deployment(&self, name: &str) -> Option<&Deployment> {
        self.deployments()
            .find(|object| object.metadata.name.as_deref() == Some(name))
    }

    pub(crate) fn service(&self, name: &str) -> Option<&Service> {
        match self.get(Kind::Service, name) {
            Some(Object::Service(service)) => Some(service),
            _ => None,
        }
    }

    pub(crate) fn controller_revisions(&self) -> impl Iterator<Item = &ControllerRevision> {
        self.children.iter().filter_map(|object| match object {
            Object::ControllerRevision(revision) => Some(revision.as_ref()),
            _ => None,
        })
    }
}

//! What is seen of a service's revisions, and of the way from its Service to them.

use std::collections::BTreeSet;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use orlop_crds::PruneRecord;

use super::{build, checks, validate::ValidatedService};
use crate::{
    Observed, labels,
    release::{self, Seen},
    revision::Revision,
};

pub(super) fn seen(
    service: &ValidatedService,
    observed: &Observed,
    pruning: &[PruneRecord],
) -> Seen {
    let selected = build::selected(service, observed);
    let verified = selected
        .as_ref()
        .is_some_and(|revision| addresses_only(service, observed, revision))
        && checks::is_reached(service, observed);
    Seen {
        selected,
        runs: release::runs(&service.name, observed, pruning),
        verified,
        before: checks::before_switch(service, observed),
        after: checks::after_switch(service, observed),
    }
}

/// Whether the Service's endpoints are ready pods of the revision and nothing else. That is what
/// kube-proxy works from: a Service without one addresses nobody.
fn addresses_only(service: &ValidatedService, observed: &Observed, revision: &Revision) -> bool {
    let pods: BTreeSet<&str> = release::pods_of(observed, revision)
        .filter_map(|pod| pod.metadata.name.as_deref())
        .collect();
    let mut slices = observed
        .endpoint_slices
        .iter()
        .filter(|slice| is_of_service(slice, &service.name))
        .flat_map(|slice| slice.endpoints.iter().flatten())
        .filter(|endpoint| is_addressed(endpoint))
        .peekable();
    slices.peek().is_some()
        && slices.all(|endpoint| {
            let target = endpoint.target_ref.as_ref();
            let name = target.and_then(|target| target.name.as_deref());
            name.is_some_and(|name| pods.contains(name))
        })
}

fn is_of_service(slice: &EndpointSlice, service: &str) -> bool {
    let labels = slice.metadata.labels.as_ref();
    let name = labels.and_then(|labels| labels.get(labels::SERVICE_NAME));
    name.map(String::as_str) == Some(service)
}

/// Unset means ready: see the API's documentation.
fn is_addressed(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions.and_then(|conditions| conditions.ready) != Some(false)
}

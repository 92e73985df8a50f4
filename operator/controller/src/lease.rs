//! Leader election: who holds the Lease writes, all others watch and wait.
//!
//! No clock but the own monotonic one decides. The holder counts from the moment it *sent* its last
//! successful renewal, the others from the moment they first *saw* the Lease as it is; the holder
//! gives up earlier than the others take over, so clocks that differ do no harm. Still a holder that
//! hangs may write once more when it wakes: every write names the version it was planned from, and
//! that is what protects.
//!
//! kube-lease-manager was read and not taken: it compares the holder's wall clock with its own, and
//! while the API server cannot be reached it never tells that the lease is lost.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    causes::Causes,
    client::{CallError, within},
    metrics::{Metrics, NameLabel},
};

/// A holder that has not renewed for this long has lost the Lease.
const DURATION: Duration = Duration::from_secs(15);
/// The holder renews at a third of it, so one lost request costs nothing,
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// and gives up at two thirds: the rest is the margin for what is under way.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
/// Between two attempts, of the holder after a failure and of the others always.
const RETRY_EVERY: Duration = Duration::from_secs(2);
/// One attempt.
const CALL_DEADLINE: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Debug)]
pub(crate) struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
    leader: Gauge,
    /// Version of somebody else's Lease, and when it was first seen.
    seen: Option<(Option<String>, Instant)>,
}

/// The Lease, held.
#[derive(Debug)]
pub(crate) struct Held {
    election: Election,
    lease: Lease,
    /// When the last successful renewal was sent.
    renewed: Instant,
}

impl Election {
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        name: String,
        identity: String,
        metrics: &Metrics,
    ) -> Self {
        let leader = metrics
            .leader
            .get_or_create_owned(&NameLabel { name: name.clone() });
        leader.set(0);
        Self {
            api: Api::namespaced(client, namespace),
            name,
            identity,
            leader,
            seen: None,
        }
    }

    /// Waits until the Lease is ours.
    pub(crate) async fn acquire(mut self) -> Held {
        loop {
            let sent = Instant::now();
            match self.attempt().await {
                Ok(Some(lease)) => {
                    tracing::info!(lease = self.name, identity = self.identity, "leading");
                    self.leader.set(1);
                    return Held {
                        election: self,
                        lease,
                        renewed: sent,
                    };
                }
                Ok(None) => (),
                Err(error) => {
                    tracing::warn!(
                        lease = self.name,
                        error = %Causes(&error),
                        "failed to ask for the lease; the operator's role must allow to get, \
                         create and update leases in its namespace",
                    );
                }
            }
            sleep(RETRY_EVERY).await;
        }
    }

    /// Takes the Lease if it is free: never held, released, ours already (from before a restart), or
    /// not renewed for its whole duration while we looked.
    async fn attempt(&mut self) -> Result<Option<Lease>, CallError> {
        let found = within(CALL_DEADLINE, self.api.get_opt(&self.name)).await?;
        let Some(lease) = found else {
            return won(self.create().await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let version = lease.metadata.resource_version.clone();
        if !holder.is_empty() && holder != self.identity && !self.has_expired(version, &spec) {
            return Ok(None);
        }
        let taken = self.taken(lease, &spec, holder != self.identity);
        won(self.replace(&taken).await)
    }

    fn has_expired(&mut self, version: Option<String>, spec: &LeaseSpec) -> bool {
        match &self.seen {
            Some((seen, since)) if *seen == version => {
                let seconds = spec
                    .lease_duration_seconds
                    .and_then(|s| u64::try_from(s).ok());
                since.elapsed() >= seconds.map_or(DURATION, Duration::from_secs)
            }
            _ => {
                let holder = spec.holder_identity.as_deref();
                if self.seen.is_none() {
                    tracing::info!(lease = self.name, holder, "waiting for the lease");
                }
                self.seen = Some((version, Instant::now()));
                false
            }
        }
    }

    fn taken(&self, lease: Lease, before: &LeaseSpec, is_transition: bool) -> Lease {
        let now = Some(MicroTime(Timestamp::now()));
        let transitions = before.lease_transitions.unwrap_or(0);
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if is_transition {
                now.clone()
            } else {
                before.acquire_time.clone()
            },
            renew_time: now,
            lease_transitions: Some(transitions.saturating_add(i32::from(is_transition))),
            ..LeaseSpec::default()
        };
        Lease {
            spec: Some(spec),
            ..lease
        }
    }

    async fn create(&self) -> Result<Lease, CallError> {
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            ..ObjectMeta::default()
        };
        let lease = self.taken(
            Lease {
                metadata,
                spec: None,
            },
            &LeaseSpec::default(),
            true,
        );
        within(
            CALL_DEADLINE,
            self.api.create(&PostParams::default(), &lease),
        )
        .await
    }

    /// Guarded by the version in the object.
    async fn replace(&self, lease: &Lease) -> Result<Lease, CallError> {
        within(
            CALL_DEADLINE,
            self.api.replace(&self.name, &PostParams::default(), lease),
        )
        .await
    }
}

impl Held {
    /// Renews the Lease until it is lost, and only then returns.
    pub(crate) async fn keep(&mut self) {
        loop {
            sleep(RENEW_EVERY).await;
            let give_up = self.renewed + GIVE_UP_AFTER;
            match timeout_at(give_up, self.renew()).await {
                Ok(true) => (),
                Ok(false) | Err(_) => break,
            }
        }
        self.election.leader.set(0);
    }

    /// Tries until it is renewed, or in somebody else's hands.
    async fn renew(&mut self) -> bool {
        loop {
            let sent = Instant::now();
            let spec = self.lease.spec.clone().unwrap_or_default();
            let renewed = self.election.taken(self.lease.clone(), &spec, false);
            match self.election.replace(&renewed).await {
                Ok(lease) => {
                    self.lease = lease;
                    self.renewed = sent;
                    return true;
                }
                // Somebody wrote to it: another holder, or a person who set a label.
                Err(error) if error.is_conflict() => match self.read().await {
                    Some(lease) if self.is_ours(&lease) => self.lease = lease,
                    Some(_) => return false,
                    None => sleep(RETRY_EVERY).await,
                },
                Err(error) => {
                    tracing::warn!(error = %Causes(&error), "failed to renew the lease");
                    sleep(RETRY_EVERY).await;
                }
            }
        }
    }

    async fn read(&self) -> Option<Lease> {
        within(
            CALL_DEADLINE,
            self.election.api.get_opt(&self.election.name),
        )
        .await
        .ok()
        .flatten()
    }

    fn is_ours(&self, lease: &Lease) -> bool {
        let holder = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_ref());
        holder == Some(&self.election.identity)
    }

    /// Gives the Lease up, so that the next holder need not wait for it to run out.
    pub(crate) async fn release(self) {
        self.election.leader.set(0);
        let spec = self.lease.spec.clone().unwrap_or_default();
        let released = LeaseSpec {
            holder_identity: Some(String::new()),
            ..spec
        };
        let released = Lease {
            spec: Some(released),
            ..self.lease
        };
        match self.election.replace(&released).await {
            Ok(_) => tracing::info!(lease = self.election.name, "released the lease"),
            Err(error) => {
                tracing::warn!(error = %Causes(&error), "failed to release the lease, it runs out");
            }
        }
    }
}

/// A conflict means that somebody else was quicker.
fn won(answer: Result<Lease, CallError>) -> Result<Option<Lease>, CallError> {
    match answer {
        Ok(lease) => Ok(Some(lease)),
        Err(error) if error.is_conflict() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;

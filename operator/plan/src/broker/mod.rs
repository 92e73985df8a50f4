//! BrokerTier: RabbitMQ, and what is declared on it.

pub mod action;
mod build;
mod config;
pub mod reading;
mod status;
mod topology;
mod validate;

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use orlop_contract::queue::{ADMIN_USER, MANAGEMENT_PORT, VHOST};
use orlop_crds::{BrokerTier, BrokerTierStatus};

pub use action::Action;
pub use reading::{QueueStatistics, Reading};

use self::{
    build::Access,
    status::View,
    topology::{Difference, Topology},
    validate::ValidatedBroker,
};
use crate::{
    Failure, Kind, Object, ObjectName, Observed, Password, Plan, RabbitMqSource, Reconcile,
    Settings, Sources, difference, fence, prune,
};

impl Reconcile for BrokerTier {
    type Status = BrokerTierStatus;

    const FIELD_MANAGER: &'static str = "orlop-brokertier";
    const CHILDREN: &'static [Kind] = &[
        Kind::ConfigMap,
        Kind::Secret,
        Kind::Service,
        Kind::StatefulSet,
    ];

    fn recorded_status(&self) -> Option<&BrokerTierStatus> {
        self.status.as_ref()
    }

    fn references(&self) -> Vec<ObjectName> {
        Vec::new()
    }

    fn secrets(&self) -> Vec<String> {
        self.metadata
            .name
            .as_deref()
            .map(build::secrets)
            .unwrap_or_default()
    }

    fn sources(&self, observed: &Observed, settings: &Settings) -> Sources {
        Sources {
            rabbitmq: validate::validate(self, settings)
                .ok()
                .and_then(|broker| source(&broker, observed)),
            ..Sources::default()
        }
    }

    fn plan(
        &self,
        observed: &Observed,
        settings: &Settings,
        now: Timestamp,
    ) -> Plan<BrokerTierStatus> {
        if fence::is_behind(&self.metadata, observed) {
            return Plan::nothing(self.status.clone().unwrap_or_default());
        }
        match validate::validate(self, settings) {
            Ok(broker) => plan(&broker, self.status.as_ref(), observed, now),
            Err(invalid) => status::invalid(self, &invalid, now),
        }
    }

    fn failed(
        &self,
        planned: BrokerTierStatus,
        failure: &Failure,
        now: Timestamp,
    ) -> BrokerTierStatus {
        status::failed(self, planned, failure, now)
    }
}

fn plan(
    broker: &ValidatedBroker,
    recorded: Option<&BrokerTierStatus>,
    observed: &Observed,
    now: Timestamp,
) -> Plan<BrokerTierStatus> {
    let access = Access::of(broker, observed);
    let objects = build::objects(broker, &access);
    let keep: BTreeSet<ObjectName> = objects.iter().map(Object::name).collect();
    let recorded_pruning = recorded
        .map(|status| status.pruning.as_slice())
        .unwrap_or_default();
    let pruning = prune::prune(recorded_pruning, &keep, observed);
    let version = broker.tier.version.as_deref();
    let written = difference::writes(objects, &pruning, observed, version);

    let difference = difference(broker, &access, observed, now);
    let actions = difference
        .as_ref()
        .map(|difference| actions(broker, observed, difference))
        .unwrap_or_default();
    let view = View {
        broker,
        observed,
        written: &written,
        difference: difference.as_ref(),
        now,
    };
    let status = status::report(&view, recorded, pruning.record);
    let wake_at = status::wake_at(&status, &view);
    status::plan(written.writes, actions, recorded, status, wake_at)
}

/// How the broker differs from what is declared; none while nothing recent is known.
fn difference(
    broker: &ValidatedBroker,
    access: &Access,
    observed: &Observed,
    now: Timestamp,
) -> Option<Difference> {
    let reading = status::recent(observed.snapshots.rabbitmq.as_ref(), now)?;
    let topology = Topology::new(access.users(), config::permissions(), &broker.queues);
    Some(topology.difference(reading))
}

fn actions(
    broker: &ValidatedBroker,
    observed: &Observed,
    difference: &Difference,
) -> Vec<crate::Action> {
    let Some(source) = source(broker, observed) else {
        return Vec::new();
    };
    let actions = difference.actions.iter().cloned();
    actions
        .map(|action| crate::Action::RabbitMq {
            source: source.clone(),
            action,
        })
        .collect()
}

/// Where the broker is asked, once its credentials are stored: those of a pass are made up until
/// then.
fn source(broker: &ValidatedBroker, observed: &Observed) -> Option<RabbitMqSource> {
    observed.get(Kind::Secret, &broker.tier.object_name("auth"))?;
    let access = Access::of(broker, observed);
    Some(RabbitMqSource {
        host: build::host(broker),
        port: MANAGEMENT_PORT,
        vhost: VHOST.to_owned(),
        user: ADMIN_USER.to_owned(),
        password: Password::new(access.admin_password().to_owned()),
    })
}

/// Name of the Secret with the credentials of a broker.
pub(crate) fn auth_name(broker: &str) -> String {
    format!("{broker}-auth")
}

/// As [`source`], for who only knows the broker's name: the same, so that both share one poll.
pub(crate) fn source_of(
    broker: &str,
    namespace: &str,
    cluster_domain: &str,
    secrets: &[Secret],
) -> Option<RabbitMqSource> {
    let name = auth_name(broker);
    let mut secrets = secrets.iter();
    let auth = secrets.find(|secret| secret.metadata.name.as_ref() == Some(&name))?;
    let password = auth.data.as_ref()?.get(build::ADMIN_PASSWORD)?;
    Some(RabbitMqSource {
        host: format!("{broker}.{namespace}.svc.{cluster_domain}"),
        port: MANAGEMENT_PORT,
        vhost: VHOST.to_owned(),
        user: ADMIN_USER.to_owned(),
        password: Password::new(String::from_utf8(password.0.clone()).ok()?),
    })
}

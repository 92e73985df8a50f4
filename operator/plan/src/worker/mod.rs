//! WorkerPool: workers on one queue, as many as the queue asks for.

mod build;
mod reading;
pub mod scaler;
mod status;
mod validate;
mod window;

use std::{collections::BTreeSet, net::IpAddr};

use jiff::Timestamp;
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::Time,
};
use orlop_contract::HEALTH_PORT;
use orlop_crds::{
    BindingReference, WorkerPool, WorkerPoolStatus,
    broker_tier::Queue,
    worker_pool::{ScalingDecision, ScalingReason},
};

pub use reading::{Reading, Worker};
pub use window::{History, Now, STALE_AFTER, Sample, Window};

use self::{
    scaler::{Decision, Seen, Sight},
    status::View,
    validate::{Size, ValidatedPool},
};
use crate::{
    Failure, Kind, Object, ObjectName, Observed, Plan, RabbitMqSource, Reconcile, Settings,
    Sources, WorkersSource, broker,
    condition::whole_second,
    difference::{self, Writes},
    fence,
    frozen::{self, Template},
    prune,
    revision::Revision,
};

impl Reconcile for WorkerPool {
    type Status = WorkerPoolStatus;

    const FIELD_MANAGER: &'static str = "orlop-workerpool";
    const CHILDREN: &'static [Kind] = &[Kind::ControllerRevision, Kind::Deployment];

    fn recorded_status(&self) -> Option<&WorkerPoolStatus> {
        self.status.as_ref()
    }

    fn references(&self) -> Vec<ObjectName> {
        vec![
            ObjectName::new(Kind::BrokerTier, &self.spec.source.rabbitmq.broker),
            ObjectName::new(Kind::AppService, &self.spec.handler.http.service),
        ]
    }

    fn secrets(&self) -> Vec<String> {
        let broker = &self.spec.source.rabbitmq.broker;
        vec![broker::auth_name(broker), BindingReference::of(broker).name]
    }

    fn sources(&self, observed: &Observed, settings: &Settings) -> Sources {
        Sources {
            rabbitmq: broker(self, observed, settings),
            workers: workers(observed),
            ..Sources::default()
        }
    }

    fn plan(
        &self,
        observed: &Observed,
        settings: &Settings,
        now: Timestamp,
    ) -> Plan<WorkerPoolStatus> {
        if fence::is_behind(&self.metadata, observed) {
            return Plan::nothing(self.status.clone().unwrap_or_default());
        }
        match validate::validate(self, settings) {
            Ok(pool) => plan(&pool, self.status.as_ref(), observed, now),
            Err(invalid) => status::invalid(self, &invalid, now),
        }
    }

    fn failed(
        &self,
        planned: WorkerPoolStatus,
        failure: &Failure,
        now: Timestamp,
    ) -> WorkerPoolStatus {
        status::failed(self, planned, failure, now)
    }
}

fn broker(object: &WorkerPool, observed: &Observed, settings: &Settings) -> Option<RabbitMqSource> {
    broker::source_of(
        &object.spec.source.rabbitmq.broker,
        object.metadata.namespace.as_deref()?,
        &settings.cluster_domain,
        &observed.secrets,
    )
}

/// Every worker that has an address, those that are stopping among them: they still do jobs.
fn workers(observed: &Observed) -> Option<WorkersSource> {
    let address = |pod: &Pod| -> Option<(String, IpAddr)> {
        let status = pod.status.as_ref()?;
        let runs = status.phase.as_deref() == Some("Running");
        let address = status.pod_ip.as_deref().filter(|_| runs)?;
        Some((pod.metadata.name.clone()?, address.parse().ok()?))
    };
    let mut pods: Vec<_> = observed.pods.iter().filter_map(address).collect();
    pods.sort();
    (!pods.is_empty()).then_some(WorkersSource {
        pods,
        port: HEALTH_PORT,
    })
}

fn plan(
    pool: &ValidatedPool,
    recorded: Option<&WorkerPoolStatus>,
    observed: &Observed,
    now: Timestamp,
) -> Plan<WorkerPoolStatus> {
    let queue = declared_queue(pool, observed);
    let active = recorded.and_then(|status| Revision::parse(status.active_revision.as_deref()?));
    // While the queue's declaration cannot be seen, what runs goes on.
    let revision = queue
        .map(|queue| build::revision(pool, queue))
        .or(active.clone());
    let scaling = recorded.and_then(|status| status.scaling.as_ref());
    let decision = decide(pool, scaling, observed, now);
    let is_recorded = active == revision && scaling == Some(&decision.record);

    let (objects, error) = match objects(pool, revision.as_ref(), queue, &decision, observed) {
        Ok(objects) => (objects, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let recorded_pruning = recorded
        .map(|status| status.pruning.as_slice())
        .unwrap_or_default();
    let pruning = prune::prune(recorded_pruning, &keep(&objects, observed), observed);
    let written = if let Some(error) = error {
        Writes {
            writes: Vec::new(),
            error: Some(error),
        }
    } else if is_recorded {
        difference::writes(
            objects,
            &pruning,
            observed,
            pool.identity.version.as_deref(),
        )
    } else {
        // The decision is recorded first; the next pass acts on it.
        Writes::default()
    };
    let view = View {
        pool,
        queue,
        revision: revision.as_ref(),
        decision: &decision,
        observed,
        error: written.error.as_ref(),
        now,
    };
    status::report(&view, recorded, written.writes, pruning.record)
}

/// As the broker's author declares it.
fn declared_queue<'a>(pool: &ValidatedPool, observed: &'a Observed) -> Option<&'a Queue> {
    let name = Some(pool.broker.as_str());
    let mut brokers = observed.brokers.iter();
    let broker = brokers.find(|broker| broker.metadata.name.as_deref() == name)?;
    let mut queues = broker.spec.rabbitmq.queues.iter();
    queues.find(|queue| queue.name == pool.queue)
}

fn decide(
    pool: &ValidatedPool,
    recorded: Option<&ScalingDecision>,
    observed: &Observed,
    now: Timestamp,
) -> Decision {
    let policy = match &pool.size {
        Size::Scaled(policy) => policy,
        Size::Fixed(replicas) => return fixed(*replicas, pool.concurrency, recorded, now),
    };
    let snapshots = &observed.snapshots;
    let statistics = snapshots.rabbitmq.as_ref();
    let window = statistics
        .and_then(|snapshot| snapshot.answer.as_ref())
        .and_then(|answer| answer.value.history.of(&pool.queue));
    let workers = snapshots.workers.as_ref();
    let workers = workers.and_then(|snapshot| Some(&snapshot.answer.as_ref()?.value));
    let seen = Seen {
        window,
        service_time: workers.and_then(|reading| reading.service_time),
        in_flight: workers.map(Reading::in_flight),
        replicas: observed.deployment(&pool.identity.name).and_then(asked_for),
    };
    scaler::decide(policy, recorded, &seen, now)
}

/// A Deployment that is being deleted asks for nothing any more.
fn asked_for(deployment: &Deployment) -> Option<u32> {
    if deployment.metadata.deletion_timestamp.is_some() {
        return None;
    }
    u32::try_from(deployment.spec.as_ref()?.replicas?).ok()
}

fn fixed(
    replicas: u32,
    concurrency: u16,
    recorded: Option<&ScalingDecision>,
    now: Timestamp,
) -> Decision {
    let desired = i32::try_from(replicas).unwrap_or(i32::MAX);
    let same = recorded
        .filter(|recorded| recorded.desired == desired && recorded.reason == ScalingReason::Fixed);
    let record = same.cloned().unwrap_or_else(|| ScalingDecision {
        desired,
        reason: ScalingReason::Fixed,
        ready: None,
        unacknowledged: None,
        backlog: None,
        arrivals_per_second: None,
        utilisation_percent: None,
        drain_within: None,
        service_time: None,
        service_time_from: None,
        concurrency: concurrency.into(),
        decided_at: Time(whole_second(now)),
    });
    Decision {
        record,
        sight: Sight::Clear,
        wake_at: None,
    }
}

/// None while nothing is known of what is to run.
fn objects(
    pool: &ValidatedPool,
    revision: Option<&Revision>,
    queue: Option<&Queue>,
    decision: &Decision,
    observed: &Observed,
) -> Result<Vec<Object>, serde_json::Error> {
    let Some(revision) = revision else {
        return Ok(Vec::new());
    };
    let kept = Template::kept(&build::revision_name(pool, revision), observed);
    let template = match (kept, queue) {
        (Some(kept), _) => Some(kept),
        (None, Some(queue)) => {
            let pod = build::pod_template(pool, revision, queue)?;
            Some(Template::new(pod, observed))
        }
        (None, None) => Template::running(&pool.identity.name, observed),
    };
    let replicas = decision.record.desired;
    Ok(template
        .map(|template| build::objects(pool, revision, &template, replicas))
        .unwrap_or_default())
}

/// What is wanted now, and the newest kept revisions; everything while nothing is known.
fn keep(objects: &[Object], observed: &Observed) -> BTreeSet<ObjectName> {
    if objects.is_empty() {
        return observed.children.iter().map(Object::name).collect();
    }
    let wanted = objects.iter().map(Object::name);
    wanted.chain(frozen::history(observed)).collect()
}

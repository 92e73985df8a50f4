//! WorkerPool: workers on one queue, as many as the queue asks for.

mod build;
mod reading;
pub mod scaler;
mod sight;
mod status;
mod validate;
mod window;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::Time,
};
use orlop_contract::HEALTH_PORT;
use orlop_crds::{
    BindingReference, WorkerPool, WorkerPoolStatus,
    broker_tier::Queue,
    release::{Pace, ReleaseRecord},
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
    release::{self, Policy, Wanted},
    revision::Revision,
};

/// Beyond the time that a worker has to end: for the kubelet, and for its node to tell.
const STOP_MARGIN_SECS: u64 = 30;

impl Reconcile for WorkerPool {
    type Status = WorkerPoolStatus;

    const FIELD_MANAGER: &'static str = "orlop-workerpool";
    const CHILDREN: &'static [Kind] = &[Kind::ControllerRevision, Kind::Deployment];

    fn recorded_status(&self) -> Option<&WorkerPoolStatus> {
        self.status.as_ref()
    }

    fn releases(status: &WorkerPoolStatus) -> Option<&ReleaseRecord> {
        Some(&status.record)
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
    let known = release::forget_words(&pool.record);
    let active = known.active_revision.as_deref().and_then(Revision::parse);
    // While the queue's declaration cannot be seen, what runs goes on.
    let declared = queue
        .map(|queue| build::revision(pool, queue))
        .or(active.clone());
    let scaling = recorded.and_then(|status| status.scaling.as_ref());
    let decision = decide(pool, scaling, observed, now);
    let recorded_pruning = recorded
        .map(|status| status.pruning.as_slice())
        .unwrap_or_default();
    let policy = Policy::of_workers(&pool.release, stop(pool));
    let release = declared.as_ref().map(|declared| {
        let wanted = Wanted {
            revision: declared.clone(),
            replicas: decision.record.desired,
            policy: policy.clone(),
            command: pool.command.clone(),
        };
        let seen = sight::seen(pool, observed, active.as_ref(), recorded_pruning);
        release::step(&wanted, &seen, &known, now)
    });
    let record = release.as_ref().map_or(&known, |release| &release.record);
    let is_recorded = *record == known && scaling == Some(&decision.record);

    let (objects, error) = match objects(pool, queue, release.as_ref(), observed) {
        Ok(objects) => (objects, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let keep = keep(pool, &objects, observed);
    let pruning = prune::prune(recorded_pruning, &keep, observed);
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
        declared: declared.as_ref(),
        record,
        policy: &policy,
        decision: &decision,
        observed,
        error: written.error.as_ref(),
        now,
    };
    let wake_at = release.as_ref().and_then(|release| release.wake_at);
    status::report(&view, recorded, written.writes, pruning.record, wake_at)
}

/// How long the workers of a revision may take to end. Those of a node that is lost are not waited
/// for any longer.
fn stop(pool: &ValidatedPool) -> SignedDuration {
    let secs = build::stop_secs(pool).saturating_add(STOP_MARGIN_SECS);
    SignedDuration::from_secs(i64::try_from(secs).unwrap_or(i64::MAX))
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
        // While one revision takes over from another, both are asked for as many.
        replicas: observed.deployments().filter_map(asked_for).max(),
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

/// Nothing while nothing is known of what is to run.
fn objects(
    pool: &ValidatedPool,
    queue: Option<&Queue>,
    release: Option<&release::Decision>,
    observed: &Observed,
) -> Result<Vec<Object>, serde_json::Error> {
    let Some(release) = release else {
        return Ok(Vec::new());
    };
    let mut templates = BTreeMap::new();
    for revision in release.run.keys() {
        if let Some(template) = template(pool, revision, queue, observed)? {
            templates.insert(revision.clone(), template);
        }
    }
    Ok(build::objects(pool, &templates, &release.run))
}

/// The frozen template of a revision that is to run. One of which nothing is left but its name
/// cannot run any more.
fn template(
    pool: &ValidatedPool,
    revision: &Revision,
    queue: Option<&Queue>,
    observed: &Observed,
) -> Result<Option<Template>, serde_json::Error> {
    let name = build::revision_name(pool, revision);
    if let Some(kept) = Template::kept(&name, observed) {
        return Ok(Some(kept));
    }
    if let Some(queue) = queue.filter(|queue| build::revision(pool, queue) == *revision) {
        let pod = build::pod_template(pool, revision, queue)?;
        return Ok(Some(Template::new(&name, pod, observed)));
    }
    Ok(Template::running(&name, observed))
}

/// What is wanted now, and the newest kept revisions; everything while nothing is known.
fn keep(pool: &ValidatedPool, objects: &[Object], observed: &Observed) -> BTreeSet<ObjectName> {
    if objects.is_empty() {
        return observed.children.iter().map(Object::name).collect();
    }
    let previous =
        release::previous(&pool.record).map(|revision| build::revision_name(pool, &revision));
    let most = pool.release.history.unwrap_or(Pace::DEFAULT_HISTORY);
    let history = frozen::history(observed, most, previous);
    objects.iter().map(Object::name).chain(history).collect()
}

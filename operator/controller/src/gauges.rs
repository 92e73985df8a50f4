//! Gauges that are read off when somebody asks.

use std::{
    fmt::{self, Debug},
    sync::Arc,
};

use orlop_crds::release::ReleasePhase;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet},
    metrics::MetricType,
};

use crate::{
    cache::{Caches, Queues},
    metrics::{KindLabel, QueueLabels},
    primary::{Primary, PrimaryKind},
    queue::Snapshot,
};

/// Depth and ages of the queues, and how many objects there are and are ready.
#[derive(Debug)]
pub(crate) struct Gauges {
    pub(crate) caches: Arc<Caches>,
    pub(crate) queues: Arc<Queues>,
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let labelled = |kind: &PrimaryKind| {
            let snapshot = self.queues.of(*kind).snapshot();
            (QueueLabels::new(kind.controller()), snapshot)
        };
        let snapshots: Vec<_> = PrimaryKind::ALL.iter().map(labelled).collect();
        let mut queue = |name: &str, help: &str, value: fn(&Snapshot) -> f64| {
            family(
                &mut encoder,
                name,
                help,
                snapshots.iter().map(|(labels, it)| (*labels, value(it))),
            )
        };
        queue("workqueue_depth", "Objects that wait for a pass", |it| {
            count(it.depth)
        })?;
        queue(
            "workqueue_unfinished_work_seconds",
            "Age of all passes under way together",
            |it| it.unfinished.as_secs_f64(),
        )?;
        queue(
            "workqueue_longest_running_processor_seconds",
            "Age of the oldest pass under way",
            |it| it.longest.as_secs_f64(),
        )?;
        let objects = [
            self.counts::<orlop_crds::AppPlatform>(),
            self.counts::<orlop_crds::AppService>(),
            self.counts::<orlop_crds::BrokerTier>(),
            self.counts::<orlop_crds::CacheTier>(),
            self.counts::<orlop_crds::DatabaseTier>(),
            self.counts::<orlop_crds::WorkerPool>(),
        ];
        let all = objects.clone().map(|(kind, all, _)| (kind, all));
        family(&mut encoder, "orlop_objects", "Objects that exist", all)?;
        let ready = objects.map(|(kind, _, ready)| (kind, ready));
        family(
            &mut encoder,
            "orlop_object_ready",
            "Objects that are ready",
            ready,
        )?;
        let phases = self
            .phases::<orlop_crds::AppService>()
            .chain(self.phases::<orlop_crds::WorkerPool>());
        family(
            &mut encoder,
            "orlop_release_phase",
            "Releases that are in a phase",
            phases,
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    kind: &'static str,
    phase: &'static str,
}

impl Gauges {
    fn phases<P: Primary>(&self) -> impl Iterator<Item = (PhaseLabels, f64)> {
        let is_in = |object: &P, phase| {
            let record = object.recorded_status().and_then(P::releases);
            let release = record.and_then(|record| record.release.as_ref());
            release.is_some_and(|release| release.phase == phase)
        };
        ReleasePhase::ALL.into_iter().map(move |phase| {
            let labels = PhaseLabels {
                kind: P::KIND.as_str(),
                phase: phase.as_str(),
            };
            let store = P::store(&self.caches);
            (labels, count(store.count(|object| is_in(object, phase))))
        })
    }

    fn counts<P: Primary>(&self) -> (KindLabel, f64, f64) {
        let store = P::store(&self.caches);
        let label = KindLabel {
            kind: P::KIND.as_str().to_owned(),
        };
        (
            label,
            count(store.count(|_| true)),
            count(store.count(P::is_ready)),
        )
    }
}

fn family<L: EncodeLabelSet, V: EncodeGaugeValue + Debug>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (L, V)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        family.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

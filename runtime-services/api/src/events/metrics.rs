//! How the outbox fares, in numbers.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
};

#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Confirmed by the broker and deleted.
    pub(super) published: Counter,
    /// Confirmed, or perhaps stored, but not deleted: published again under the same message id.
    pub(super) unsettled: Counter,
    /// Returned or refused by the broker; tried again later.
    pub(super) refused: Counter,
    pub(super) rows: Gauge,
    pub(super) oldest: Gauge<f64, AtomicU64>,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "orlop_api_events_published",
            "Events that the broker has confirmed",
            metrics.published.clone(),
        );
        registry.register(
            "orlop_api_events_unsettled",
            "Events that will be published again under the same message id, because a confirm or a deletion was lost",
            metrics.unsettled.clone(),
        );
        registry.register(
            "orlop_api_events_refused",
            "Events that the broker did not take: the queue is missing or full",
            metrics.refused.clone(),
        );
        registry.register(
            "orlop_api_outbox_rows",
            "Events that wait for the broker, counted up to 10,001",
            metrics.rows.clone(),
        );
        registry.register_with_unit(
            "orlop_api_outbox_oldest_age",
            "How long the oldest event has waited",
            Unit::Seconds,
            metrics.oldest.clone(),
        );
        metrics
    }
}

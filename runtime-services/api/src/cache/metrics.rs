//! What the cache is good for, in numbers.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::row::{Bypass, Lookup};

#[derive(Clone, Debug, Default)]
pub struct Metrics {
    reads: Family<ReadLabels, Counter>,
    writes: Family<WriteLabels, Counter>,
    errors: Counter,
    pub(super) trusted: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadLabels {
    result: ReadResult,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
enum ReadResult {
    Hit,
    Unverified,
    Miss,
    Collapsed,
    Untrusted,
    Unreachable,
    Busy,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    result: WriteResult,
}

/// How a write made itself known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(super) enum WriteResult {
    /// The cache has confirmed.
    Settled,
    /// By turning the trust off, or finding it off.
    Waited,
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "orlop_api_cache_reads",
            "Reads of cacheable rows by where they were answered from",
            metrics.reads.clone(),
        );
        registry.register(
            "orlop_api_cache_writes",
            "Writes of cacheable rows by how the cache was told",
            metrics.writes.clone(),
        );
        registry.register(
            "orlop_api_cache_errors",
            "Commands that the cache did not answer as it should",
            metrics.errors.clone(),
        );
        registry.register(
            "orlop_api_cache_trusted",
            "Whether rows may be served from the cache",
            metrics.trusted.clone(),
        );
        metrics
    }

    pub(super) fn read(&self, lookup: Lookup) {
        let result = match lookup {
            Lookup::Hit => ReadResult::Hit,
            Lookup::Unverified => ReadResult::Unverified,
            Lookup::Miss { .. } => ReadResult::Miss,
            Lookup::Collapsed => ReadResult::Collapsed,
            Lookup::Bypass(Bypass::Untrusted) => ReadResult::Untrusted,
            Lookup::Bypass(Bypass::Unreachable) => ReadResult::Unreachable,
            Lookup::Bypass(Bypass::Busy) => ReadResult::Busy,
        };
        self.reads.get_or_create(&ReadLabels { result }).inc();
    }

    pub(super) fn written(&self, result: WriteResult) {
        self.writes.get_or_create(&WriteLabels { result }).inc();
    }

    pub(super) fn failed(&self) {
        self.errors.inc();
    }
}

//! What is running, as a metric.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    binary: &'static str,
    version: &'static str,
}

/// Registers `orlop_build_info{binary,version} 1`.
pub fn register(registry: &mut Registry, binary: &'static str, version: &'static str) {
    let info = Family::<Labels, Gauge>::default();
    info.get_or_create(&Labels { binary, version }).set(1);
    registry.register(
        "orlop_build_info",
        "Always 1: its labels say what is running",
        info,
    );
}

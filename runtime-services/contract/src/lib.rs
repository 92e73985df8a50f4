//! What the operator and the runtimes that it deploys agree on: configuration, names, ports, headers.
//!
//! This crate knows no client and no Kubernetes.

pub mod api;
pub mod queue;
pub mod types;
pub mod worker;

/// Every runtime serves health, readiness and metrics here, beside its own work.
pub const HEALTH_PORT: u16 = 9090;

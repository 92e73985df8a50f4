//! The harness of the suites: what a test against the live three-zone cluster needs.
//!
//! A test runs in a namespace of its own ([`in_namespace`]), writes what a developer would write,
//! and asserts the state of the world: objects, answers through the edge, the API server's audit
//! log, the operator's own figures. Waiting is polling with a deadline ([`eventually`]); a sleep
//! appears only as an *observation window*, where the passing of time is what is tested.
//!
//! Test binaries run one after another, the tests inside one side by side. What disturbs the
//! operator or a zone is therefore in a binary of its own, or waits for [`Quiet::disturb`].

mod apply;
mod audit;
mod barge;
mod cluster;
mod eventually;
mod http;
mod load;
mod metrics;
mod namespace;
mod objects;
mod operator;
pub mod process;
mod quiet;
mod ready;

pub use apply::{documents, fixture, with};
pub use audit::{AuditLog, Write};
pub use barge::Barge;
pub use cluster::{Cluster, ZoneFault, built};
pub use eventually::{eventually, observe_for};
pub use http::{Answer, get, send};
pub use load::{Load, Outcome, Report};
pub use metrics::{Histogram, Metrics};
pub use namespace::{TestNamespace, in_namespace};
pub use objects::{Identity, differences, made, normalised};
pub use operator::{OPERATOR_NAMESPACE, Operator};
pub use quiet::Quiet;
pub use ready::{Verdict, edge_address, ready, ready_object, verdict, verdict_of};

/// Prints a measured figure, for the log and for the documents made from it.
pub fn figure(name: &str, value: impl std::fmt::Display, unit: &str) {
    println!("figure: {name} {value} {unit}");
}

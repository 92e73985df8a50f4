//! The Kubernetes side of the operator: observe, act, report.
//!
//! Data flows one way: watches fill the [caches](cache) and put the objects that a change concerns
//! into [queues](queue); an [engine] a kind takes them from there, [observes](observe) their world
//! from the caches, lets `orlop-plan` decide, [acts](act) and [reports](report).
//!
//! Nothing is decided here: an `if` on a spec belongs into `orlop-plan`.

mod act;
mod action;
mod answer;
mod args;
mod budget;
mod cache;
mod causes;
mod client;
mod connection;
mod engine;
mod expectation;
#[cfg(test)]
mod fake;
mod gauges;
mod key;
mod lease;
mod metrics;
mod observe;
mod operator;
mod pollers;
mod primary;
mod questions;
mod queue;
mod rabbitmq;
mod refusals;
mod releases;
mod report;
mod valkey;
mod workers;

pub use args::Args;
pub use operator::Operator;

//! The simulator: the real plans run against a simulated Kubernetes in which anything may go wrong
//! at any write. Everything follows from one number, so a run that breaks a rule can be repeated:
//! `ORLOP_SIM_SEED=<seed> cargo test -p orlop-plan --test simulator`.

// Outside of functions marked as tests, clippy does not know that this is one.
#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::panic,
    clippy::expect_used
)]

mod cluster;
mod declare;
mod ending;
mod endpoints;
mod exhaustive;
mod faults;
mod invariants;
mod merge;
mod operator;
mod people;
mod questions;
mod random;
mod report;
mod seed;
mod simulation;
mod snapshot;
mod stories;
mod world;

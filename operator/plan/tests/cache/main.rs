//! The simulator of caches: the real state machine against simulated Valkey nodes, while pods die,
//! zones are cut, volumes are lost and the operator crashes. Everything follows from one number, so
//! a run that breaks a rule can be repeated:
//! `ORLOP_SIM_SEED=<seed> cargo test -p orlop-plan --test cache`.

// Outside of functions marked as tests, clippy does not know that this is one.
#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::panic,
    clippy::expect_used
)]

mod commands;
mod gossip;
mod node;
mod operator;
mod random;
#[path = "../simulator/seed.rs"]
mod seed;
mod stories;
mod world;

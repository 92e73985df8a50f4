//! The scaler against a simulated queue, its broker, its workers and an operator that may end at any
//! write. Everything follows from one number, so a run that breaks a rule can be repeated:
//! `ORLOP_SIM_SEED=<seed> cargo test -p orlop-plan --test scaler`.

// Outside of functions marked as tests, clippy does not know that this is one.
#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::panic,
    clippy::expect_used
)]

mod formula;
mod operator;
mod random;
mod rules;
#[path = "../simulator/seed.rs"]
mod seed;
mod simulation;
mod stories;
mod world;

use jiff::Timestamp;

/// Milliseconds since the run began.
pub(crate) type Millis = i64;

pub(crate) fn at(now: Millis) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + now).unwrap()
}

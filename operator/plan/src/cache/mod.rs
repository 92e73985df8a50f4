//! CacheTier: a Valkey Cluster of `shards x (1 + replicasPerShard)` nodes, each a StatefulSet of one
//! pod.

pub mod action;
pub mod cause;
mod formation;
pub mod machine;
pub mod reading;
pub mod shape;
pub mod slots;
mod topology;

pub use action::Action;
pub use cause::Cause;
pub use machine::{Step, is_still_due, step};
pub use reading::Reading;
pub use shape::{Formation, Shape, ZoneRule};

//! Logs, metrics, health and shutdown: once for every binary.
//!
//! A binary parses its arguments, calls [`logs::init`] and [`shutdown::on_signal`], registers its
//! metrics in a [`prometheus_client::registry::Registry`] and serves them with [`Server`], along
//! with the answers of [`Health`].

pub mod build;
pub mod health;
pub mod logs;
pub mod process;
mod server;
pub mod shutdown;
pub mod trace;

pub use health::Health;
pub use server::{Server, ServerError};

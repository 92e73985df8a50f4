//! BrokerTier: RabbitMQ, and what is declared on it.

pub mod action;
pub mod reading;
mod topology;

pub use action::Action;
pub use reading::{QueueStatistics, Reading};

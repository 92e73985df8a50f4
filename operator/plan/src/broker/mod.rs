//! BrokerTier: RabbitMQ, and what is declared on it.

pub mod reading;

pub use reading::{QueueStatistics, Reading};

/// The virtual host that holds everything of an application.
pub const VHOST: &str = "orlop";

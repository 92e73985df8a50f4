//! WorkerPool: workers on one queue, as many as the queue asks for.

mod reading;
pub mod scaler;
mod window;

pub use reading::{Measurements, PodStatistics, Reading};
pub use window::{Now, STALE_AFTER, Sample, Window, Windows};

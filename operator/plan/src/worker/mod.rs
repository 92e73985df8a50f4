//! WorkerPool: workers on one queue, as many as the queue asks for.

mod reading;
pub mod scaler;
mod window;

pub use reading::{Reading, Worker};
pub use window::{History, Now, STALE_AFTER, Sample, Window};

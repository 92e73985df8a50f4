//! The API runtime: declared types as REST over PostgreSQL.
//!
//! Data flows one way: a request becomes checked values (`request`), those become one SQL text with
//! its parameters (`sql`, both pure), the database answers with JSON text (`store`), which is passed
//! through to the client (`http`). `service` starts and ends all of it.

pub mod cache;
pub mod config;
pub mod events;
#[cfg(test)]
mod fixture;
mod http;
mod member;
mod metrics;
mod openapi;
mod request;
mod service;
mod sql;
mod store;
mod value;

pub use service::Service;

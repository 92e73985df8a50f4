//! The API runtime: declared types as REST over PostgreSQL.
//!
//! Data flows one way: a request becomes checked values (`request`), those become one SQL text with
//! its parameters (`sql`, both pure), the database answers with JSON text (`store`), which is passed
//! through to the client (`http`).

pub mod cache;
pub mod config;
pub mod events;
#[cfg(test)]
mod fixture;
mod member;
mod request;
mod sql;
mod value;

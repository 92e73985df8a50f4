//! The API over HTTP against a real PostgreSQL.
//!
//! ```text
//! cargo test -p orlop-api --test rest -- --ignored
//! ```

#![allow(clippy::unwrap_used, clippy::panic)]

mod cached;
mod client;
mod crud;
mod faults;
mod harbour;
mod lists;
mod migrations;
mod nonsense;
mod processes;
mod races;
#[path = "../support/mod.rs"]
mod support;

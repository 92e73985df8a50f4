//! Jobs for other programs: published if and only if the change that they tell of is committed.
//!
//! An event is a row of `orlop_outbox`, inserted in the transaction of the change. A relay publishes
//! the rows in their order and deletes each after the broker has confirmed that it is stored. Every
//! replica runs a relay; a lock in the database lets one work at a time. Who has committed wakes its
//! own relay; what a process left behind that died first is found by a slow poll. (No `NOTIFY`: it
//! serialises the commits of all transactions that use it.)
//!
//! # What is promised
//!
//! - **None missing.** A row is deleted only after its message was confirmed by a durable queue:
//!   persistent, mandatory, with confirms. While the broker is away the rows wait.
//! - **None extra.** A rolled-back change has no row, and whatever is published had one.
//! - **In order per row.** Events of one row reach their queue in the order of its changes: while
//!   one is on its way, or waits, the later ones of the same row wait behind it.
//! - **Twice only with the same message id.** A relay that dies, or loses the broker or the
//!   database, between a confirm and the deletion publishes up to [`BATCH_MAX`] messages again
//!   under the same ids. No order of the two steps avoids it, because broker and database commit
//!   separately. Consumers tell them by the `message-id` property, which `orlop-worker` passes on
//!   as `Idempotency-Key`.
//!
//! Rejected: asking the broker after a crash which ids it has (a queue cannot be asked for what was
//! already consumed); a second queue that takes a copy of each message as a witness (it may take
//! the copy while the real queue refuses the message, which turns a duplicate into a loss).

mod metrics;
mod publisher;
mod relay;

use serde_json::Value;
use tokio_postgres::{Error, Transaction, types::Type};
use uuid::Uuid;

pub use metrics::Metrics;
pub use publisher::BrokerError;
pub use relay::{BATCH_MAX, Relay, Waker};

/// The table, made by the migrations.
pub const SCHEMA: &str = "
create table if not exists orlop_outbox (
    position bigint generated always as identity primary key,
    id uuid not null,
    queue text not null,
    subject text not null,
    body text not null,
    trace text,
    created timestamptz not null default now()
);
";

const INSERT: &str = "insert into orlop_outbox (id, queue, subject, body, trace)
    values ($1, $2, $3, $4, $5)";

/// What is to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// Queue that it goes to.
    pub queue: String,
    /// Row that it tells of, `<table>:<id>`: events of one subject stay in order.
    pub subject: String,
    pub body: Value,
    /// `traceparent` of the request, after W3C Trace Context.
    pub traceparent: Option<String>,
}

/// Comes after the change of the row in its transaction: the row's lock is what keeps the events
/// of one row in order. [`Waker::wake`] comes after the commit. Returns the message id.
///
/// # Errors
/// When the database fails.
pub async fn insert(transaction: &Transaction<'_>, event: &NewEvent) -> Result<Uuid, Error> {
    let id = Uuid::now_v7();
    let body = event.body.to_string();
    transaction
        .query_typed(
            INSERT,
            &[
                (&id, Type::UUID),
                (&event.queue, Type::TEXT),
                (&event.subject, Type::TEXT),
                (&body, Type::TEXT),
                (&event.traceparent, Type::TEXT),
            ],
        )
        .await?;
    Ok(id)
}

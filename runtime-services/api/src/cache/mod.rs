//! Rows in a cache, never older than what was acknowledged.
//!
//! **Promise.** A read that starts after a write of the same row was acknowledged, by whichever
//! process, returns that write or a later one; also when the cache is away, restarts, fails over,
//! loses its last writes (with `appendfsync everysec`: a second's), and when any process is killed
//! between any two steps. And a row that was committed by a process that died before it could
//! acknowledge is hidden for no longer than an intent lives.
//!
//! # Protocol
//!
//! The cache is trusted in *epochs*. One row of the database, `orlop_cache_trust`, says whether an
//! epoch is on; a process relies on what it read there for a *lease* of a second.
//!
//! - **Read.** Only under a lease. A key holds a row, or the lease of a reader that loads it, or
//!   the intents of writers; all change by one script (`cell.lua`). On a miss the reader leaves
//!   its token, loads from the primary, and stores the row only if the token still stands.
//! - **Write.** In the transaction, under a shared lock and before any change: read the trust,
//!   leave an intent at each key (nothing is stored while one stands). Commit. Remove the intent
//!   and whatever else is there. Acknowledge.
//! - **The cache does not confirm the intent:** the transaction itself turns the trust off, so it
//!   is off if and only if the change commits. **It does not confirm the removal:** a statement
//!   turns the trust off. Either way the writer waits until every lease has ended, then
//!   acknowledges. While the trust is off, writes leave the cache alone and wait no longer.
//! - **The cache forgets.** The epoch stands in the script's text, and scripts are neither
//!   persisted nor replicated (Redis 7, Valkey): a node that restarted or was promoted answers
//!   NOSCRIPT, and whoever hears that turns the trust off.
//! - **On again.** A process that has seen the trust off for longer than a lease loads the script
//!   of a new, random epoch on every primary and then turns it on, under the exclusive lock.
//!
//! # Why it holds
//!
//! Let a read start after the acknowledgement of write `w` at version `v`. Had it returned less, it
//! hit a row stored in its epoch `e` by a fill whose load began before `w` committed.
//!
//! 1. `w` settled in `e`. The node that confirmed is one that has known the script since `e` began
//!    and so has forgotten nothing. The fill's token was older than the commit; the intent, or else
//!    the removal, replaced it or its row: the fill stored nothing that outlived the removal.
//! 2. `w` settled in another epoch `d`. If `d` came before `e`, then `e` was turned on under the
//!    exclusive lock after `w` committed, so every load in `e` sees `w`. If `d` came after `e`, the
//!    trust in `e` was off for longer than a lease before `d` began, so no lease in `e` was left
//!    when the read started.
//! 3. `w` did not settle. Then it waited, from a moment at which the trust was off, until the
//!    leases of all processes had ended. The read's lease is newer, so its epoch is, and 2 applies.
//!
//! Assumed: clocks run at the same rate within a third (`GRACE` over `LEASE`) and are not stopped
//! by a suspended machine; a node is not demoted and promoted again within 250 ms, in which no
//! process looks; an intent is not evicted while its writer dies (only the second promise needs
//! that); nobody runs `FLUSHALL`, loads our scripts or writes our keys by hand.
//!
//! `tests/cache_protocol` visits every interleaving of a small world with these faults, and finds
//! each flaw that is put in. Rejected: comparing versions when storing, which stops the race but
//! not a cache that is away during a write or forgets one; replaying lost invalidations from an
//! outbox, which leaves old rows to be served until the replay.
//!
//! **When the database cannot be asked**, the last rows known are served and said to be unverified:
//! nobody who needs the same database can acknowledge a write meanwhile.

mod flight;
mod intent;
mod keeper;
mod link;
mod metrics;
pub mod protocol;
mod row;
pub mod script;
mod trust;

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use deadpool_postgres::Pool;
use tokio_util::sync::CancellationToken;

use flight::{Flight, Flights};
use link::{CallError, Link};
use protocol::Layout;
use script::{Operation, Reply, Script, Token};
use trust::View;

pub use intent::Intent;
pub use link::{Address, LinkError};
pub use metrics::Metrics;
pub use row::{Bypass, Key, Lookup, Row};
pub use script::Shape;
pub use trust::SCHEMA;

/// How long a reader waits for the cache before it asks the database.
const READ: Duration = Duration::from_millis(50);

/// The cache of this process; clones are the same one.
#[derive(Clone, Debug)]
pub struct Cache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    link: Option<Arc<Link>>,
    layout: Layout,
    view: View,
    flights: Flights,
    metrics: Metrics,
}

impl Cache {
    /// Without an address nothing is cached, but writes still tell revisions that do.
    ///
    /// `layout` is everything that decides which row lies under which key, in a fixed order:
    /// names of the cached types with their prefixes.
    pub fn new<'a>(
        address: Option<Address>,
        layout: impl IntoIterator<Item = (&'a str, &'a str)>,
        metrics: Metrics,
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        for entry in layout {
            entry.hash(&mut hasher);
        }
        address.is_some().hash(&mut hasher);
        let layout = Layout(hasher.finish());
        let shared = Shared {
            link: address.map(|address| Arc::new(Link::new(address))),
            layout,
            view: View::new(layout),
            flights: Flights::default(),
            metrics,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Keeps the connection and the trust until told to stop. Uses one connection of the pool, four
    /// times a second: one that requests do not use up.
    pub async fn run(&self, database: Pool, stop: CancellationToken) {
        match &self.shared.link {
            Some(link) => keeper::run(self.shared.clone(), link.clone(), database, stop).await,
            None => stop.cancelled().await,
        }
    }

    /// The row, from the cache or by `load`, which reads the primary in a snapshot of its own.
    ///
    /// # Errors
    /// Those of `load`, when the cache does not have the row either.
    pub async fn read<E>(
        &self,
        key: &Key,
        ttl: Duration,
        shape: Shape,
        load: impl Future<Output = Result<Option<Row>, E>>,
    ) -> Result<(Option<Row>, Lookup), E> {
        let (row, lookup) = match self.ask(key, shape).await {
            Answer::Row(row) => (Some(row), Lookup::Hit),
            Answer::Lease(script, flight) => match self.load(key, shape, load).await? {
                Loaded::Fresh(row) => {
                    let way = (ttl, shape);
                    let stored = self.fill(&script, key, way, flight, row.as_ref()).await;
                    (row, Lookup::Miss { stored })
                }
                Loaded::Unverified(row) => (Some(row), Lookup::Unverified),
            },
            Answer::Held(token) => match self.shared.flights.join(token).await {
                Some(row) => (row, Lookup::Collapsed),
                None => self.bypass(key, shape, load, Bypass::Busy).await?,
            },
            Answer::None(reason) => self.bypass(key, shape, load, reason).await?,
        };
        self.shared.metrics.read(lookup);
        Ok((row, lookup))
    }

    async fn bypass<E>(
        &self,
        key: &Key,
        shape: Shape,
        load: impl Future<Output = Result<Option<Row>, E>>,
        reason: Bypass,
    ) -> Result<(Option<Row>, Lookup), E> {
        Ok(match self.load(key, shape, load).await? {
            Loaded::Fresh(row) => (row, Lookup::Bypass(reason)),
            Loaded::Unverified(row) => (Some(row), Lookup::Unverified),
        })
    }

    async fn ask(&self, key: &Key, shape: Shape) -> Answer {
        let Some(script) = self.shared.view.lease() else {
            return Answer::None(Bypass::Untrusted);
        };
        let token = Token::random();
        let flight = self.shared.flights.depart(token);
        let operation = Operation::Ask { token, shape };
        match self.call(&script, key, &operation, READ).await {
            Ok(Reply::Hit(payload)) => match Row::decode(&payload) {
                Some(row) => Answer::Row(row),
                None => Answer::None(Bypass::Unreachable),
            },
            Ok(Reply::Granted) => Answer::Lease(script, flight),
            Ok(Reply::Held(holder)) => Answer::Held(holder),
            Ok(Reply::Written) => Answer::None(Bypass::Busy),
            Err(CallError::Forgotten) => Answer::None(Bypass::Untrusted),
            Ok(Reply::Stored | Reply::None) | Err(_) => Answer::None(Bypass::Unreachable),
        }
    }

    /// From the database; when it fails, what the cache has.
    async fn load<E>(
        &self,
        key: &Key,
        shape: Shape,
        load: impl Future<Output = Result<Option<Row>, E>>,
    ) -> Result<Loaded, E> {
        let error = match load.await {
            Ok(row) => return Ok(Loaded::Fresh(row)),
            Err(error) => error,
        };
        let Some(script) = self.shared.view.script(None) else {
            return Err(error);
        };
        let peek = Operation::Peek { shape };
        let Ok(Reply::Hit(payload)) = self.call(&script, key, &peek, READ).await else {
            return Err(error);
        };
        Row::decode(&payload).map(Loaded::Unverified).ok_or(error)
    }

    /// Absence is not stored: a row that is created later would have to be told of.
    async fn fill(
        &self,
        script: &Script,
        key: &Key,
        (ttl, shape): (Duration, Shape),
        flight: Flight,
        row: Option<&Row>,
    ) -> bool {
        let token = flight.token();
        flight.land(row.cloned());
        let Some(row) = row else {
            return false;
        };
        let payload = row.encode();
        let operation = Operation::Fill {
            token,
            ttl,
            shape,
            payload: &payload,
        };
        matches!(
            self.call(script, key, &operation, READ).await,
            Ok(Reply::Stored)
        )
    }

    async fn call(
        &self,
        script: &Script,
        key: &Key,
        operation: &Operation<'_>,
        deadline: Duration,
    ) -> Result<Reply, CallError> {
        let link = self.shared.link.as_ref().ok_or(CallError::Open)?;
        let result = link.call(script.call(key, operation), deadline).await;
        if let Err(CallError::Forgotten) = result {
            self.shared.view.lose(script.epoch);
        }
        if result.is_err() {
            self.shared.metrics.failed();
        }
        Reply::parse(result?).ok_or(CallError::Strange)
    }

    fn is_usable(&self) -> bool {
        self.shared
            .link
            .as_ref()
            .is_some_and(|link| link.is_usable())
    }
}

enum Loaded {
    Fresh(Option<Row>),
    Unverified(Row),
}

/// What the cache says to a reader.
enum Answer {
    Row(Row),
    /// It may store what it loads, and other readers of this process wait for it.
    Lease(Arc<Script>, Flight),
    Held(Token),
    None(Bypass),
}

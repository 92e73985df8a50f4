//! Whether the cache is trusted: one row of the database, known to each process for the length of
//! a lease.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future;
use tokio::time::Instant;
use tokio_postgres::{Error, GenericClient, types::Type};

use super::{
    protocol::{Epoch, Layout, Trust},
    script::Script,
};

/// The table, made by the migrations.
pub const SCHEMA: &str = "
create table if not exists orlop_cache_trust (
    single boolean primary key check (single),
    epoch bigint not null,
    trusted boolean not null,
    layout bigint not null,
    hold_seconds integer not null,
    changed timestamptz not null
);
insert into orlop_cache_trust values (true, 0, false, 0, 0, now()) on conflict do nothing;
";

/// How long a process relies on the trust after it began to ask for it. A writer that the cache
/// fails waits this long, once in an outage.
pub(super) const LEASE: Duration = Duration::from_secs(1);
/// How long one waits for the leases of all processes to end: longer by what clocks of two
/// machines may differ in their rates, with a large margin.
pub(super) const GRACE: Duration = Duration::from_millis(1500);

/// Writers share it, whoever turns the trust on has it alone. By schema, because several APIs may
/// live in one database.
const LOCK_KEY: &str = "hashtextextended(current_schema() || '.orlop_cache_trust', 0)";
/// `rested` is whether the trust may be turned on again.
const READ: &str = "select epoch, trusted, layout,
    clock_timestamp() - changed >= hold_seconds * interval '1 second' as rested
    from orlop_cache_trust";
/// A trust that lasted less than ten seconds is held off for twice as long as the one before, up to
/// half a minute: a process that cannot reach the cache must not make writes wait again and again.
const REVOKE: &str = "update orlop_cache_trust set trusted = false,
    hold_seconds = case when clock_timestamp() - changed < interval '10 seconds'
        then least(hold_seconds * 2 + 1, 30) else 1 end,
    changed = clock_timestamp()
    where trusted and epoch = $1";
const RENEW: &str = "update orlop_cache_trust set trusted = true, epoch = $2, layout = $3,
    changed = clock_timestamp()
    where not trusted and epoch = $1";

/// Takes the shared lock until the end of the transaction, then reads: in this order, by two
/// statements, because the second one must see what was committed while the first one waited.
pub(super) async fn read_for_write(transaction: &impl GenericClient) -> Result<Trust, Error> {
    let lock = format!("select pg_advisory_xact_lock_shared({LOCK_KEY})");
    let (_, (trust, _)) =
        future::try_join(transaction.query_typed(&lock, &[]), read(transaction)).await?;
    Ok(trust)
}

/// The trust, and whether it may be turned on again.
pub(super) async fn read(client: &impl GenericClient) -> Result<(Trust, bool), Error> {
    let rows = client.query_typed(READ, &[]).await?;
    // The migrations insert the row; without it nothing is trusted.
    let Some(row) = rows.first() else {
        return Ok((
            Trust {
                epoch: Epoch::NEVER,
                on: false,
                layout: Layout(0),
            },
            false,
        ));
    };
    let trust = Trust {
        epoch: Epoch(row.try_get::<_, i64>("epoch")?.cast_unsigned()),
        on: row.try_get("trusted")?,
        layout: Layout(row.try_get::<_, i64>("layout")?.cast_unsigned()),
    };
    Ok((trust, row.try_get("rested")?))
}

/// Turns the trust off, unless the epoch is over anyway.
pub(super) async fn revoke(client: &impl GenericClient, epoch: Epoch) -> Result<(), Error> {
    let epoch = epoch.0.cast_signed();
    client.query_typed(REVOKE, &[(&epoch, Type::INT8)]).await?;
    Ok(())
}

/// Turns the trust on under `next`, unless somebody else did. Waits for every writer that has
/// begun, and lets none begin meanwhile: half a second at most, then it is an error and tried again.
pub(super) async fn renew(
    client: &mut tokio_postgres::Client,
    (epoch, next): (Epoch, Epoch),
    layout: Layout,
) -> Result<bool, Error> {
    let transaction = client.transaction().await?;
    let lock =
        format!("set local lock_timeout = '500ms'; select pg_advisory_xact_lock({LOCK_KEY})");
    transaction.batch_execute(&lock).await?;
    let (epoch, next, layout) = (
        epoch.0.cast_signed(),
        next.0.cast_signed(),
        layout.0.cast_signed(),
    );
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&epoch, &next, &layout];
    let renewed = transaction.execute(RENEW, &parameters).await?;
    transaction.commit().await?;
    Ok(renewed > 0)
}

/// What this process knows of the trust.
#[derive(Debug)]
pub(super) struct View {
    layout: Layout,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    lease: Option<(Epoch, Instant)>,
    off: Option<(Epoch, Instant)>,
    /// The script of the newest epoch that was on.
    script: Option<Arc<Script>>,
    /// An epoch in which a node forgot: it is not trusted here, whatever the row says.
    lost: Option<Epoch>,
}

impl View {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            layout,
            state: Mutex::default(),
        }
    }

    /// Takes in what was read after `asked`. Returns since when the epoch is known to be off.
    pub(super) fn observe(&self, trust: Trust, asked: Instant) -> Option<Instant> {
        let mut state = self.lock();
        if !trust.on {
            state.lease = None;
            let since = match state.off {
                Some((epoch, since)) if epoch == trust.epoch => since,
                _ => Instant::now(),
            };
            state.off = Some((trust.epoch, since));
            return Some(since);
        }
        state.off = None;
        if trust.layout != self.layout || state.lost == Some(trust.epoch) {
            state.lease = None;
            return None;
        }
        state.lease = Some((trust.epoch, asked + LEASE));
        if state
            .script
            .as_ref()
            .is_none_or(|script| script.epoch != trust.epoch)
        {
            state.script = Some(Arc::new(Script::new(trust.epoch)));
        }
        None
    }

    /// The script by which rows may be read now.
    pub(super) fn lease(&self) -> Option<Arc<Script>> {
        let state = self.lock();
        let (epoch, until) = state.lease?;
        (Instant::now() < until)
            .then(|| state.script.clone().filter(|script| script.epoch == epoch))?
    }

    /// The script of an epoch that the database names, or of the newest one known.
    pub(super) fn script(&self, epoch: Option<Epoch>) -> Option<Arc<Script>> {
        let state = self.lock();
        state
            .script
            .clone()
            .filter(|script| epoch.is_none_or(|epoch| epoch == script.epoch))
    }

    /// A node has forgotten, or a write could not be made known to it.
    pub(super) fn lose(&self, epoch: Epoch) {
        let mut state = self.lock();
        if state.lease.is_some_and(|(leased, _)| leased == epoch) {
            state.lease = None;
        }
        state.lost = Some(epoch);
    }

    pub(super) fn lost(&self) -> Option<Epoch> {
        self.lock().lost
    }

    pub(super) fn leased(&self) -> Option<Epoch> {
        self.lock().lease.map(|(epoch, _)| epoch)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANTERN: Layout = Layout(1);

    fn trust(epoch: u64, on: bool) -> Trust {
        Trust {
            epoch: Epoch(epoch),
            on,
            layout: LANTERN,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_counts_from_the_question_not_from_the_answer() {
        let view = View::new(LANTERN);
        let asked = Instant::now();
        tokio::time::advance(LEASE / 2).await;
        view.observe(trust(1, true), asked);
        assert!(view.lease().is_some());
        tokio::time::advance(LEASE / 2).await;
        assert!(view.lease().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_epoch_is_off_since_it_was_first_seen_off() {
        let view = View::new(LANTERN);
        let first = view.observe(trust(1, false), Instant::now()).unwrap();
        tokio::time::advance(LEASE).await;
        assert_eq!(view.observe(trust(1, false), Instant::now()), Some(first));
        assert_ne!(view.observe(trust(2, false), Instant::now()), Some(first));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_epoch_is_not_trusted_again() {
        let view = View::new(LANTERN);
        view.observe(trust(1, true), Instant::now());
        view.lose(Epoch(1));
        view.observe(trust(1, true), Instant::now());
        assert!(view.lease().is_none());
        view.observe(trust(2, true), Instant::now());
        assert_eq!(view.lease().unwrap().epoch, Epoch(2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_epoch_of_another_layout_is_not_trusted() {
        let view = View::new(Layout(2));
        view.observe(trust(1, true), Instant::now());
        assert!(view.lease().is_none());
    }
}

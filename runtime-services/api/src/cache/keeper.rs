//! The loop that keeps the trust and the connection.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::Pool;
use thiserror::Error;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    link::{CallError, Link, Roles},
    protocol::{Epoch, Trust},
    script::Script,
    trust::{self, GRACE},
};

/// Four times within a lease, so that one lost answer does not end it.
const EVERY: Duration = Duration::from_millis(250);
/// How long the database may take to tell the trust: a later answer would be worth little.
const ASK: Duration = Duration::from_millis(700);

#[derive(Debug, Error)]
enum KeepError {
    #[error("failed to get a connection to the database")]
    Pool(#[from] deadpool_postgres::PoolError),
    #[error("failed to ask the database for the trust in the cache")]
    Database(#[from] tokio_postgres::Error),
    #[error("the database did not tell the trust in the cache in time")]
    Late,
    #[error("failed to prepare the cache")]
    Cache(#[from] CallError),
}

/// Runs until told to stop.
pub(super) async fn run(
    shared: Arc<Shared>,
    link: Arc<Link>,
    database: Pool,
    stop: CancellationToken,
) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let result = tick(&shared, &link, &database).await;
        shared
            .metrics
            .trusted
            .set(i64::from(shared.view.lease().is_some()));
        match result {
            Ok(()) => failing = false,
            // Once: it is tried four times a second.
            Err(error) if !failing => {
                failing = true;
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "failed to keep the trust in the cache; trying again");
            }
            Err(_) => {}
        }
    }
}

async fn tick(shared: &Shared, link: &Link, database: &Pool) -> Result<(), KeepError> {
    let asked = Instant::now();
    let told = timeout(ASK, ask(database));
    let (told, probed) = futures::join!(told, link.probe());
    if let (Ok(Roles::NotAllPrimaries), Some(epoch)) = (&probed, shared.view.leased()) {
        shared.view.lose(epoch);
    }
    let (trust, rested) = told.map_err(|_| KeepError::Late)??;
    let off = shared.view.observe(trust, asked);
    if trust.on && shared.view.lost() == Some(trust.epoch) {
        tracing::warn!("the cache may have forgotten writes: it is emptied");
        trust::revoke(&**database.get().await?, trust.epoch).await?;
        return Ok(());
    }
    let waited = off.is_some_and(|since| since.elapsed() >= GRACE) || trust.epoch == Epoch::NEVER;
    if !trust.on && waited && rested && probed.is_ok() {
        renew(shared, link, database, trust).await?;
    }
    Ok(())
}

async fn ask(database: &Pool) -> Result<(Trust, bool), KeepError> {
    Ok(trust::read(&**database.get().await?).await?)
}

/// Loads the script of a new epoch on every primary, checks that they are primaries (a replica
/// that is promoted later must not know it), and only then turns the trust on.
async fn renew(shared: &Shared, link: &Link, database: &Pool, old: Trust) -> Result<(), KeepError> {
    // Zero means never.
    let next = Epoch(rand::random::<u64>().max(1));
    if link.prepare(Script::new(next).load()).await?.is_none() {
        return Ok(());
    }
    let mut client = database.get().await?;
    if trust::renew(&mut client, (old.epoch, next), shared.layout).await? {
        tracing::info!(epoch = %next, "the cache is trusted");
    }
    Ok(())
}

//! Answers that were given to requests with an `Idempotency-Key`, kept in the transaction that they
//! tell of: a repeated request is answered again if and only if the first one took effect.

use std::time::Duration;

use bytes::Bytes;
use deadpool_postgres::{Pool, Transaction};
use tokio_util::sync::CancellationToken;

use super::StoreError;

/// The table; made by the migration.
pub(super) const SCHEMA: &str = "
create table if not exists orlop_idempotency (
    route text not null,
    key text not null,
    fingerprint text not null,
    location text not null,
    tag text not null,
    body text not null,
    answered_at timestamptz not null default now(),
    primary key (route, key)
);
create index if not exists orlop_idempotency_answered_at on orlop_idempotency (answered_at);
";

/// How often old answers are looked for, and how many go at once.
const SWEEP: Duration = Duration::from_mins(10);
const SWEPT_MAX: i64 = 5_000;

/// A request that says which one it is.
#[derive(Clone, Debug)]
pub(crate) struct Keyed {
    pub(crate) route: String,
    pub(crate) key: String,
    /// Of the body.
    pub(crate) fingerprint: String,
}

/// The answer to a creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Created {
    pub(crate) location: String,
    pub(crate) tag: String,
    pub(crate) json: Bytes,
}

impl Keyed {
    /// Keeps the same request from running beside this transaction, and finds the answer that was
    /// given to it before.
    pub(super) async fn begin(
        &self,
        transaction: &Transaction<'_>,
    ) -> Result<Option<Created>, StoreError> {
        let name = format!("{} {}", self.route, self.key);
        let lock = "select pg_try_advisory_xact_lock(hashtextextended(current_schema() || $1, 0))";
        let row = transaction
            .query_one(&transaction.prepare_cached(lock).await?, &[&name])
            .await?;
        if !row.try_get::<_, bool>(0)? {
            return Err(StoreError::KeyInUse);
        }
        let find = "select fingerprint, location, tag, body from orlop_idempotency \
                    where route = $1 and key = $2";
        let found = transaction
            .query_opt(
                &transaction.prepare_cached(find).await?,
                &[&self.route, &self.key],
            )
            .await?;
        let Some(row) = found else { return Ok(None) };
        if row.try_get::<_, &str>(0)? != self.fingerprint {
            return Err(StoreError::KeyReused);
        }
        Ok(Some(Created {
            location: row.try_get(1)?,
            tag: row.try_get(2)?,
            json: Bytes::from(row.try_get::<_, String>(3)?),
        }))
    }

    /// Keeps the answer, if the transaction commits.
    pub(super) async fn keep(
        &self,
        transaction: &Transaction<'_>,
        answer: &Created,
    ) -> Result<(), StoreError> {
        let keep = "insert into orlop_idempotency (route, key, fingerprint, location, tag, body) \
                    values ($1, $2, $3, $4, $5, convert_from($6, 'UTF8'))";
        let statement = transaction.prepare_cached(keep).await?;
        let body: &[u8] = &answer.json;
        transaction
            .execute(
                &statement,
                &[
                    &self.route,
                    &self.key,
                    &self.fingerprint,
                    &answer.location,
                    &answer.tag,
                    &body,
                ],
            )
            .await?;
        Ok(())
    }
}

/// Forgets answers older than `hours`, until told to stop.
pub(crate) async fn sweep(pool: Pool, hours: u16, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(SWEEP);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = forget(&pool, hours).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "failed to forget old answers; trying again later");
        }
    }
}

async fn forget(pool: &Pool, hours: u16) -> Result<(), StoreError> {
    let forget = "delete from orlop_idempotency where ctid = any(array(\
                  select ctid from orlop_idempotency \
                  where answered_at < now() - make_interval(hours => $1) limit $2))";
    let client = pool.get().await?;
    client
        .execute(forget, &[&i32::from(hours), &SWEPT_MAX])
        .await?;
    Ok(())
}

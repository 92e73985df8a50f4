//! Bringing the tables to where the declared types want them, before the first request.

use std::{error::Error, iter, time::Duration};

use deadpool_postgres::{Pool, Transaction};
use orlop_contract::types::Model;
use thiserror::Error;
use tokio_postgres::error::SqlState;

use super::{StoreError, idempotency};
use crate::sql::{
    migration::{self, Migration, Refusal, Step},
    schema::Schema,
};

/// What is recorded of the tables: one row.
const CATALOGUE: &str = "
create table if not exists orlop_catalogue (
    only_row boolean primary key default true check (only_row),
    recorded jsonb not null,
    migrated_at timestamptz not null
);
";

/// Other replicas wait for the one that migrates; an index over many rows takes its time.
const WHOLE: Duration = Duration::from_mins(15);
/// A table is locked for a moment only, but whoever waits for its lock holds up everybody behind.
const LOCK: Duration = Duration::from_secs(3);
/// Between two attempts, at least and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));

#[derive(Debug, Error)]
pub(crate) enum MigrateError {
    #[error("the declared types need changes of tables that hold data: {}", listed(.0))]
    Refused(Vec<Refusal>),
    #[error("{0}")]
    Data(String),
    #[error("failed to change the tables with `{statement}`")]
    Statement {
        statement: String,
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("failed to reach the database")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// Nothing that waiting would change: the address is read at the start only.
    #[error("the database refuses what DATABASE_URL says")]
    NotAdmitted(#[source] Box<dyn Error + Send + Sync>),
    #[error("failed to prepare the database")]
    Prepare(#[source] Box<dyn Error + Send + Sync>),
}

impl MigrateError {
    /// Whether it may succeed later by itself.
    fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<StoreError> for MigrateError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(source) if is_refusal(&*source) => Self::NotAdmitted(source),
            StoreError::Unavailable(source) => Self::Unavailable(source),
            other => Self::Prepare(Box::new(other)),
        }
    }
}

/// Whether the database knows neither this password nor this user or database (PostgreSQL, appendix
/// A: class 28, and 3D000). Who corrects the address starts the process anew with it.
fn is_refusal(error: &(dyn Error + 'static)) -> bool {
    let causes = iter::successors(Some(error), |error| (**error).source());
    let codes = causes.filter_map(|cause| cause.downcast_ref::<tokio_postgres::Error>()?.code());
    codes
        .map(SqlState::code)
        .any(|code| code.starts_with("28") || code == "3D000")
}

impl From<tokio_postgres::Error> for MigrateError {
    fn from(error: tokio_postgres::Error) -> Self {
        StoreError::from(error).into()
    }
}

/// Migrates, and tries again for as long as the database is away or its tables are in use: the
/// process is not ready meanwhile, which is what its supervisor sees.
///
/// # Errors
/// When the tables cannot be brought there.
pub(crate) async fn migrate(pool: &Pool, schema: &str, model: &Model) -> Result<(), MigrateError> {
    let wanted = Schema::of(model);
    let mut pause = PAUSE.0;
    loop {
        match once(pool, schema, &wanted).await {
            Err(error) if error.is_transient() => {
                let error = &error as &dyn Error;
                tracing::warn!(error, "failed to migrate; trying again");
            }
            result => return result,
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

async fn once(pool: &Pool, schema: &str, wanted: &Schema) -> Result<(), MigrateError> {
    let mut client = pool.get().await.map_err(StoreError::from)?;
    let transaction = client.transaction().await?;
    enter(&transaction, schema).await?;
    let recorded = recorded(&transaction).await?;
    let migration = migration::plan(&recorded, wanted).map_err(MigrateError::Refused)?;
    for step in &migration.steps {
        take(&transaction, step).await?;
    }
    record(&transaction, &migration, &recorded).await?;
    transaction.commit().await?;
    for index in &migration.left {
        tracing::warn!(index, "a unique index that is declared no more still holds");
    }
    tracing::info!(steps = migration.steps.len(), "the tables are as declared");
    Ok(())
}

/// One process at a time is past here, until its transaction ends.
async fn enter(transaction: &Transaction<'_>, schema: &str) -> Result<(), MigrateError> {
    transaction
        .batch_execute(&format!(
            "set local statement_timeout = {0}; set local lock_timeout = {0}; \
             set local idle_in_transaction_session_timeout = 0;",
            WHOLE.as_millis()
        ))
        .await?;
    let lock = "select pg_advisory_xact_lock(hashtextextended('orlop_migration ' || $1, 0))";
    transaction.query_one(lock, &[&schema]).await?;
    transaction
        .batch_execute(&format!(
            "set local lock_timeout = {}; create schema if not exists \"{schema}\"; \
             {CATALOGUE} {} {} {}",
            LOCK.as_millis(),
            idempotency::SCHEMA,
            crate::cache::SCHEMA,
            crate::events::SCHEMA,
        ))
        .await?;
    Ok(())
}

async fn recorded(transaction: &Transaction<'_>) -> Result<Schema, MigrateError> {
    let row = transaction
        .query_opt("select recorded::text from orlop_catalogue", &[])
        .await?;
    let Some(row) = row else {
        return Ok(Schema::default());
    };
    let text: &str = row.try_get(0)?;
    serde_json::from_str(text).map_err(|error| MigrateError::Prepare(Box::new(error)))
}

async fn take(transaction: &Transaction<'_>, step: &Step) -> Result<(), MigrateError> {
    let statement = step.sql();
    tracing::info!(statement, "changing the tables");
    if let Step::RequireNoNull { table, column } = step {
        let row = transaction.query_one(&statement, &[]).await?;
        if row.try_get(0)? {
            return Err(MigrateError::Data(format!(
                "column `{column}` of table `{table}` is declared as required, but rows have none: fill them or make it optional"
            )));
        }
        return Ok(());
    }
    match transaction.batch_execute(&statement).await {
        Ok(()) => Ok(()),
        Err(error) => Err(failed(step, statement, error)),
    }
}

fn failed(step: &Step, statement: String, error: tokio_postgres::Error) -> MigrateError {
    let code = error.code().cloned();
    match (step, code) {
        (
            Step::AddIndex {
                table,
                index,
                wanted,
            },
            Some(SqlState::UNIQUE_VIOLATION),
        ) => MigrateError::Data(format!(
            "index `{index}` cannot be unique: rows of table `{table}` have the same {}; change them or declare the index as Plain",
            wanted.columns.join(", ")
        )),
        (Step::CreateTable { table, .. }, Some(SqlState::DUPLICATE_TABLE)) => {
            MigrateError::Data(format!(
                "table `{table}` exists but was not made by this API: move it away or give the API another schema"
            ))
        }
        (_, _) => match StoreError::from(error) {
            StoreError::Unavailable(source) => MigrateError::Unavailable(source),
            StoreError::Internal(source) => MigrateError::Statement { statement, source },
            other => MigrateError::Prepare(Box::new(other)),
        },
    }
}

async fn record(
    transaction: &Transaction<'_>,
    migration: &Migration,
    before: &Schema,
) -> Result<(), MigrateError> {
    if migration.record == *before {
        return Ok(());
    }
    let recorded = serde_json::to_string(&migration.record)
        .map_err(|error| MigrateError::Prepare(Box::new(error)))?;
    transaction
        .execute(
            "insert into orlop_catalogue (recorded, migrated_at) values ($1::text::jsonb, now()) \
             on conflict (only_row) do update \
             set recorded = excluded.recorded, migrated_at = excluded.migrated_at",
            &[&recorded],
        )
        .await?;
    Ok(())
}

fn listed(refusals: &[Refusal]) -> String {
    let told: Vec<_> = refusals.iter().map(ToString::to_string).collect();
    told.join("; ")
}

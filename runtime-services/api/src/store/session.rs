//! A connection or a transaction, which statements run on.

use deadpool_postgres::{ClientWrapper, Transaction};
use tokio::time::Instant;
use tokio_postgres::{
    Error, Row,
    types::{ToSql, Type},
};

use crate::sql::Sql;

/// Statements slower than this are logged with their text, which holds no client's data.
const SLOW: std::time::Duration = std::time::Duration::from_secs(1);

#[derive(Clone, Copy)]
pub(super) enum Session<'a> {
    Connection(&'a ClientWrapper),
    Transaction(&'a Transaction<'a>),
}

impl Session<'_> {
    /// Runs one statement. It carries the span of the request, and with it the trace.
    pub(super) async fn rows(self, sql: &Sql) -> Result<Vec<Row>, Error> {
        let started = Instant::now();
        let result = if sql.is_fixed {
            self.prepared(sql).await
        } else {
            self.once(sql).await
        };
        let elapsed = started.elapsed();
        if elapsed > SLOW {
            tracing::warn!(?elapsed, sql = sql.text, "a statement was slow");
        } else {
            tracing::debug!(?elapsed, sql = sql.text, "statement");
        }
        result
    }

    async fn prepared(self, sql: &Sql) -> Result<Vec<Row>, Error> {
        let types: Vec<_> = sql
            .parameters
            .iter()
            .map(|(_, kind)| kind.clone())
            .collect();
        let values: Vec<_> = sql
            .parameters
            .iter()
            .map(|(value, _)| value as &(dyn ToSql + Sync))
            .collect();
        match self {
            Self::Connection(client) => {
                let statement = client.prepare_typed_cached(&sql.text, &types).await?;
                client.query(&statement, &values).await
            }
            Self::Transaction(transaction) => {
                let statement = transaction.prepare_typed_cached(&sql.text, &types).await?;
                transaction.query(&statement, &values).await
            }
        }
    }

    /// In one round trip, and without leaving a prepared statement behind.
    async fn once(self, sql: &Sql) -> Result<Vec<Row>, Error> {
        let values: Vec<(&(dyn ToSql + Sync), Type)> = sql
            .parameters
            .iter()
            .map(|(value, kind)| (value as &(dyn ToSql + Sync), kind.clone()))
            .collect();
        match self {
            Self::Connection(client) => client.query_typed(&sql.text, &values).await,
            Self::Transaction(transaction) => transaction.query_typed(&sql.text, &values).await,
        }
    }
}

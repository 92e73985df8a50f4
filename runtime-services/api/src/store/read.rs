//! Reading one thing, or a page of a list.

use bytes::Bytes;
use orlop_contract::types::EntityId;
use uuid::Uuid;

use super::{Row, Store, StoreError, session::Session};
use crate::{
    cache::{self, Lookup},
    request::{include::Include, list::List},
    sql::select,
};

/// A page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) items: Vec<String>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<String>,
}

impl Store {
    /// One thing; without includes it may come from the cache, which is told beside it.
    pub(crate) async fn one(
        &self,
        entity: EntityId,
        id: Uuid,
        include: &Include,
    ) -> Result<(Row, Option<Lookup>), StoreError> {
        let (row, lookup) = match self.key(entity, id) {
            Some((key, ttl)) if include.is_empty() => {
                let shape = self.representation(entity).shape;
                let load = async {
                    let row = self.load(entity, id, include).await?;
                    Ok::<_, StoreError>(row.map(|row| cache::Row {
                        version: row.version,
                        body: row.json,
                    }))
                };
                let (row, lookup) = self.cache.read(&key, ttl, shape, load).await?;
                let row = row.map(|row| Row {
                    version: row.version,
                    json: row.body,
                });
                (row, Some(lookup))
            }
            _ => (self.load(entity, id, include).await?, None),
        };
        Ok((row.ok_or(StoreError::NotFound)?, lookup))
    }

    async fn load(
        &self,
        entity: EntityId,
        id: Uuid,
        include: &Include,
    ) -> Result<Option<Row>, StoreError> {
        let client = self.pool.get().await?;
        let sql = select::one(&self.model, entity, id, include);
        let rows = Session::Connection(&client).rows(&sql).await?;
        rows.first().map(versioned).transpose()
    }

    pub(crate) async fn list(&self, entity: EntityId, list: &List) -> Result<Page, StoreError> {
        let client = self.pool.get().await?;
        let sql = select::list(&self.model, entity, list);
        let rows = Session::Connection(&client).rows(&sql).await?;
        // One more than the page was asked for: whether there is one.
        let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
        let next = match rows.get(limit.wrapping_sub(1)) {
            Some(end) if rows.len() > limit => {
                let keys: Result<_, _> = (1..=list.sort.len()).map(|at| end.try_get(at)).collect();
                Some(list.cursor(keys?).encode())
            }
            _ => None,
        };
        let items: Result<_, _> = rows.iter().take(limit).map(|row| row.try_get(0)).collect();
        Ok(Page {
            items: items?,
            next,
        })
    }
}

/// Version, JSON.
pub(super) fn versioned(row: &tokio_postgres::Row) -> Result<Row, StoreError> {
    let json: String = row.try_get(1)?;
    Ok(Row {
        version: row.try_get(0)?,
        json: Bytes::from(json),
    })
}

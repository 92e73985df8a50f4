//! Creating, changing, deleting: each in one transaction with the jobs that it publishes and with
//! what it owes to the cache.

use std::collections::BTreeMap;

use bytes::Bytes;
use deadpool_postgres::{Client, Transaction};
use orlop_contract::types::{EntityId, EventOn};
use uuid::Uuid;

use super::{
    Row, Store, StoreError,
    announce::Announcement,
    idempotency::{Created, Keyed},
    read::versioned,
    session::Session,
};
use crate::{
    cache::{Intent, Key},
    request::{
        body::{Changes, Draft},
        etag::Condition,
        include::{self, Include},
        trace::Trace,
    },
    sql::{Sql, select, write},
};

/// A row that was written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) id: Uuid,
    pub(super) row: Row,
}

impl Store {
    /// Creates a thing with its parts. The location is that of the collection and the id.
    ///
    /// With a key it is created once, however often it is asked for.
    pub(crate) async fn create(
        &self,
        draft: &Draft,
        collection: &str,
        keyed: Option<&Keyed>,
        trace: &Trace,
    ) -> Result<Created, StoreError> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        if let Some(keyed) = keyed
            && let Some(answer) = keyed.begin(&transaction).await?
        {
            return Ok(answer);
        }
        let row = self.insert(&transaction, draft, trace).await?;
        let answer = Created {
            location: format!("{collection}/{}", draft.id),
            tag: self.tag(draft.entity, row.version),
            json: row.json,
        };
        if let Some(keyed) = keyed {
            keyed.keep(&transaction, &answer).await?;
        }
        // Nothing is owed to the cache: absence is not cached.
        transaction.commit().await?;
        self.wake();
        Ok(answer)
    }

    /// Changes a thing, if the condition holds.
    pub(crate) async fn update(
        &self,
        entity: EntityId,
        id: Uuid,
        changes: Changes,
        condition: &Condition,
        trace: &Trace,
    ) -> Result<Row, StoreError> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        let keys = self.key(entity, id).map(|(key, _)| key).into_iter();
        let intent = self.cache.intend(&transaction, keys.collect()).await?;
        let outcome = async {
            let sql = write::update(&self.model, entity, id, changes, condition);
            let written = self.write(&transaction, &sql).await?;
            let Some(Written { row, .. }) = written.first() else {
                return Err(self.why_untouched(&transaction, entity, id).await?);
            };
            self.announce(&transaction, entity, EventOn::Updated, &written, trace)
                .await?;
            Ok(row.clone())
        }
        .await;
        let is_sound = outcome.is_ok();
        let outcome = conclude(transaction, outcome).await;
        self.settle(intent, is_sound, outcome, &client).await
    }

    /// Deletes a thing with its parts, if the condition holds.
    pub(crate) async fn delete(
        &self,
        entity: EntityId,
        id: Uuid,
        condition: &Condition,
        trace: &Trace,
    ) -> Result<(), StoreError> {
        let mut client = self.pool.get().await?;
        let transaction = client.transaction().await?;
        let rows = self.lock(&transaction, entity, id).await?;
        let version = rows.ok_or(StoreError::NotFound)?;
        if !condition.holds(version) {
            return Err(StoreError::Changed);
        }
        // Nothing can be added to a whole that is locked, so these are all.
        let doomed = self.lock_parts(&transaction, entity, id).await?;
        let keys = self.keys(&doomed);
        let intent = self.cache.intend(&transaction, keys).await?;
        let outcome = self.delete_all(&transaction, &doomed, trace).await;
        let is_sound = outcome.is_ok();
        let outcome = conclude(transaction, outcome).await;
        self.settle(intent, is_sound, outcome, &client).await
    }

    /// The cache is told of a write before anyone else hears of it.
    async fn settle<T>(
        &self,
        intent: Intent,
        is_sound: bool,
        outcome: Result<T, StoreError>,
        client: &Client,
    ) -> Result<T, StoreError> {
        match outcome {
            Ok(done) => {
                self.wake();
                intent.settle(client).await?;
                Ok(done)
            }
            Err(error) => {
                // If it is the commit that failed, the rows may have changed: the intent stands
                // until it expires.
                if !is_sound {
                    intent.abandon().await;
                }
                Err(error)
            }
        }
    }

    fn wake(&self) {
        if let Some(relay) = &self.relay {
            relay.wake();
        }
    }

    async fn insert(
        &self,
        transaction: &Transaction<'_>,
        draft: &Draft,
        trace: &Trace,
    ) -> Result<Row, StoreError> {
        let mut created = None;
        // Wholes before their parts; all rows of one type in one statement.
        let mut level = vec![draft];
        while !level.is_empty() {
            let mut by_entity: BTreeMap<EntityId, Vec<&Draft>> = BTreeMap::new();
            for draft in &level {
                by_entity.entry(draft.entity).or_default().push(draft);
            }
            for (entity, drafts) in by_entity {
                let sql = write::insert(&self.model, entity, &drafts);
                let written = self.write(transaction, &sql).await?;
                self.announce(transaction, entity, EventOn::Created, &written, trace)
                    .await?;
                created = created.or_else(|| written.into_iter().next());
            }
            level = level
                .iter()
                .flat_map(|draft| draft.parts.iter().flatten())
                .collect();
        }
        if draft.parts.is_empty() {
            return Ok(created.ok_or(StoreError::NotFound)?.row);
        }
        let parts = include::parts(&self.model, draft.entity);
        self.read_again(transaction, draft, &parts).await
    }

    async fn read_again(
        &self,
        transaction: &Transaction<'_>,
        draft: &Draft,
        include: &Include,
    ) -> Result<Row, StoreError> {
        let sql = select::one(&self.model, draft.entity, draft.id, include);
        let rows = Session::Transaction(transaction).rows(&sql).await?;
        versioned(rows.first().ok_or(StoreError::NotFound)?)
    }

    async fn write(
        &self,
        transaction: &Transaction<'_>,
        sql: &Sql,
    ) -> Result<Vec<Written>, StoreError> {
        let result = Session::Transaction(transaction).rows(sql).await;
        let rows = result.map_err(|error| StoreError::of_write(error, &self.constraints))?;
        rows.iter().map(written).collect()
    }

    /// An update that touched no row met another version, or none.
    async fn why_untouched(
        &self,
        transaction: &Transaction<'_>,
        entity: EntityId,
        id: Uuid,
    ) -> Result<StoreError, StoreError> {
        Ok(match self.lock(transaction, entity, id).await? {
            Some(_) => StoreError::Changed,
            None => StoreError::NotFound,
        })
    }

    /// The version of a row, which is locked from now on.
    async fn lock(
        &self,
        transaction: &Transaction<'_>,
        entity: EntityId,
        id: Uuid,
    ) -> Result<Option<i64>, StoreError> {
        let sql = write::lock(&self.model, entity, id);
        let rows = Session::Transaction(transaction).rows(&sql).await?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
    }

    /// The thing, its parts, theirs, and so on: wholes before parts, all locked.
    async fn lock_parts(
        &self,
        transaction: &Transaction<'_>,
        entity: EntityId,
        id: Uuid,
    ) -> Result<Vec<(EntityId, Vec<Uuid>)>, StoreError> {
        let mut found = vec![(entity, vec![id])];
        // Ends: a part is never a part of itself.
        let mut next = 0;
        while let Some((whole, wholes)) = found.get(next) {
            let mut below = Vec::new();
            for (part, column, _) in self.model.parts(*whole) {
                let sql = write::lock_parts(&self.model, part, &column.column, wholes);
                let rows = Session::Transaction(transaction).rows(&sql).await?;
                let ids: Result<Vec<Uuid>, _> = rows.iter().map(|row| row.try_get(0)).collect();
                below.push((part, ids?));
            }
            found.extend(below.into_iter().filter(|(_, ids)| !ids.is_empty()));
            next += 1;
        }
        Ok(found)
    }

    fn keys(&self, rows: &[(EntityId, Vec<Uuid>)]) -> Vec<Key> {
        rows.iter()
            .flat_map(|(entity, ids)| ids.iter().filter_map(|id| self.key(*entity, *id)))
            .map(|(key, _)| key)
            .collect()
    }

    async fn delete_all(
        &self,
        transaction: &Transaction<'_>,
        doomed: &[(EntityId, Vec<Uuid>)],
        trace: &Trace,
    ) -> Result<(), StoreError> {
        // Parts before their wholes.
        for (entity, ids) in doomed.iter().rev() {
            let sql = write::delete(&self.model, *entity, ids);
            let result = Session::Transaction(transaction).rows(&sql).await;
            let rows = result.map_err(|error| StoreError::of_deletion(error, &self.constraints))?;
            let deleted: Vec<_> = rows.iter().map(written).collect::<Result<_, _>>()?;
            self.announce(transaction, *entity, EventOn::Deleted, &deleted, trace)
                .await?;
        }
        Ok(())
    }

    async fn announce(
        &self,
        transaction: &Transaction<'_>,
        entity: EntityId,
        on: EventOn,
        rows: &[Written],
        trace: &Trace,
    ) -> Result<(), StoreError> {
        let announcement = Announcement {
            entity: self.model.entity(entity),
            on,
            trace,
        };
        announcement.write(transaction, rows).await
    }
}

/// Commits what succeeded and takes back what did not.
async fn conclude<T>(
    transaction: Transaction<'_>,
    outcome: Result<T, StoreError>,
) -> Result<T, StoreError> {
    match outcome {
        Ok(done) => {
            transaction.commit().await?;
            Ok(done)
        }
        Err(error) => {
            transaction.rollback().await?;
            Err(error)
        }
    }
}

/// Id, version, JSON.
fn written(row: &tokio_postgres::Row) -> Result<Written, StoreError> {
    let json: String = row.try_get(2)?;
    Ok(Written {
        id: row.try_get(0)?,
        row: Row {
            version: row.try_get(1)?,
            json: Bytes::from(json),
        },
    })
}

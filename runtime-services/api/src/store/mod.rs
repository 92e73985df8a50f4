//! The database: everything that waits for it.

mod announce;
mod constraint;
mod error;
pub(crate) mod idempotency;
pub(crate) mod migrate;
pub(crate) mod pool;
mod read;
mod session;
mod write;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use deadpool_postgres::Pool;
use orlop_contract::{
    api::CacheClass,
    types::{EntityId, Model},
};
use uuid::Uuid;

use crate::{
    cache::{Cache, Key, Shape},
    config::Config,
    events::Waker,
    request::{etag, include::Include},
    sql::select,
};
use constraint::Constraints;
pub(crate) use error::StoreError;
pub(crate) use read::Page;

/// One row: which it is and the JSON that clients get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) version: i64,
    pub(crate) json: Bytes,
}

/// The tables of one API.
#[derive(Debug)]
pub(crate) struct Store {
    model: Arc<Model>,
    pool: Pool,
    cache: Cache,
    /// Told of every commit; none where nothing is published.
    relay: Option<Waker>,
    constraints: Constraints,
    /// By entity.
    representations: Vec<Representation>,
}

/// How one entity is answered and cached.
#[derive(Debug)]
struct Representation {
    /// Changes when the same row is answered with other members.
    fingerprint: String,
    shape: Shape,
    class: Option<CacheClass>,
}

impl Store {
    pub(crate) fn new(
        config: &Config,
        model: Arc<Model>,
        pool: Pool,
        cache: Cache,
        relay: Option<Waker>,
    ) -> Self {
        let representations = model
            .entities()
            .map(|(id, _)| representation(config, &model, id))
            .collect();
        Self {
            constraints: Constraints::of(&model),
            representations,
            model,
            pool,
            cache,
            relay,
        }
    }

    /// The tag of a row as it is answered without includes.
    pub(crate) fn tag(&self, entity: EntityId, version: i64) -> String {
        etag::of_one(version, &self.representation(entity).fingerprint)
    }

    fn representation(&self, entity: EntityId) -> &Representation {
        &self.representations[entity.index()]
    }

    /// The key of a row, and how long it may be cached; none if its type is not cached.
    fn key(&self, entity: EntityId, id: Uuid) -> Option<(Key, Duration)> {
        let class = self.representation(entity).class.as_ref()?;
        let table = &self.model.entity(entity).table;
        let ttl = Duration::from_secs(u64::from(class.ttl_seconds));
        Some((Key::new(&class.prefix, table, id), ttl))
    }
}

fn representation(config: &Config, model: &Model, id: EntityId) -> Representation {
    let class = model.entity(id).cache_class.as_ref().and_then(|name| {
        let mut classes = config.said.cache_classes.iter();
        classes.find(|class| class.name == *name).cloned()
    });
    // The text names all members, in order, with how each is written.
    let text = select::one(model, id, Uuid::nil(), &Include::default()).text;
    Representation {
        fingerprint: etag::fingerprint(text.as_bytes()),
        shape: Shape(etag::hash(text.as_bytes())),
        class,
    }
}

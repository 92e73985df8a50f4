//! POST, PATCH, DELETE.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use orlop_contract::types::EntityId;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Api, answer, header_text, header_value, media_type, problem::Problem};
use crate::{
    request::{Refusal, body, etag, etag::Condition, idempotency, trace::Trace},
    store::{StoreError, idempotency::Keyed},
};

const JSON: &str = "application/json";
const PATCH: &str = "application/merge-patch+json";

impl Api {
    pub(super) async fn create(
        &self,
        entity: EntityId,
        headers: &HeaderMap,
        body: Body,
        trace: &Trace,
    ) -> Result<Response, Problem> {
        check_media_type(headers, &[JSON], JSON)?;
        let key = idempotency_key(headers)?;
        let bytes = self.body(body).await?;
        let json = parse(&bytes)?;
        let draft = body::create(&self.model, entity, &json, &mut Uuid::now_v7)?;
        let collection = self.routes.collection(entity).to_owned();
        let keyed = key.map(|key| Keyed {
            route: format!("POST {collection}"),
            key,
            fingerprint: etag::fingerprint(&bytes),
        });
        let (store, trace) = (Arc::clone(&self.store), trace.clone());
        let created = self
            .to_its_end(async move {
                store
                    .create(&draft, &collection, keyed.as_ref(), &trace)
                    .await
            })
            .await?;
        let mut response = answer::written(StatusCode::CREATED, &created.tag, created.json)?;
        let location = header_value(&created.location)?;
        response.headers_mut().insert(header::LOCATION, location);
        Ok(response)
    }

    pub(super) async fn update(
        &self,
        entity: EntityId,
        id: Uuid,
        headers: &HeaderMap,
        body: Body,
        trace: &Trace,
    ) -> Result<Response, Problem> {
        check_media_type(headers, &[PATCH, JSON], PATCH)?;
        let condition = condition(headers)?;
        let bytes = self.body(body).await?;
        let changes = body::patch(&self.model, entity, &parse(&bytes)?)?;
        let (store, trace) = (Arc::clone(&self.store), trace.clone());
        let row = self
            .to_its_end(async move { store.update(entity, id, changes, &condition, &trace).await })
            .await?;
        let tag = self.store.tag(entity, row.version);
        answer::written(StatusCode::OK, &tag, row.json)
    }

    pub(super) async fn delete(
        &self,
        entity: EntityId,
        id: Uuid,
        headers: &HeaderMap,
        trace: &Trace,
    ) -> Result<Response, Problem> {
        let condition = condition(headers)?;
        let (store, trace) = (Arc::clone(&self.store), trace.clone());
        self.to_its_end(async move { store.delete(entity, id, &condition, &trace).await })
            .await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    /// Between a commit and what follows it, a client that goes away must not stop us.
    async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, Problem> {
        let task = self.writes.spawn(work.in_current_span());
        Ok(task.await.map_err(Problem::internal)??)
    }

    async fn body(&self, body: Body) -> Result<Bytes, Problem> {
        match Limited::new(body, self.body_bytes).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(Problem::too_large(self.body_bytes))
            }
            Err(error) => Err(Problem::cut_off(error)),
        }
    }
}

fn parse(bytes: &[u8]) -> Result<serde_json::Value, Problem> {
    serde_json::from_slice(bytes).map_err(|error| Refusal::Json(error.to_string()).into())
}

fn check_media_type(
    headers: &HeaderMap,
    allowed: &[&str],
    told: &'static str,
) -> Result<(), Problem> {
    let is_allowed = media_type(headers).is_some_and(|media_type| {
        allowed
            .iter()
            .any(|one| media_type.eq_ignore_ascii_case(one))
    });
    if is_allowed && !headers.contains_key(header::CONTENT_ENCODING) {
        return Ok(());
    }
    Err(Problem::media_type(told))
}

/// Without one, of two clients that change a thing at once the later would undo the earlier without
/// having seen it; `*` says that this is meant (RFC 6585 section 3).
fn condition(headers: &HeaderMap) -> Result<Condition, Problem> {
    let name = header::IF_MATCH;
    if !headers.contains_key(&name) {
        return Err(Problem::condition_missing());
    }
    header_text(headers, name.as_str())
        .and_then(Condition::parse)
        .ok_or_else(|| Problem::header("If-Match", "must be * or at most 16 entity tags"))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    const NAME: &str = "Idempotency-Key";
    if !headers.contains_key(NAME) {
        return Ok(None);
    }
    let key = header_text(headers, NAME).and_then(idempotency::key);
    let allowed = "must be a string of at most 200 letters, digits and signs";
    key.map(Some).ok_or_else(|| Problem::header(NAME, allowed))
}

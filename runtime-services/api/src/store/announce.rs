//! Jobs that a change publishes, written in its transaction.

use deadpool_postgres::Transaction;
use orlop_contract::types::{Entity, EventOn, ModelEvent};
use serde_json::{Map, Value};

use super::{StoreError, write::Written};
use crate::{
    events::{self, NewEvent},
    request::trace::Trace,
};

/// One kind of change of one type.
#[derive(Debug)]
pub(super) struct Announcement<'a> {
    pub(super) entity: &'a Entity,
    pub(super) on: EventOn,
    pub(super) trace: &'a Trace,
}

impl Announcement<'_> {
    /// Writes a job for each declared event and each row.
    pub(super) async fn write(
        &self,
        transaction: &Transaction<'_>,
        rows: &[Written],
    ) -> Result<(), StoreError> {
        let declared = self
            .entity
            .events
            .iter()
            .filter(|event| event.on == self.on);
        for event in declared {
            for row in rows {
                let job = NewEvent {
                    queue: event.queue.clone(),
                    subject: format!("{}:{}", self.entity.table, row.id),
                    body: self.body(event, row)?,
                    traceparent: Some(self.trace.to_string()),
                };
                events::insert(transaction, &job).await?;
            }
        }
        Ok(())
    }

    /// `{"event": "receipt", "type": "Order", "on": "Created", "data": {"id": ...}}`
    fn body(&self, event: &ModelEvent, row: &Written) -> Result<Value, StoreError> {
        let mut members: Map<String, Value> = serde_json::from_slice(&row.row.json)
            .map_err(|error| StoreError::Internal(Box::new(error)))?;
        let data: Map<String, Value> = event
            .payload
            .iter()
            .filter_map(|name| members.remove_entry(name))
            .collect();
        Ok(serde_json::json!({
            "event": event.name,
            "type": self.entity.name,
            "on": self.on.as_str(),
            "data": data,
        }))
    }
}

//! What the engine asks of every kind.

use std::fmt::Debug;

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Failure, Kind, Observed, Plan, Settings};

/// A kind that the operator reconciles. The engine is the same for all of them.
pub trait Reconcile {
    type Status: Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync;

    /// Field manager of every server-side apply for this kind: stable for ever, since fields that
    /// are no longer sent are removed by it.
    const FIELD_MANAGER: &'static str;
    /// Kinds of objects made for it.
    const CHILDREN: &'static [Kind];

    fn recorded_status(&self) -> Option<&Self::Status>;

    /// Names of the AppServices whose existence the plan asks for.
    fn referenced_services(&self) -> Vec<String>;

    /// Validates and plans.
    fn plan(&self, observed: &Observed, settings: &Settings, now: Timestamp) -> Plan<Self::Status>;

    /// The planned status, with a write's failure told in it.
    fn failed(&self, planned: Self::Status, failure: &Failure, now: Timestamp) -> Self::Status;
}

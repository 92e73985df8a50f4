//! What the engine asks of every kind.

use std::fmt::Debug;

use jiff::Timestamp;
use orlop_crds::release::ReleaseRecord;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Failure, Kind, ObjectName, Observed, Plan, Settings, Sources};

/// A kind that the operator reconciles. The engine is the same for all of them.
pub trait Reconcile {
    type Status: Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync;

    /// Field manager of every server-side apply for this kind: stable for ever, since fields that
    /// are no longer sent are removed by it.
    const FIELD_MANAGER: &'static str;
    /// Kinds of objects made for it.
    const CHILDREN: &'static [Kind];

    fn recorded_status(&self) -> Option<&Self::Status>;

    /// Objects of our kinds in the same namespace that the plan asks for: whether they exist, and
    /// of tiers what is declared.
    fn references(&self) -> Vec<ObjectName>;

    /// Names of the Secrets that the plan asks for. They are read one by one: the operator may not
    /// list any.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// The data services that the plan asks about, as far as the observed world tells where they are.
    fn sources(&self, _observed: &Observed, _settings: &Settings) -> Sources {
        Sources::default()
    }

    /// What a status remembers of releases, for kinds that have them.
    fn releases(_status: &Self::Status) -> Option<&ReleaseRecord> {
        None
    }

    /// Validates and plans.
    fn plan(&self, observed: &Observed, settings: &Settings, now: Timestamp) -> Plan<Self::Status>;

    /// The planned status, with a write's failure told in it.
    fn failed(&self, planned: Self::Status, failure: &Failure, now: Timestamp) -> Self::Status;
}

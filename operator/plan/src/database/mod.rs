//! DatabaseTier: PostgreSQL with one primary on a volume, or the binding of a database that exists
//! elsewhere.

mod build;
mod settings;
mod status;
mod validate;

use std::collections::BTreeSet;

use jiff::Timestamp;
use orlop_crds::{BindingReference, DatabaseTier, DatabaseTierStatus};

use self::{
    build::{AUTH, Wanted},
    validate::ValidatedDatabase,
};
use crate::{
    Failure, Kind, Object, ObjectName, Observed, Plan, Reconcile, Settings, difference, fence,
    prune,
};

impl Reconcile for DatabaseTier {
    type Status = DatabaseTierStatus;

    const FIELD_MANAGER: &'static str = "orlop-databasetier";
    const CHILDREN: &'static [Kind] = &[
        Kind::Secret,
        Kind::ConfigMap,
        Kind::Service,
        Kind::StatefulSet,
    ];

    fn recorded_status(&self) -> Option<&DatabaseTierStatus> {
        self.status.as_ref()
    }

    fn references(&self) -> Vec<ObjectName> {
        Vec::new()
    }

    /// Those that it makes, and the one that somebody else made.
    fn secrets(&self) -> Vec<String> {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let external = self.spec.external.as_ref();
        let external = external.map(|external| external.secret_name.clone());
        [BindingReference::of(name).name]
            .into_iter()
            .chain([AUTH, build::STATEMENTS].map(|part| format!("{name}-{part}")))
            .chain(external)
            .collect()
    }

    fn plan(
        &self,
        observed: &Observed,
        settings: &Settings,
        now: Timestamp,
    ) -> Plan<DatabaseTierStatus> {
        if fence::is_behind(&self.metadata, observed) {
            return Plan::nothing(self.status.clone().unwrap_or_default());
        }
        match validate::validate(self, settings) {
            Ok(database) => plan(&database, self.status.as_ref(), observed, now),
            Err(invalid) => status::invalid(self, &invalid, now),
        }
    }

    fn failed(
        &self,
        planned: DatabaseTierStatus,
        failure: &Failure,
        now: Timestamp,
    ) -> DatabaseTierStatus {
        status::failed(self, planned, failure, now)
    }
}

fn plan(
    database: &ValidatedDatabase,
    recorded: Option<&DatabaseTierStatus>,
    observed: &Observed,
    now: Timestamp,
) -> Plan<DatabaseTierStatus> {
    let Wanted { objects, hindered } = build::objects(database, observed);
    let mut keep: BTreeSet<ObjectName> = objects.iter().map(Object::name).collect();
    // A binding that cannot be made anew for the moment is better than none.
    let binding = database.tier.object_name(build::BINDING);
    keep.insert(ObjectName::new(Kind::Secret, &binding));
    let recorded_pruning = recorded
        .map(|status| status.pruning.as_slice())
        .unwrap_or_default();
    let pruning = prune::prune(recorded_pruning, &keep, observed);
    let written = difference::writes(
        objects,
        &pruning,
        observed,
        database.tier.version.as_deref(),
    );
    status::report(
        database,
        recorded,
        observed,
        hindered,
        written,
        pruning.record,
        now,
    )
}

//! What is told of a database: conditions, the root cause, how it is reached.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Pod};
use orlop_crds::{
    BindingReference, DatabaseTier, DatabaseTierStatus, PruneRecord, Reason,
    database_tier::EffectiveDatabase,
};

use super::{
    build::{self, Hindered},
    validate::{Engine, ValidatedDatabase},
};
use crate::{
    Failure, Kind, Object, Observed, Plan,
    cause::{self, Cause},
    condition::{self, conditions, summary},
    difference::Writes,
    labels,
    service::Invalid,
};

/// While the pod starts without a known cause, failed probes are asked for so often.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(3);

pub(super) fn report(
    database: &ValidatedDatabase,
    recorded: Option<&DatabaseTierStatus>,
    observed: &Observed,
    hindered: Option<Hindered>,
    written: Writes,
    pruning: Vec<PruneRecord>,
    now: Timestamp,
) -> Plan<DatabaseTierStatus> {
    let cause = match (&written.error, &database.engine) {
        (Some(error), _) => Cause {
            reason: Reason::InvalidSpec,
            message: error.to_string(),
        },
        (None, Engine::Postgres(_)) => of_postgres(database, observed, now),
        (None, Engine::External { secret_name }) => of_external(database, secret_name, hindered),
    };
    let look_again = matches!(cause.reason, Reason::Starting | Reason::ProbeFailing);
    let wake_at = look_again.then(|| now.checked_add(LOOK_AGAIN).unwrap_or(Timestamp::MAX));
    let before = recorded
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let generation = database.tier.generation;
    let status = DatabaseTierStatus {
        observed_generation: generation,
        conditions: conditions(
            before,
            summary(cause.reason, &cause.message),
            generation,
            now,
        ),
        pruning,
        binding: Some(BindingReference::of(&database.tier.name)),
        ..of_engine(database, observed)
    };
    let notices = condition::ready_changed(before, &status.conditions)
        .into_iter()
        .collect();
    Plan {
        writes: written.writes,
        actions: Vec::new(),
        status,
        wake_at,
        notices,
    }
}

/// What the engine alone decides.
fn of_engine(database: &ValidatedDatabase, observed: &Observed) -> DatabaseTierStatus {
    match &database.engine {
        Engine::Postgres(postgres) => DatabaseTierStatus {
            summary: Some(format!(
                "{}/1",
                i32::from(runs_as_declared(database, observed))
            )),
            endpoint: Some(build::own_endpoint(database)),
            effective: Some(EffectiveDatabase {
                image: postgres.image.clone(),
                version: postgres.version,
                storage: postgres.storage.clone(),
                deletion: database.tier.deletion,
            }),
            ..DatabaseTierStatus::default()
        },
        Engine::External { secret_name } => {
            let entries = build::external(secret_name, observed).unwrap_or_default();
            let entry = |key| entries.get(key).map(String::as_str);
            let address = || Some((entry("host")?, entry("port")?, entry("database")?));
            DatabaseTierStatus {
                endpoint: address()
                    .map(|(host, port, database)| build::endpoint(host, port, database)),
                ..DatabaseTierStatus::default()
            }
        }
    }
}

fn of_postgres(database: &ValidatedDatabase, observed: &Observed, now: Timestamp) -> Cause {
    if runs_as_declared(database, observed) {
        return Cause {
            reason: Reason::Available,
            message: "the primary accepts connections".to_owned(),
        };
    }
    let pods: Vec<&Pod> = observed.pods.iter().collect();
    let starting = || Cause {
        reason: Reason::Starting,
        message: "the primary is starting".to_owned(),
    };
    let Cause { reason, message } = cause::diagnose(None, &pods, observed, now)
        .filter(|cause| !replays_its_log(cause))
        .unwrap_or_else(starting);
    let fix = if reason.is_transient() {
        String::new()
    } else {
        format!("; {}", reason.fix())
    };
    let (component, name) = (&database.tier.component, &database.tier.name);
    Cause {
        reason,
        message: format!("{component}/StatefulSet/{name}: {message}{fix}"),
    }
}

/// A server that answers in order to refuse is on its way: it is starting, or replays after a crash
/// what it had not written yet (`pg_isready` ends with 1). One that does not answer is not.
fn replays_its_log(cause: &Cause) -> bool {
    cause.reason == Reason::ProbeFailing && cause.message.contains("rejecting connections")
}

/// Whether the pod that is wanted now is ready, not one from before a change.
fn runs_as_declared(database: &ValidatedDatabase, observed: &Observed) -> bool {
    let Some(Object::StatefulSet(set)) = observed.get(Kind::StatefulSet, &database.tier.name)
    else {
        return false;
    };
    let StatefulSet {
        metadata, status, ..
    } = set.as_ref();
    status.as_ref().is_some_and(|status| {
        status.observed_generation >= metadata.generation
            && status.ready_replicas >= Some(1)
            && status.current_revision == status.update_revision
    })
}

fn of_external(
    database: &ValidatedDatabase,
    secret_name: &str,
    hindered: Option<Hindered>,
) -> Cause {
    let hindrance = match hindered {
        None => {
            return Cause {
                reason: Reason::Available,
                message: format!("the binding follows Secret '{secret_name}'"),
            };
        }
        Some(Hindered::SecretMissing) => "does not exist".to_owned(),
        Some(Hindered::KeysMissing(keys)) => {
            let keys: Vec<_> = keys.iter().map(|key| format!("'{key}'")).collect();
            format!("has no {}", keys.join(", "))
        }
    };
    let component = &database.tier.component;
    Cause {
        reason: Reason::ConfigMissing,
        message: format!(
            "{component}/Secret/{secret_name}: {hindrance}; create what is missing, or correct \
             `external.secretName`"
        ),
    }
}

pub(super) fn invalid(
    object: &DatabaseTier,
    invalid: &Invalid,
    now: Timestamp,
) -> Plan<DatabaseTierStatus> {
    let recorded = object.status.clone().unwrap_or_default();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let message = format!(
        "{}/DatabaseTier/{name}: {invalid}; {}",
        component(object),
        Reason::InvalidSpec.fix()
    );
    let conditions = conditions(
        &recorded.conditions,
        summary(Reason::InvalidSpec, &message),
        object.metadata.generation,
        now,
    );
    let notice = condition::ready_changed(&recorded.conditions, &conditions);
    let status = DatabaseTierStatus {
        observed_generation: object.metadata.generation,
        conditions,
        ..recorded
    };
    Plan {
        notices: notice.into_iter().collect(),
        ..Plan::nothing(status)
    }
}

pub(super) fn failed(
    object: &DatabaseTier,
    planned: DatabaseTierStatus,
    failure: &Failure,
    now: Timestamp,
) -> DatabaseTierStatus {
    let recorded = object
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice());
    let (reason, message) = failure.told(component(object));
    DatabaseTierStatus {
        conditions: conditions(
            recorded.unwrap_or_default(),
            summary(reason, &message),
            object.metadata.generation,
            now,
        ),
        ..planned
    }
}

fn component(object: &DatabaseTier) -> &str {
    let labels = object.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(labels::NAME))
        .or(object.metadata.name.as_ref())
        .map(String::as_str)
        .unwrap_or_default()
}

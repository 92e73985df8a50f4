//! The raw object becomes a validated one. Nobody looks at the raw one afterwards.

use orlop_crds::{
    DatabaseTier, Quantity,
    database_tier::{EffectiveDatabase, Postgres, PostgresVersion},
    pod::{PodOptions, Resources},
};

use crate::{Settings, service::Invalid, tier::Tier};

/// A database that can be run or reached.
#[derive(Clone, Debug)]
pub(super) struct ValidatedDatabase {
    pub(super) tier: Tier,
    pub(super) engine: Engine,
    pub(super) cluster_domain: String,
}

#[derive(Clone, Debug)]
pub(super) enum Engine {
    Postgres(Box<ValidatedPostgres>),
    /// The Secret with the binding of a database that exists elsewhere.
    External {
        secret_name: String,
    },
}

/// PostgreSQL, run by Orlop.
#[derive(Clone, Debug)]
pub(super) struct ValidatedPostgres {
    pub(super) image: String,
    pub(super) version: PostgresVersion,
    pub(super) storage: Quantity,
    pub(super) resources: Option<Resources>,
    pub(super) pods: PodOptions,
}

/// The API server has checked the schema, unless the definition was newer or older than this
/// program when the object was stored: what would do harm is checked again.
pub(super) fn validate(
    object: &DatabaseTier,
    settings: &Settings,
) -> Result<ValidatedDatabase, Invalid> {
    let spec = &object.spec;
    let tier = Tier::new("DatabaseTier", &object.metadata, spec.deletion())?;
    let fixed = object
        .status
        .as_ref()
        .and_then(|status| status.effective.as_ref());
    let engine = match (&spec.postgres, &spec.external) {
        (Some(said), None) => {
            Engine::Postgres(Box::new(postgres(said, &spec.pods, fixed, settings)?))
        }
        (None, Some(external)) if fixed.is_none() => Engine::External {
            secret_name: external.secret_name.clone(),
        },
        (None, Some(_)) => {
            return Err(invalid(
                "spec.external",
                "must not replace `postgres`: the data would stay behind; make another database",
            ));
        }
        _ => {
            return Err(invalid(
                "spec",
                "must have exactly one of `postgres`, `external`",
            ));
        }
    };
    Ok(ValidatedDatabase {
        tier,
        engine,
        cluster_domain: settings.cluster_domain.clone(),
    })
}

/// What was fixed when the database was made goes on to apply, whatever the defaults are by now.
fn postgres(
    said: &Postgres,
    pods: &PodOptions,
    fixed: Option<&EffectiveDatabase>,
    settings: &Settings,
) -> Result<ValidatedPostgres, Invalid> {
    let Postgres {
        image,
        version,
        storage,
        resources,
    } = said;
    let fixed_image = fixed.map(|fixed| fixed.image.clone());
    let image = image.clone().or(fixed_image);
    let image = image.unwrap_or_else(|| settings.images.postgres.clone());
    if image.trim().is_empty() {
        return Err(invalid(
            "spec.postgres.image",
            "must be set: this operator was installed without an image of PostgreSQL",
        ));
    }
    let version = match (version, fixed) {
        (Some(version), Some(fixed)) if *version != fixed.version => {
            return Err(unchangeable("version", fixed.version.as_str()));
        }
        (_, Some(fixed)) => fixed.version,
        (_, None) => said.version(),
    };
    let storage = match (storage, fixed) {
        (Some(storage), Some(fixed)) if storage.units() != fixed.storage.units() => {
            return Err(unchangeable("storage", fixed.storage.as_str()));
        }
        // The volume's claim cannot be changed, not even to another way of writing the same.
        (_, Some(fixed)) => fixed.storage.clone(),
        (_, None) => said.storage(),
    };
    Ok(ValidatedPostgres {
        image,
        version,
        storage,
        resources: resources.clone(),
        pods: pods.clone(),
    })
}

fn unchangeable(field: &str, fixed: &str) -> Invalid {
    invalid(
        &format!("spec.postgres.{field}"),
        &format!("must stay '{fixed}': it cannot be changed once the database exists"),
    )
}

fn invalid(field: &str, message: &str) -> Invalid {
    Invalid {
        field: field.to_owned(),
        message: message.to_owned(),
    }
}

//! The kinds of objects that Orlop makes, as one type.

use std::fmt;

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, Deployment, StatefulSet},
        core::v1::{ConfigMap, Secret, Service},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use orlop_crds::{AppService, BrokerTier, CacheTier, DatabaseTier, WorkerPool};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Each kind once: its Rust type has its name, then `apiVersion`, then its name in URLs.
macro_rules! kinds {
    ($($kind:ident: $api_version:literal, $plural:literal;)*) => {
        /// Kinds of objects that Orlop makes.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Kind {
            $($kind,)*
        }

        impl Kind {
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)*
                }
            }

            /// Group and version, as in `apiVersion`.
            #[must_use]
            pub const fn api_version(self) -> &'static str {
                match self {
                    $(Self::$kind => $api_version,)*
                }
            }

            /// Name in URLs.
            #[must_use]
            pub const fn plural(self) -> &'static str {
                match self {
                    $(Self::$kind => $plural,)*
                }
            }
        }

        /// An object that Orlop makes: wanted, or as it was observed.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Object {
            $($kind(Box<$kind>),)*
        }

        impl Object {
            #[must_use]
            pub const fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)*
                }
            }

            #[must_use]
            pub fn metadata(&self) -> &ObjectMeta {
                match self {
                    $(Self::$kind(object) => &object.metadata,)*
                }
            }

            pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
                match self {
                    $(Self::$kind(object) => &mut object.metadata,)*
                }
            }

            /// The object as the API server would be sent it, `apiVersion` and `kind` included.
            ///
            /// # Errors
            /// None in practice: every kind here is made of maps with string keys.
            pub fn to_value(&self) -> Result<Value, serde_json::Error> {
                let mut value = match self {
                    $(Self::$kind(object) => serde_json::to_value(object),)*
                }?;
                if let Value::Object(fields) = &mut value {
                    fields.insert("apiVersion".to_owned(), self.kind().api_version().into());
                    fields.insert("kind".to_owned(), self.kind().as_str().into());
                }
                Ok(value)
            }

            /// Reads an object of a known kind.
            ///
            /// # Errors
            /// When the value is not of that kind's shape.
            pub fn from_value(kind: Kind, value: Value) -> Result<Self, serde_json::Error> {
                Ok(match kind {
                    $(Kind::$kind => Self::$kind(serde_json::from_value(value)?),)*
                })
            }
        }

        $(impl From<$kind> for Object {
            fn from(object: $kind) -> Self {
                Self::$kind(Box::new(object))
            }
        })*
    };
}

kinds! {
    AppService: "orlop.dev/v1alpha1", "appservices";
    BrokerTier: "orlop.dev/v1alpha1", "brokertiers";
    CacheTier: "orlop.dev/v1alpha1", "cachetiers";
    ConfigMap: "v1", "configmaps";
    ControllerRevision: "apps/v1", "controllerrevisions";
    DatabaseTier: "orlop.dev/v1alpha1", "databasetiers";
    Deployment: "apps/v1", "deployments";
    PodDisruptionBudget: "policy/v1", "poddisruptionbudgets";
    Secret: "v1", "secrets";
    Service: "v1", "services";
    StatefulSet: "apps/v1", "statefulsets";
    WorkerPool: "orlop.dev/v1alpha1", "workerpools";
}

impl Kind {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Kind and name: unique in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    pub kind: Kind,
    pub name: String,
}

impl ObjectName {
    #[must_use]
    pub fn new(kind: Kind, name: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

impl Object {
    #[must_use]
    pub fn name(&self) -> ObjectName {
        let name = self.metadata().name.clone().unwrap_or_default();
        ObjectName {
            kind: self.kind(),
            name,
        }
    }
}

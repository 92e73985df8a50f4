//! The kinds of objects that Orlop makes, as one type.

use std::fmt;

use k8s_openapi::{
    Metadata as _,
    api::{
        apps::v1::{ControllerRevision, Deployment},
        core::v1::{ConfigMap, Service},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use orlop_crds::AppService;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Kinds of objects that Orlop makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    AppService,
    ConfigMap,
    ControllerRevision,
    Deployment,
    PodDisruptionBudget,
    Service,
}

impl Kind {
    pub const ALL: [Self; 6] = [
        Self::AppService,
        Self::ConfigMap,
        Self::ControllerRevision,
        Self::Deployment,
        Self::PodDisruptionBudget,
        Self::Service,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AppService => "AppService",
            Self::ConfigMap => "ConfigMap",
            Self::ControllerRevision => "ControllerRevision",
            Self::Deployment => "Deployment",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::Service => "Service",
        }
    }

    /// Group and version, as in `apiVersion`.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::AppService => "orlop.dev/v1alpha1",
            Self::ConfigMap | Self::Service => "v1",
            Self::ControllerRevision | Self::Deployment => "apps/v1",
            Self::PodDisruptionBudget => "policy/v1",
        }
    }

    /// Name in URLs.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::AppService => "appservices",
            Self::ConfigMap => "configmaps",
            Self::ControllerRevision => "controllerrevisions",
            Self::Deployment => "deployments",
            Self::PodDisruptionBudget => "poddisruptionbudgets",
            Self::Service => "services",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
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

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// An object that Orlop makes: wanted, or as it was observed.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    AppService(Box<AppService>),
    ConfigMap(Box<ConfigMap>),
    ControllerRevision(Box<ControllerRevision>),
    Deployment(Box<Deployment>),
    PodDisruptionBudget(Box<PodDisruptionBudget>),
    Service(Box<Service>),
}

impl Object {
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::AppService(_) => Kind::AppService,
            Self::ConfigMap(_) => Kind::ConfigMap,
            Self::ControllerRevision(_) => Kind::ControllerRevision,
            Self::Deployment(_) => Kind::Deployment,
            Self::PodDisruptionBudget(_) => Kind::PodDisruptionBudget,
            Self::Service(_) => Kind::Service,
        }
    }

    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::AppService(object) => &object.metadata,
            Self::ConfigMap(object) => object.metadata(),
            Self::ControllerRevision(object) => object.metadata(),
            Self::Deployment(object) => object.metadata(),
            Self::PodDisruptionBudget(object) => object.metadata(),
            Self::Service(object) => object.metadata(),
        }
    }

    pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::AppService(object) => &mut object.metadata,
            Self::ConfigMap(object) => object.metadata_mut(),
            Self::ControllerRevision(object) => object.metadata_mut(),
            Self::Deployment(object) => object.metadata_mut(),
            Self::PodDisruptionBudget(object) => object.metadata_mut(),
            Self::Service(object) => object.metadata_mut(),
        }
    }

    #[must_use]
    pub fn name(&self) -> ObjectName {
        let name = self.metadata().name.clone().unwrap_or_default();
        ObjectName {
            kind: self.kind(),
            name,
        }
    }

    /// The object as the API server would be sent it, `apiVersion` and `kind` included.
    ///
    /// # Errors
    /// None in practice: every kind here is made of maps with string keys.
    pub fn to_value(&self) -> Result<Value, serde_json::Error> {
        let mut value = match self {
            Self::AppService(object) => serde_json::to_value(object),
            Self::ConfigMap(object) => serde_json::to_value(object),
            Self::ControllerRevision(object) => serde_json::to_value(object),
            Self::Deployment(object) => serde_json::to_value(object),
            Self::PodDisruptionBudget(object) => serde_json::to_value(object),
            Self::Service(object) => serde_json::to_value(object),
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
            Kind::AppService => Self::AppService(serde_json::from_value(value)?),
            Kind::ConfigMap => Self::ConfigMap(serde_json::from_value(value)?),
            Kind::ControllerRevision => Self::ControllerRevision(serde_json::from_value(value)?),
            Kind::Deployment => Self::Deployment(serde_json::from_value(value)?),
            Kind::PodDisruptionBudget => Self::PodDisruptionBudget(serde_json::from_value(value)?),
            Kind::Service => Self::Service(serde_json::from_value(value)?),
        })
    }
}

macro_rules! from_typed {
    ($($kind:ident),*) => {$(
        impl From<$kind> for Object {
            fn from(object: $kind) -> Self {
                Self::$kind(Box::new(object))
            }
        }
    )*};
}
from_typed!(
    AppService,
    ConfigMap,
    ControllerRevision,
    Deployment,
    PodDisruptionBudget,
    Service
);

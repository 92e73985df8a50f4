//! An object of any of the kinds.

use orlop_crds::{
    AppPlatform, AppService, BrokerTier, CacheTier, DatabaseTier, GROUP, VERSION, WorkerPool,
};
use serde_json::Value;

use crate::report::Report;

/// Each kind once: its Rust type has its name, and [`Report::of`] reads it.
macro_rules! kinds {
    ($($kind:ident),*) => {
        /// An object of any of the kinds, applications first and what they are made of after them.
        #[derive(Clone, Debug)]
        pub(crate) enum Declared {
            $($kind(Box<$kind>),)*
        }

        impl Declared {
            /// Names of the kinds, in the order in which objects are looked for and told of.
            pub(crate) const KINDS: &'static [&'static str] = &[$(stringify!($kind)),*];

            /// Those that are released revision by revision.
            pub(crate) const RELEASED: [&'static str; 2] = ["AppService", "WorkerPool"];

            /// `None` for a kind that this program does not know.
            pub(crate) fn from_value(
                kind: &str,
                value: Value,
            ) -> Option<Result<Self, serde_json::Error>> {
                Some(match kind {
                    $(stringify!($kind) => serde_json::from_value(value).map(Self::$kind),)*
                    _ => return None,
                })
            }

            pub(crate) const fn kind(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => stringify!($kind),)*
                }
            }

            pub(crate) fn report(&self) -> Report {
                match self {
                    $(Self::$kind(object) => Report::from(object.as_ref()),)*
                }
            }

            /// As it is stored.
            pub(crate) fn to_value(&self) -> Result<Value, serde_json::Error> {
                let mut value = match self {
                    $(Self::$kind(object) => serde_json::to_value(object),)*
                }?;
                value["apiVersion"] = format!("{GROUP}/{VERSION}").into();
                value["kind"] = self.kind().into();
                Ok(value)
            }
        }

        $(impl From<$kind> for Declared {
            fn from(object: $kind) -> Self {
                Self::$kind(Box::new(object))
            }
        })*
    };
}

kinds!(
    AppPlatform,
    AppService,
    WorkerPool,
    DatabaseTier,
    CacheTier,
    BrokerTier
);

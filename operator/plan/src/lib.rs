//! The pure engine: (declared object, observed world, now) -> writes, status, next wake-up.
//!
//! Nothing here reads a clock, an environment or a cluster: all three are arguments. One pass is
//!
//! 1. *observe* (the controller): an [`Observed`], read without judgement;
//! 2. *validate*: the raw spec becomes a validated type, and nobody looks at the raw spec again;
//! 3. *plan*: a [`Plan`] of ordered [`Write`]s and a status;
//! 4. *act* (the controller): the writes, one after another, the first failure stops the rest;
//! 5. *report* (the controller): the status, guarded by the resource version that was observed.
//!
//! **A pass either records a decision or acts on recorded ones.** Where a step could do harm when
//! taken twice, by a stale leader or after a crash (a release's next phase, a deletion), the plan
//! holds no writes, only a status; the next pass finds the decision recorded and acts on it.

pub mod broker;
pub mod cache;
pub mod cause;
mod condition;
mod database;
mod difference;
mod entropy;
mod fence;
mod frozen;
pub mod labels;
mod last_words;
mod meta;
mod names;
mod object;
mod observed;
mod outcome;
pub mod platform;
mod pods;
mod prune;
pub mod question;
mod reconcile;
mod release;
mod revision;
pub mod service;
mod source;
mod tier;
pub mod worker;

pub use entropy::Entropy;
pub use fence::is_superseded;
pub use object::{Kind, Object, ObjectName};
pub use observed::{Observed, ProbeFailure, Refusal};
pub use outcome::{Failure, Notice, NoticeLevel, Plan, Write};
pub use question::{Question, QuestionsSource};
pub use reconcile::Reconcile;
pub use source::{
    Action, Answer, Password, RabbitMqSource, ReadFailure, Snapshot, Snapshots, Sources,
    ValkeyErrand, ValkeyNode, ValkeySource, WorkersSource,
};

/// What the operator's installation fixes for all objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// DNS suffix of the cluster, `cluster.local` in most.
    pub cluster_domain: String,
    pub images: Images,
}

/// The images that run where a spec names none. An empty name: this installation has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// nginx as the image's documentation describes it.
    pub edge: String,
    pub postgres: String,
    pub rabbitmq: String,
    pub valkey: String,
    pub worker: String,
    pub api: String,
}

impl Images {
    /// Of one version, all in one registry: `REGISTRY/orlop-edge:VERSION` and so on.
    #[must_use]
    pub fn of(registry: &str, version: &str) -> Self {
        let image = |name: &str| format!("{registry}/orlop-{name}:{version}");
        Self {
            edge: image("edge"),
            postgres: image("postgres"),
            rabbitmq: image("rabbitmq"),
            valkey: image("valkey"),
            worker: image("worker"),
            api: image("api"),
        }
    }
}

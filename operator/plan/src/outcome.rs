//! What one pass decides.

use jiff::Timestamp;
use orlop_crds::Reason;

use crate::{Action, Object, ObjectName};

/// What one pass decides. `writes` are done in order and the first failure stops the rest; the
/// status is written in any case, and only if it differs from the observed one.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<S> {
    pub writes: Vec<Write>,
    /// What is done to data services once all is written: in order, the first failure stops the rest.
    pub actions: Vec<Action>,
    pub status: S,
    /// When to look again although nothing has changed.
    pub wake_at: Option<Timestamp>,
    /// What people are told once the status is written.
    pub notices: Vec<Notice>,
}

impl<S> Plan<S> {
    /// Leaves everything as it is.
    pub(crate) fn nothing(status: S) -> Self {
        Self {
            writes: Vec::new(),
            actions: Vec::new(),
            status,
            wake_at: None,
            notices: Vec::new(),
        }
    }
}

/// One write to the API server.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Server-side apply of an object that was not observed. If one of this name exists after all,
    /// it must be ours or the write fails with [`Failure::NameTaken`]. What is ours is applied over,
    /// unless it [`is_superseded`](crate::is_superseded): then the caches lag and the write is stale.
    Create(Object),
    /// Forced server-side apply over the observed version; fails if the object has changed since.
    Update {
        object: Object,
        resource_version: String,
    },
    /// Deletes exactly this incarnation, and only if it has not changed since.
    Delete {
        name: ObjectName,
        uid: String,
        resource_version: String,
    },
}

impl Write {
    #[must_use]
    pub fn target(&self) -> ObjectName {
        match self {
            Self::Create(object) | Self::Update { object, .. } => object.name(),
            Self::Delete { name, .. } => name.clone(),
        }
    }
}

/// Why a write did not succeed, as far as the status must tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The name belongs to an object that is not ours.
    NameTaken { target: ObjectName, owner: String },
    /// The API server refused the write and would refuse it again: its answer.
    Refused { target: ObjectName, message: String },
}

impl Failure {
    /// Reason and message in the grammar of the `Ready` condition.
    pub(crate) fn told(&self, component: &str) -> (Reason, String) {
        let (reason, target, cause) = match self {
            Self::NameTaken { target, owner } => (
                Reason::NameTaken,
                target,
                format!("exists and belongs to {owner}"),
            ),
            Self::Refused { target, message } => (
                Reason::ApplyFailed,
                target,
                format!("the API server refuses it: {message}"),
            ),
        };
        (
            reason,
            format!("{component}/{target}: {cause}; {}", reason.fix()),
        )
    }
}

/// An event for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub level: NoticeLevel,
    pub reason: Reason,
    /// What was being done, one word: `Release`, `Reconcile`.
    pub action: &'static str,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeLevel {
    Normal,
    Warning,
}

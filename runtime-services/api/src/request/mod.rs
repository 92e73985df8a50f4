//! Requests become checked values. Nothing here does IO.

pub(crate) mod body;
pub(crate) mod cursor;
pub(crate) mod etag;
pub(crate) mod idempotency;
pub(crate) mod include;
pub(crate) mod list;
pub(crate) mod trace;

/// Something that is wrong with one part of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) place: Place,
    /// What is allowed; lower case, no full stop.
    pub(crate) detail: String,
}

/// Where in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// JSON Pointer into the body (RFC 6901).
    Pointer(String),
    /// Name of a parameter of the query.
    Parameter(String),
    /// Name of a header.
    Header(&'static str),
}

impl Fault {
    pub(crate) fn parameter(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            place: Place::Parameter(name.into()),
            detail: detail.into(),
        }
    }

    pub(crate) fn pointer(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            place: Place::Pointer(pointer.into()),
            detail: detail.into(),
        }
    }
}

/// Why a request is refused before the database is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The query or a header cannot be understood.
    Query(Vec<Fault>),
    /// The body is not JSON.
    Json(String),
    /// The body is JSON of which something is not allowed.
    Body(Vec<Fault>),
    /// The access rules do not allow it: of which type.
    Forbidden { what: String },
}

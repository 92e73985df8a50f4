//! Declared types: what a developer says of the things that an API keeps.
//!
//! [`validate`] turns a whole set of them into a [`Model`]; afterwards nobody looks at the
//! declarations. The operator calls it before it renders anything, the API when it starts, so both
//! give one verdict.
//!
//! Every type has four fields that are not declared: `id` (UUID version 7), `createdAt`,
//! `updatedAt` and `version` (1 at creation, one more with every change).

mod bound;
mod decimal;
mod model;
mod name;
mod validate;

pub use decimal::Decimal;
pub use model::{Column, Entity, EntityId, Kind, Literal, Model, ModelEvent, ModelIndex, System};
pub use validate::{Problem, TYPES_MAX, validate};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Names of types.
pub const TYPE_NAME: &str = "^[A-Z][A-Za-z0-9]*$";
/// Names of fields, relations, indexes, access rules and events.
pub const NAME: &str = "^[a-z][A-Za-z0-9]*$";
/// Names of columns in the database.
pub const COLUMN_NAME: &str = "^[a-z][a-z0-9_]*$";
/// Names of components and of queues.
const LABEL: &str = "^[a-z]([-a-z0-9]*[a-z0-9])?$";
/// One of an enumeration's values.
pub const ENUM_VALUE: &str = "^[A-Za-z0-9][A-Za-z0-9._-]*$";

/// A kind of thing that the API keeps: a table, and a collection under the API's base path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Type {
    /// Its name, in the singular: `OrderItem` is served under `/order-items`.
    #[schemars(length(min = 1, max = 30), regex(pattern = TYPE_NAME))]
    pub name: String,
    /// The type that this one is a part of. A part is created with its whole in one transaction, is
    /// deleted with it, and has its access rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<PartOf>,
    /// What is kept of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 48),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub fields: Vec<Field>,
    /// The things that it refers to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub relations: Vec<Relation>,
    /// Indexes, for lists that are sorted or filtered often and for what must be unique.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub indexes: Vec<Index>,
    /// Whether and how single ones are cached. Nothing said: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<TypeCache>,
    /// Who may do what. Nothing said: nobody may do anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub access: Vec<Access>,
    /// Jobs that are published if and only if a change is committed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub events: Vec<Event>,
}

/// The whole that a part belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PartOf {
    /// Type of the whole. The part refers to it by the type's name in lower case first: `order`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 30), regex(pattern = TYPE_NAME))]
    pub whole: String,
    /// What the whole calls its parts: `items`.
    #[schemars(length(min = 1, max = 40), regex(pattern = NAME))]
    pub inverse: String,
}

/// One value of a thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Field {
    /// Its name, as in JSON.
    #[schemars(length(min = 1, max = 40), regex(pattern = NAME))]
    pub name: String,
    /// What kind of value it is.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// The most characters of a Text: 1000 if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_length: Option<i32>,
    /// The least value of an Int or a Decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub min: Option<String>,
    /// The greatest value of an Int or a Decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub max: Option<String>,
    /// The values of an Enum.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 40), regex(pattern = ENUM_VALUE)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub values: Vec<String>,
    /// The value where a client gives none, also for rows from before the field was declared. For
    /// Text, Int, Decimal, Bool and Enum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub default: Option<String>,
    /// Whether it may be null.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// Column in the database, where it is not the field's name: a renamed field keeps its column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 60), regex(pattern = COLUMN_NAME))]
    pub column: Option<String>,
}

/// What kind of value a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum FieldType {
    /// Characters; a JSON string without U+0000.
    Text,
    /// A whole number that JSON carries exactly: at most 2^53 - 1 (RFC 7493), either sign.
    Int,
    /// An exact decimal number of at most 20 digits before and 10 after the point; a JSON string.
    Decimal,
    /// True or false.
    Bool,
    /// A moment, in microseconds; a JSON string after RFC 3339, answered in UTC.
    Timestamp,
    /// One of the declared values; a JSON string.
    Enum,
    /// A UUID; a JSON string.
    Uuid,
}

/// A reference to another thing, by its `id`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Relation {
    /// Its name, as in JSON.
    #[schemars(length(min = 1, max = 40), regex(pattern = NAME))]
    pub name: String,
    /// Type that is referred to.
    #[schemars(length(min = 1, max = 30), regex(pattern = TYPE_NAME))]
    pub to: String,
    /// What the other side calls those that refer to it, for `include`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40), regex(pattern = NAME))]
    pub inverse: Option<String>,
    /// Whether it may be null.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// Column in the database, where it is not the relation's name with `_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 60), regex(pattern = COLUMN_NAME))]
    pub column: Option<String>,
}

/// An index over a type's fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Index {
    /// Its name.
    #[schemars(length(min = 1, max = 40), regex(pattern = NAME))]
    pub name: String,
    /// Fields and relations, in order; `createdAt` and `updatedAt` too.
    #[schemars(
        length(min = 1, max = 8),
        inner(length(min = 1, max = 40), regex(pattern = NAME)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub fields: Vec<String>,
    /// Whether two things may have the same values.
    #[serde(default, skip_serializing_if = "IndexKind::is_plain")]
    pub kind: IndexKind,
}

/// Whether two things may have the same values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum IndexKind {
    /// They may.
    #[default]
    Plain,
    /// They may not: the second one is refused with 409.
    Unique,
}

impl IndexKind {
    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

/// How single things of a type are cached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TypeCache {
    /// Class of the cache that they belong to; it rules how long they live.
    #[schemars(length(min = 1, max = 20), regex(pattern = LABEL))]
    pub class: String,
}

/// What some callers may do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Access {
    /// Its name.
    #[schemars(length(min = 1, max = 40), regex(pattern = NAME))]
    pub name: String,
    /// Who.
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "set"))]
    pub roles: Vec<Role>,
    /// What.
    #[schemars(length(min = 1, max = 5), extend("x-kubernetes-list-type" = "set"))]
    pub allow: Vec<Action>,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Role {
    /// Anybody.
    Anonymous,
}

/// What a caller wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Action {
    /// Get one, list.
    Read,
    /// Create.
    Create,
    /// Change.
    Update,
    /// Delete.
    Delete,
    /// Create, change and delete.
    Write,
}

/// A job that a change publishes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Event {
    /// Its name; the job carries it.
    #[schemars(length(min = 1, max = 40), regex(pattern = NAME))]
    pub name: String,
    /// Which change. Not called `on`, which YAML 1.1 reads as `true`.
    pub when: EventOn,
    /// Where to.
    pub publish: Publish,
    /// Fields and relations that the job carries, as they are after the change (before it, for
    /// `Deleted`); `id` alone if nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(min = 1, max = 40), regex(pattern = NAME)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub payload: Vec<String>,
}

/// Which change publishes a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum EventOn {
    Created,
    Updated,
    Deleted,
}

impl EventOn {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Updated => "Updated",
            Self::Deleted => "Deleted",
        }
    }
}

/// Queue that a job is published to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Publish {
    /// The broker; may be left out where the API uses only one. One API publishes to one broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 52), regex(pattern = LABEL))]
    pub broker: Option<String>,
    /// A queue that is declared on it.
    #[schemars(length(min = 1, max = 40), regex(pattern = LABEL))]
    pub queue: String,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

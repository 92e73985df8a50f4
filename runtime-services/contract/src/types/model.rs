//! The validated set of types, with everything derived that its users need.

use super::{Action, Decimal, EventOn, IndexKind};

/// A checked set of declared types. Every [`EntityId`] in it is one of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub(super) entities: Vec<Entity>,
}

/// Place of an entity in its [`Model`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityId(pub(super) usize);

impl EntityId {
    /// Where it stands in [`Model::entities`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }
}

impl Model {
    /// All entities, in the order in which they were declared.
    pub fn entities(&self) -> impl Iterator<Item = (EntityId, &Entity)> {
        self.entities
            .iter()
            .enumerate()
            .map(|(at, entity)| (EntityId(at), entity))
    }

    /// # Panics
    /// When the id is another model's.
    #[must_use]
    pub fn entity(&self, id: EntityId) -> &Entity {
        &self.entities[id.0]
    }

    /// The entity that is served under `path` (`order-items`).
    #[must_use]
    pub fn by_path(&self, path: &str) -> Option<EntityId> {
        self.entities
            .iter()
            .position(|entity| entity.path == path)
            .map(EntityId)
    }

    /// Those whose column `.1` refers to `id`, with the name `.2` by which `id` calls them; parts
    /// included.
    pub fn inverses(&self, id: EntityId) -> impl Iterator<Item = (EntityId, &Column, &str)> {
        self.entities().flat_map(move |(other, entity)| {
            entity
                .columns
                .iter()
                .filter_map(move |column| match &column.kind {
                    Kind::Reference {
                        to,
                        inverse: Some(inverse),
                    } if *to == id => Some((other, column, inverse.as_str())),
                    _ => None,
                })
        })
    }

    /// Parts of `id`: the entity, its column that refers to the whole, the name of the list.
    pub fn parts(&self, id: EntityId) -> impl Iterator<Item = (EntityId, &Column, &str)> {
        self.inverses(id).filter(|(other, column, _)| {
            self.entity(*other).whole.as_deref() == Some(column.name.as_str())
        })
    }

    /// What callers without a name may do with `id`; a part has the access of its whole.
    #[must_use]
    pub fn anonymous_may(&self, id: EntityId, action: Action) -> bool {
        let mut entity = self.entity(id);
        // Ends: parts of parts of themselves are refused by `validate`.
        while let Some(Kind::Reference { to, .. }) =
            entity.whole_column().map(|column| &column.kind)
        {
            entity = self.entity(*to);
        }
        entity.anonymous.contains(&action)
    }
}

/// One type: a table and a collection.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    /// As declared: `OrderItem`.
    pub name: String,
    /// Table: `order_item`.
    pub table: String,
    /// Collection: `order-items`.
    pub path: String,
    /// Declared fields, then relations, then the reference to the whole. Without [`System`] ones.
    pub columns: Vec<Column>,
    /// Name of the column that refers to the whole, if this is a part.
    pub whole: Option<String>,
    pub indexes: Vec<ModelIndex>,
    /// Class of the cache, if single ones are cached.
    pub cache_class: Option<String>,
    /// Own rules only; ask [`Model::anonymous_may`].
    pub(super) anonymous: Vec<Action>,
    pub events: Vec<ModelEvent>,
}

impl Entity {
    /// The declared column of that name (as in JSON).
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The column that refers to the whole, if this is a part.
    #[must_use]
    pub fn whole_column(&self) -> Option<&Column> {
        self.whole.as_deref().and_then(|name| self.column(name))
    }
}

/// A column of a table, a member of a JSON object: a field or a relation.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// As in JSON: `unitPrice`, `customer`.
    pub name: String,
    /// As in SQL: `unit_price`, `customer_id`.
    pub column: String,
    pub kind: Kind,
    /// Whether it may be null.
    pub optional: bool,
    pub default: Option<Literal>,
}

/// What values a column has.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// At most so many characters.
    Text {
        max_length: usize,
    },
    /// Both ends included.
    Int {
        min: i64,
        max: i64,
    },
    /// Both ends included.
    Decimal {
        min: Option<Decimal>,
        max: Option<Decimal>,
    },
    Bool,
    Timestamp,
    Enum {
        values: Vec<String>,
    },
    Uuid,
    Reference {
        to: EntityId,
        /// What the other side calls those that refer to it.
        inverse: Option<String>,
    },
}

/// A declared default.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// Of a Text or an Enum.
    Text(String),
    Int(i64),
    Decimal(Decimal),
    Bool(bool),
}

#[derive(Clone, Debug, PartialEq)]
pub struct ModelIndex {
    /// As declared.
    pub name: String,
    /// In SQL, unique in the schema: `product_sku_key`, `product_recent_idx`.
    pub identifier: String,
    /// Columns in SQL, in order.
    pub columns: Vec<String>,
    /// The same as in JSON.
    pub fields: Vec<String>,
    pub kind: IndexKind,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ModelEvent {
    /// As declared.
    pub name: String,
    pub on: EventOn,
    pub queue: String,
    /// Members of the JSON object that the job carries; never empty.
    pub payload: Vec<String>,
}

/// The members that every thing has without being declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    Id,
    CreatedAt,
    UpdatedAt,
    Version,
}

impl System {
    pub const ALL: [Self; 4] = [Self::Id, Self::CreatedAt, Self::UpdatedAt, Self::Version];

    /// As in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::CreatedAt => "createdAt",
            Self::UpdatedAt => "updatedAt",
            Self::Version => "version",
        }
    }

    /// As in SQL.
    #[must_use]
    pub const fn column(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::Version => "version",
        }
    }

    /// By its name in JSON.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|system| system.name() == name)
    }
}

//! Tables as they should stand in the database, and as they are recorded to stand there.

use std::collections::BTreeMap;

use orlop_contract::types::{Column, Entity, IndexKind, Kind, Literal, Model, ModelIndex};
use serde::{Deserialize, Serialize};

use crate::request::etag;

/// All tables of one API. Recorded in the database as JSON: members are added to it, never renamed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Schema {
    pub(crate) tables: BTreeMap<String, Table>,
}

/// A table; the columns that each one has are not among these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) columns: BTreeMap<String, TableColumn>,
    pub(crate) indexes: BTreeMap<String, TableIndex>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableColumn {
    #[serde(rename = "type")]
    pub(crate) kind: ColumnType,
    pub(crate) nullable: bool,
    /// As an SQL literal.
    pub(crate) default: Option<String>,
    /// The table that it refers to.
    pub(crate) references: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ColumnType {
    Text,
    Bigint,
    Numeric,
    Boolean,
    Timestamptz,
    Uuid,
}

impl ColumnType {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Bigint => "bigint",
            Self::Numeric => "numeric",
            Self::Boolean => "boolean",
            Self::Timestamptz => "timestamptz",
            Self::Uuid => "uuid",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TableIndex {
    pub(crate) columns: Vec<String>,
    pub(crate) unique: bool,
}

impl Schema {
    /// What the model wants. Bounds of values are not in it: they hold for what is written from now
    /// on, so narrowing or widening them changes no table.
    pub(crate) fn of(model: &Model) -> Self {
        let tables = model
            .entities()
            .map(|(_, entity)| {
                let columns = entity
                    .columns
                    .iter()
                    .map(|column| (column.column.clone(), table_column(model, column)))
                    .collect();
                let indexes = declared_indexes(entity).chain(reference_indexes(entity));
                let table = Table {
                    columns,
                    indexes: indexes.collect(),
                };
                (entity.table.clone(), table)
            })
            .collect();
        Self { tables }
    }
}

fn declared_indexes(entity: &Entity) -> impl Iterator<Item = (String, TableIndex)> {
    entity.indexes.iter().map(|index| {
        let wanted = TableIndex {
            columns: index.columns.clone(),
            unique: index.kind == IndexKind::Unique,
        };
        (index.identifier.clone(), wanted)
    })
}

/// References are followed backwards by includes and by every deletion of what they refer to.
fn reference_indexes(entity: &Entity) -> impl Iterator<Item = (String, TableIndex)> {
    entity
        .columns
        .iter()
        .filter(|column| matches!(column.kind, Kind::Reference { .. }))
        .filter(|column| {
            let is_first = |index: &ModelIndex| index.columns.first() == Some(&column.column);
            !entity.indexes.iter().any(is_first)
        })
        .map(|column| {
            let wanted = TableIndex {
                columns: vec![column.column.clone()],
                unique: false,
            };
            (identifier(&entity.table, &column.column, "ref"), wanted)
        })
}

/// PostgreSQL cuts longer identifiers off.
const IDENTIFIER_MAX: usize = 63;

/// A name in the database made of these, shortened where the database would do it, but still one of
/// its own.
pub(crate) fn identifier(table: &str, column: &str, suffix: &str) -> String {
    let name = format!("{table}_{column}_{suffix}");
    if name.len() <= IDENTIFIER_MAX {
        return name;
    }
    let digits = etag::fingerprint(name.as_bytes());
    format!("{}_{digits}", &name[..IDENTIFIER_MAX - 1 - digits.len()])
}

fn table_column(model: &Model, column: &Column) -> TableColumn {
    let (kind, references) = match &column.kind {
        Kind::Text { .. } | Kind::Enum { .. } => (ColumnType::Text, None),
        Kind::Int { .. } => (ColumnType::Bigint, None),
        Kind::Decimal { .. } => (ColumnType::Numeric, None),
        Kind::Bool => (ColumnType::Boolean, None),
        Kind::Timestamp => (ColumnType::Timestamptz, None),
        Kind::Uuid => (ColumnType::Uuid, None),
        Kind::Reference { to, .. } => (ColumnType::Uuid, Some(model.entity(*to).table.clone())),
    };
    TableColumn {
        kind,
        nullable: column.optional,
        default: column.default.as_ref().map(literal),
        references,
    }
}

fn literal(default: &Literal) -> String {
    match default {
        Literal::Text(text) => quoted(text),
        Literal::Int(number) => number.to_string(),
        Literal::Decimal(number) => number.to_string(),
        Literal::Bool(truth) => truth.to_string(),
    }
}

/// A string constant in the form in which a backslash means itself whatever the server's settings
/// (PostgreSQL, 4.1.2.2): the declared default of a Text may hold anything.
fn quoted(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_cannot_end_its_constant() {
        assert_eq!(quoted("a'b\\"), "E'a''b\\\\'");
    }

    #[test]
    fn a_long_name_is_cut_where_the_database_would_and_stays_its_own() {
        let one = identifier(&"t".repeat(50), &"c".repeat(50), "fkey");
        let other = identifier(&"t".repeat(50), &"c".repeat(51), "fkey");
        assert_eq!(one.len(), IDENTIFIER_MAX);
        assert_ne!(one, other);
        assert_eq!(identifier("boat", "pier_id", "fkey"), "boat_pier_id_fkey");
    }
}

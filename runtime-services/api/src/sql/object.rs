//! A row as the JSON that clients get, made by PostgreSQL in the same statement.

use orlop_contract::types::{EntityId, Kind, Model};

use super::Aliases;
use crate::{
    member::{self, Member},
    request::include::{Edge, Include},
};

/// Things of one included list: more are read from their own collection.
pub(crate) const INCLUDED_MAX: u32 = 200;

/// The expression of the row `alias` as JSON, with what is included.
pub(super) fn expression(
    model: &Model,
    entity: EntityId,
    alias: &str,
    include: &Include,
    aliases: &mut Aliases,
) -> String {
    let mut members: Vec<String> = Vec::new();
    for member in member::all(model.entity(entity)) {
        // An included thing stands in place of its id.
        let is_replaced = include.edges.iter().any(|edge| edge.name == member.name);
        if !is_replaced {
            members.push(format!("{} as \"{}\"", scalar(alias, &member), member.name));
        }
    }
    for edge in &include.edges {
        let below = if edge.many {
            many(model, alias, edge, aliases)
        } else {
            one(model, alias, edge, aliases)
        };
        members.push(format!("{below} as \"{}\"", edge.name));
    }
    let row = aliases.next();
    format!(
        "(select row_to_json({row}) from (select {}) {row})",
        members.join(", ")
    )
}

/// One value as JSON shows it.
fn scalar(alias: &str, member: &Member) -> String {
    let column = format!("{alias}.\"{}\"", member.column);
    match member.kind {
        Kind::Decimal { .. } | Kind::Timestamp => as_text(alias, member),
        _ => column,
    }
}

/// One value as text that [`crate::value::Value::from_text`] reads back.
pub(super) fn as_text(alias: &str, member: &Member) -> String {
    let column = format!("{alias}.\"{}\"", member.column);
    match member.kind {
        Kind::Timestamp => {
            format!("to_char({column} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
        }
        Kind::Text { .. } | Kind::Enum { .. } => column,
        _ => format!("{column}::text"),
    }
}

fn one(model: &Model, from: &str, edge: &Edge, aliases: &mut Aliases) -> String {
    let alias = aliases.next();
    let object = expression(model, edge.to, &alias, &edge.below, aliases);
    format!(
        "(select {object} from \"{}\" {alias} where {alias}.\"id\" = {from}.\"{}\")",
        model.entity(edge.to).table,
        edge.column
    )
}

fn many(model: &Model, from: &str, edge: &Edge, aliases: &mut Aliases) -> String {
    let alias = aliases.next();
    let list = aliases.next();
    let object = expression(model, edge.to, &alias, &edge.below, aliases);
    format!(
        "(select coalesce(json_agg({list}.o order by {list}.\"id\"), '[]') from \
         (select {object} as o, {alias}.\"id\" from \"{}\" {alias} \
         where {alias}.\"{}\" = {from}.\"id\" order by {alias}.\"id\" limit {INCLUDED_MAX}) {list})",
        model.entity(edge.to).table,
        edge.column
    )
}

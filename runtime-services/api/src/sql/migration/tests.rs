use orlop_contract::types::{Type, validate};
use serde_json::json;

use super::*;
use crate::fixture;

fn schema(types: serde_json::Value) -> Schema {
    let types: Vec<Type> = serde_json::from_value(types).unwrap();
    Schema::of(&validate(&types).unwrap())
}

/// A boat with these fields and indexes.
fn boat(fields: &serde_json::Value, indexes: &serde_json::Value) -> Schema {
    schema(json!([{"name": "Boat", "fields": fields, "indexes": indexes}]))
}

fn statements(from: &Schema, to: &Schema) -> Vec<String> {
    plan(from, to)
        .unwrap()
        .steps
        .iter()
        .map(Step::sql)
        .collect()
}

fn refusals(from: &Schema, to: &Schema) -> Vec<String> {
    plan(from, to)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn an_empty_database_gets_all_tables_then_references_then_indexes() {
    let wanted = Schema::of(&fixture::model());
    insta::assert_snapshot!(statements(&Schema::default(), &wanted).join(";\n"));
}

#[test]
fn nothing_is_done_twice() {
    let wanted = Schema::of(&fixture::model());
    let done = plan(&Schema::default(), &wanted).unwrap().record;
    assert_eq!(plan(&done, &wanted).unwrap().steps, []);
}

#[test]
fn a_new_field_is_added_if_old_rows_can_have_it() {
    let before = boat(&json!([]), &json!([]));
    let optional = boat(
        &json!([{"name": "note", "type": "Text", "optional": true}]),
        &json!([]),
    );
    let defaulted = boat(
        &json!([{"name": "note", "type": "Text", "default": "it's"}]),
        &json!([]),
    );
    let required = boat(&json!([{"name": "note", "type": "Text"}]), &json!([]));
    assert_eq!(
        statements(&before, &optional),
        ["alter table \"boat\" add column \"note\" text"]
    );
    assert_eq!(
        statements(&before, &defaulted),
        ["alter table \"boat\" add column \"note\" text not null default E'it''s'"]
    );
    assert_eq!(refusals(&before, &required).len(), 1);
}

#[test]
fn a_renamed_field_keeps_its_column() {
    let before = boat(&json!([{"name": "cost", "type": "Decimal"}]), &json!([]));
    let renamed = boat(
        &json!([{"name": "price", "type": "Decimal", "column": "cost"}]),
        &json!([]),
    );
    assert_eq!(statements(&before, &renamed), [""; 0]);
}

#[test]
fn bounds_change_no_table() {
    let before = boat(
        &json!([{"name": "a", "type": "Int", "max": "5"}]),
        &json!([]),
    );
    let after = boat(
        &json!([{"name": "a", "type": "Int", "max": "9"}]),
        &json!([]),
    );
    assert_eq!(statements(&before, &after), [""; 0]);
}

#[test]
fn a_field_that_is_declared_no_more_stays_and_may_be_null() {
    let before = boat(&json!([{"name": "note", "type": "Text"}]), &json!([]));
    let after = boat(&json!([]), &json!([]));
    assert_eq!(
        statements(&before, &after),
        ["alter table \"boat\" alter column \"note\" drop not null"]
    );
}

#[test]
fn the_old_revision_can_start_again_after_the_new_one_migrated() {
    let old = boat(&json!([{"name": "gone", "type": "Text"}]), &json!([]));
    let new = boat(
        &json!([{"name": "note", "type": "Text", "default": "x"}]),
        &json!([{"name": "note", "fields": ["note"], "kind": "Unique"}]),
    );
    let recorded = plan(&old, &new).unwrap().record;
    let again = plan(&recorded, &old).unwrap();
    assert_eq!(
        again.steps,
        [Step::RequireNoNull {
            table: "boat".into(),
            column: "gone".into()
        }]
    );
    assert_eq!(again.left, ["boat_note_key"]);
    assert_eq!(plan(&again.record, &new).unwrap().steps, []);
}

#[test]
fn what_does_not_only_add_is_refused_with_the_reason() {
    let before = schema(json!([
        {"name": "Boat", "fields": [{"name": "a", "type": "Int"}],
         "relations": [{"name": "pier", "to": "Pier"}],
         "indexes": [{"name": "a", "fields": ["a"]}]},
        {"name": "Pier"},
    ]));
    let after = schema(json!([
        {"name": "Boat", "fields": [{"name": "a", "type": "Text"}],
         "relations": [{"name": "pier", "to": "Boat"}],
         "indexes": [{"name": "a", "fields": ["a", "pier"]}]},
        {"name": "Pier"},
    ]));
    assert_eq!(
        refusals(&before, &after),
        [
            "column `a` of table `boat` is bigint and cannot become text: declare a new field",
            "column `pier_id` of table `boat` refers to pier and cannot refer to boat: declare a new relation",
            "index `boat_a_idx` of table `boat` stands with other fields: give the index another name",
        ]
    );
}

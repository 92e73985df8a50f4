//! Writing: every statement answers with id, version and JSON of the rows that it touched.

use orlop_contract::types::{EntityId, Model, System};
use uuid::Uuid;

use super::{Aliases, Sql, object};
use crate::request::{
    body::{Changes, Draft},
    etag::Condition,
    include::Include,
};

/// Creates all drafts, which are of one entity and at least one.
pub(crate) fn insert(model: &Model, entity: EntityId, drafts: &[&Draft]) -> Sql {
    let declared = model.entity(entity);
    let mut sql = Sql {
        is_fixed: drafts.len() == 1,
        ..Sql::default()
    };
    sql.push("with t0 as (insert into ")
        .identifier(&declared.table)
        .push(" (\"id\"");
    for column in &declared.columns {
        sql.push(", ").identifier(&column.column);
    }
    sql.push(") values ");
    for (at, draft) in drafts.iter().enumerate() {
        sql.push(if at > 0 { ", (" } else { "(" }).bind_id(draft.id);
        for (column, value) in declared.columns.iter().zip(&draft.values) {
            sql.push(", ").bind(&column.kind, value.clone());
        }
        sql.push(")");
    }
    answering(&mut sql, model, entity);
    sql
}

/// Changes one thing if the condition holds; otherwise touches no row.
pub(crate) fn update(
    model: &Model,
    entity: EntityId,
    id: Uuid,
    changes: Changes,
    condition: &Condition,
) -> Sql {
    let declared = model.entity(entity);
    let mut sql = Sql::default();
    sql.push("with t0 as (update ")
        .identifier(&declared.table)
        .push(" set ");
    for (at, value) in changes {
        let column = &declared.columns[at];
        sql.identifier(&column.column)
            .push(" = ")
            .bind(&column.kind, value)
            .push(", ");
    }
    let (version, updated_at) = (System::Version.column(), System::UpdatedAt.column());
    sql.push(&format!(
        "\"{version}\" = \"{version}\" + 1, \"{updated_at}\" = now() where \"id\" = "
    ))
    .bind_id(id);
    if let Condition::Version(versions) = condition {
        sql.push(" and \"version\" in (null");
        for version in versions {
            sql.push(", ").bind_int(*version);
        }
        sql.push(")");
    }
    answering(&mut sql, model, entity);
    sql
}

/// Locks one thing against changes and against new references to it, and answers its version.
pub(crate) fn lock(model: &Model, entity: EntityId, id: Uuid) -> Sql {
    let mut sql = fixed();
    sql.push("select \"version\" from ")
        .identifier(&model.entity(entity).table)
        .push(" where \"id\" = ")
        .bind_id(id)
        .push(" for update");
    sql
}

/// Locks the parts of things that are locked, and answers their ids.
pub(crate) fn lock_parts(model: &Model, part: EntityId, column: &str, wholes: &[Uuid]) -> Sql {
    let mut sql = fixed();
    sql.push("select \"id\" from ")
        .identifier(&model.entity(part).table)
        .push(" where ")
        .identifier(column);
    among(&mut sql, wholes);
    sql.push(" order by \"id\" for update");
    sql
}

/// Deletes things, and answers them as they were.
pub(crate) fn delete(model: &Model, entity: EntityId, ids: &[Uuid]) -> Sql {
    let mut sql = fixed();
    sql.push("with t0 as (delete from ")
        .identifier(&model.entity(entity).table)
        .push(" where \"id\"");
    among(&mut sql, ids);
    answering(&mut sql, model, entity);
    sql
}

fn fixed() -> Sql {
    Sql {
        is_fixed: true,
        ..Sql::default()
    }
}

fn among(sql: &mut Sql, ids: &[Uuid]) {
    sql.push(" = any(");
    sql.bind_ids(ids).push(")");
}

fn answering(sql: &mut Sql, model: &Model, entity: EntityId) {
    let mut aliases = Aliases::default();
    let alias = aliases.next();
    let object = object::expression(model, entity, &alias, &Include::default(), &mut aliases);
    sql.push(&format!(
        " returning *) select {alias}.\"id\", {alias}.\"version\", {object}::text from {alias}"
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixture, request::body, value::Value};

    #[test]
    fn writing_answers_with_what_was_written() {
        let model = fixture::model();
        let pier = model.by_path("piers").unwrap();
        let draft = body::create(
            &model,
            pier,
            &serde_json::json!({"number": 7}),
            &mut Uuid::nil,
        )
        .unwrap();
        let texts = [
            insert(&model, pier, &[&draft, &draft]).text,
            update(
                &model,
                pier,
                Uuid::nil(),
                vec![(0, Value::Int(8))],
                &Condition::Version(vec![3]),
            )
            .text,
            delete(&model, pier, &[Uuid::nil()]).text,
        ];
        insta::assert_snapshot!(texts.join("\n\n"));
    }

    #[test]
    fn parts_are_locked_by_their_whole() {
        let model = fixture::model();
        let leg = model.by_path("voyage-legs").unwrap();
        assert_eq!(
            lock_parts(&model, leg, "voyage_id", &[Uuid::nil()]).text,
            "select \"id\" from \"voyage_leg\" where \"voyage_id\" = any($1) order by \"id\" for update"
        );
    }
}

//! Reading: one thing, or a page of a list. One statement each, whatever is included.

use orlop_contract::types::{EntityId, Model};
use uuid::Uuid;

use super::{Aliases, Sql, object};
use crate::{
    request::{
        include::Include,
        list::{Filter, List, Operator, SortKey},
    },
    value::Value,
};

/// One thing: its version, its JSON.
pub(crate) fn one(model: &Model, entity: EntityId, id: Uuid, include: &Include) -> Sql {
    let mut aliases = Aliases::default();
    let alias = aliases.next();
    let object = object::expression(model, entity, &alias, include, &mut aliases);
    let mut sql = Sql {
        is_fixed: include.is_empty(),
        ..Sql::default()
    };
    sql.push(&format!(
        "select {alias}.\"version\", {object}::text from \"{}\" {alias} where {alias}.\"id\" = ",
        model.entity(entity).table
    ));
    sql.bind_id(id);
    sql
}

/// A page: the JSON of each thing, then its sort keys as text. Asks for one more than the limit,
/// which tells whether there is a next page.
pub(crate) fn list(model: &Model, entity: EntityId, list: &List) -> Sql {
    let mut aliases = Aliases::default();
    let alias = aliases.next();
    let object = object::expression(model, entity, &alias, &list.include, &mut aliases);
    let keys: Vec<_> = list
        .sort
        .iter()
        .map(|key| object::as_text(&alias, &key.member))
        .collect();
    let order = order(&alias, &list.sort);

    // Only rows of the page become JSON.
    let mut sql = Sql::default();
    sql.push(&format!(
        "select {object}::text, {} from (select {alias}.* from \"{}\" {alias}",
        keys.join(", "),
        model.entity(entity).table
    ));
    let mut word = " where ";
    for filter in &list.filters {
        sql.push(word);
        filtered(&mut sql, &alias, filter);
        word = " and ";
    }
    if let Some(after) = &list.after {
        sql.push(word);
        beyond(&mut sql, &alias, &list.sort, after);
    }
    sql.push(&format!(" order by {order} limit "))
        .bind_int(i64::from(list.limit) + 1)
        .push(&format!(") {alias} order by {order}"));
    sql
}

fn order(alias: &str, sort: &[SortKey]) -> String {
    let keys: Vec<_> = sort
        .iter()
        .map(|key| {
            let direction = match (key.descending, key.member.nullable) {
                (false, _) => "",
                (true, false) => " desc",
                // Nulls come last in either direction.
                (true, true) => " desc nulls last",
            };
            format!("{alias}.\"{}\"{direction}", key.member.column)
        })
        .collect();
    keys.join(", ")
}

fn filtered(sql: &mut Sql, alias: &str, filter: &Filter) {
    let Filter {
        member,
        operator,
        values,
    } = filter;
    let sign = match operator {
        Operator::Equal => " = ",
        // What is null differs from every value.
        Operator::NotEqual => " is distinct from ",
        Operator::Less => " < ",
        Operator::LessOrEqual => " <= ",
        Operator::Greater => " > ",
        Operator::GreaterOrEqual => " >= ",
        Operator::In => " in (",
    };
    sql.push(&format!("{alias}.\"{}\"{sign}", member.column));
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            sql.push(", ");
        }
        sql.bind(&member.kind, value.clone());
    }
    if *operator == Operator::In {
        sql.push(")");
    }
}

/// What comes after a row in the order: greater in the first key, or equal there and greater in the
/// second, and so on.
fn beyond(sql: &mut Sql, alias: &str, sort: &[SortKey], after: &[Value]) {
    let is_uniform = sort
        .iter()
        .all(|key| !key.member.nullable && key.descending == sort[0].descending);
    if is_uniform {
        return beyond_row(sql, alias, sort, after);
    }
    sql.push("(false");
    for last in 0..sort.len() {
        // Nothing comes after null but what is equal to it.
        if after[last] == Value::Null {
            continue;
        }
        sql.push(" or (");
        for (key, value) in sort.iter().zip(after).take(last) {
            equal(sql, alias, key, value);
            sql.push(" and ");
        }
        greater(sql, alias, &sort[last], &after[last]);
        sql.push(")");
    }
    sql.push(")");
}

/// The same as one comparison of rows, which an index over the keys can serve.
fn beyond_row(sql: &mut Sql, alias: &str, sort: &[SortKey], after: &[Value]) {
    let columns: Vec<_> = sort
        .iter()
        .map(|key| format!("{alias}.\"{}\"", key.member.column))
        .collect();
    let sign = if sort[0].descending { "<" } else { ">" };
    sql.push(&format!("({}) {sign} (", columns.join(", ")));
    for (at, (key, value)) in sort.iter().zip(after).enumerate() {
        if at > 0 {
            sql.push(", ");
        }
        sql.bind(&key.member.kind, value.clone());
    }
    sql.push(")");
}

fn equal(sql: &mut Sql, alias: &str, key: &SortKey, value: &Value) {
    sql.push(&format!("{alias}.\"{}\"", key.member.column));
    if *value == Value::Null {
        sql.push(" is null");
    } else {
        sql.push(" = ").bind(&key.member.kind, value.clone());
    }
}

fn greater(sql: &mut Sql, alias: &str, key: &SortKey, value: &Value) {
    let column = format!("{alias}.\"{}\"", key.member.column);
    let sign = if key.descending { "<" } else { ">" };
    if key.member.nullable {
        sql.push(&format!("({column} {sign} "))
            .bind(&key.member.kind, value.clone())
            .push(&format!(" or {column} is null)"));
    } else {
        sql.push(&format!("{column} {sign} "))
            .bind(&key.member.kind, value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn listed(path: &str, query: &str) -> Sql {
        let model = fixture::model();
        let id = model.by_path(path).unwrap();
        list(&model, id, &List::parse(&model, id, query).unwrap())
    }

    #[test]
    fn one_thing_is_read_with_all_that_is_included_in_one_statement() {
        let model = fixture::model();
        let voyage = model.by_path("voyages").unwrap();
        let include = Include::parse(&model, voyage, "boat,legs.pier").unwrap();
        insta::assert_snapshot!(one(&model, voyage, Uuid::nil(), &include).text);
    }

    #[test]
    fn a_list_becomes_one_statement() {
        insta::assert_snapshot!(
            listed("boats", "price.lt=20&berths.in=1,2&note.ne=x&limit=10").text
        );
    }

    #[test]
    fn a_page_goes_on_where_the_last_one_ended_also_after_null() {
        let sorted = List::parse(
            &fixture::model(),
            fixture::model().by_path("boats").unwrap(),
            "sort=-note,price",
        )
        .unwrap();
        let id = "67e55044-10b1-426f-9247-bb680e5fe0c8".to_owned();
        let after_null = sorted.cursor(vec![None, Some("1".into()), Some(id.clone())]);
        let after_value = sorted.cursor(vec![Some("a".into()), Some("1".into()), Some(id)]);
        let text =
            |cursor: String| listed("boats", &format!("sort=-note,price&after={cursor}")).text;
        insta::assert_snapshot!(format!(
            "{}\n\n{}",
            text(after_null.encode()),
            text(after_value.encode())
        ));
    }

    #[test]
    fn what_a_client_says_is_never_part_of_the_text() {
        let sql = listed("boats", "hull=%27%3B+drop+table+boat%3B--");
        assert!(!sql.text.contains("drop"), "{}", sql.text);
        assert_eq!(
            sql.parameters[0].0,
            Value::Text("'; drop table boat;--".into())
        );
    }
}

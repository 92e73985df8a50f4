//! The query of a list: filters, sort, page, includes.

use orlop_contract::types::{Entity, EntityId, Model, System};

use super::{Fault, Refusal, cursor::Cursor, include::Include};
use crate::{
    member::{self, Member},
    value::Value,
};

pub(crate) const LIMIT_MAX: u32 = 200;
pub(crate) const LIMIT_DEFAULT: u32 = 50;
/// More would be a search, which is a service's work.
const FILTERS_MAX: usize = 16;
const SORT_MAX: usize = 3;
/// Values of one `in`.
const IN_MAX: usize = 100;

/// What is asked of a collection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct List {
    pub(crate) filters: Vec<Filter>,
    /// Ends with the id, so that the order is total.
    pub(crate) sort: Vec<SortKey>,
    pub(crate) limit: u32,
    /// Values of the sort keys of the last thing that was answered before.
    pub(crate) after: Option<Vec<Value>>,
    pub(crate) include: Include,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Filter {
    pub(crate) member: Member,
    pub(crate) operator: Operator,
    /// One, or for [`Operator::In`] at least one.
    pub(crate) values: Vec<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

impl Operator {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "ne" => Self::NotEqual,
            "lt" => Self::Less,
            "lte" => Self::LessOrEqual,
            "gt" => Self::Greater,
            "gte" => Self::GreaterOrEqual,
            "in" => Self::In,
            _ => return None,
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SortKey {
    pub(crate) member: Member,
    pub(crate) descending: bool,
}

impl List {
    /// The cursor after a thing that was sorted by these values.
    pub(crate) fn cursor(&self, values: Vec<Option<String>>) -> Cursor {
        Cursor {
            sort: sort_text(&self.sort),
            values,
        }
    }

    /// Reads the query, percent-encoded as it came.
    ///
    /// # Errors
    /// When something is asked that does not exist, or may not be read.
    pub(crate) fn parse(model: &Model, id: EntityId, query: &str) -> Result<Self, Refusal> {
        let entity = model.entity(id);
        let mut faults = Vec::new();
        let mut list = Self {
            filters: Vec::new(),
            sort: Vec::new(),
            limit: LIMIT_DEFAULT,
            after: None,
            include: Include::default(),
        };
        let mut after = None;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let outcome = match name.as_ref() {
                "limit" => limit(&value).map(|limit| list.limit = limit),
                "sort" => sort(entity, &value).map(|sort| list.sort = sort),
                "after" => {
                    after = Some(value.into_owned());
                    Ok(())
                }
                "include" => {
                    list.include = Include::parse(model, id, &value)?;
                    Ok(())
                }
                name => filter(entity, name, &value).map(|filter| list.filters.push(filter)),
            };
            faults.extend(outcome.err());
        }
        if list.filters.len() > FILTERS_MAX {
            faults.push(Fault::parameter(
                list.filters[FILTERS_MAX].member.name.clone(),
                format!("at most {FILTERS_MAX} filters are allowed"),
            ));
        }
        complete(&mut list.sort);
        if let Some(text) = after {
            match position(&list.sort, &text) {
                Some(values) => list.after = Some(values),
                None => faults.push(Fault::parameter(
                    "after",
                    "must be the `next` of a list with the same sort",
                )),
            }
        }
        if faults.is_empty() {
            Ok(list)
        } else {
            Err(Refusal::Query(faults))
        }
    }
}

fn limit(text: &str) -> Result<u32, Fault> {
    text.parse()
        .ok()
        .filter(|limit| (1..=LIMIT_MAX).contains(limit))
        .ok_or_else(|| Fault::parameter("limit", format!("must be 1 to {LIMIT_MAX}")))
}

fn sort(entity: &Entity, text: &str) -> Result<Vec<SortKey>, Fault> {
    let mut keys: Vec<SortKey> = Vec::new();
    for key in text.split(',') {
        let (name, descending) = match key.strip_prefix('-') {
            Some(name) => (name, true),
            None => (key, false),
        };
        let member = member::named(entity, name).ok_or_else(|| {
            Fault::parameter("sort", format!("`{}` has no `{name}`", entity.name))
        })?;
        if keys.iter().any(|other| other.member.name == member.name) {
            let twice = format!("`{name}` stands there twice");
            return Err(Fault::parameter("sort", twice));
        }
        keys.push(SortKey { member, descending });
    }
    if keys.len() > SORT_MAX {
        let many = format!("at most {SORT_MAX} fields are allowed");
        return Err(Fault::parameter("sort", many));
    }
    Ok(keys)
}

/// Ends the order with the id: what comes after it in the sort decides nothing.
fn complete(sort: &mut Vec<SortKey>) {
    let id = System::Id.name();
    if let Some(at) = sort.iter().position(|key| key.member.name == id) {
        sort.truncate(at + 1);
        return;
    }
    let descending = sort.last().is_some_and(|key| key.descending);
    sort.push(SortKey {
        member: member::system(System::Id),
        descending,
    });
}

fn position(sort: &[SortKey], text: &str) -> Option<Vec<Value>> {
    let cursor = Cursor::decode(text)?;
    if cursor.sort != sort_text(sort) || cursor.values.len() != sort.len() {
        return None;
    }
    sort.iter()
        .zip(cursor.values)
        .map(|(key, value)| match value {
            Some(text) => Value::from_text(&key.member.kind, &text).ok(),
            None => key.member.nullable.then_some(Value::Null),
        })
        .collect()
}

fn sort_text(sort: &[SortKey]) -> String {
    let keys: Vec<_> = sort
        .iter()
        .map(|key| {
            format!(
                "{}{}",
                if key.descending { "-" } else { "" },
                key.member.name
            )
        })
        .collect();
    keys.join(",")
}

fn filter(entity: &Entity, parameter: &str, text: &str) -> Result<Filter, Fault> {
    let fault = |detail: String| Fault::parameter(parameter, detail);
    let (name, operator) = match parameter.split_once('.') {
        Some((name, operator)) => {
            let known = Operator::parse(operator)
                .ok_or_else(|| fault("the operators are ne, lt, lte, gt, gte and in".to_owned()))?;
            (name, known)
        }
        None => (parameter, Operator::Equal),
    };
    let member = member::named(entity, name)
        .ok_or_else(|| fault(format!("`{}` has no `{name}`", entity.name)))?;
    let texts: Vec<_> = match operator {
        Operator::In => text.split(',').collect(),
        _ => vec![text],
    };
    if texts.len() > IN_MAX {
        return Err(fault(format!("at most {IN_MAX} values are allowed")));
    }
    let values = texts
        .into_iter()
        .map(|text| Value::from_text(&member.kind, text))
        .collect::<Result<_, _>>()
        .map_err(fault)?;
    Ok(Filter {
        member,
        operator,
        values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn parse(query: &str) -> Result<List, Refusal> {
        let model = fixture::model();
        List::parse(&model, model.by_path("boats").unwrap(), query)
    }

    fn faults(query: &str) -> Vec<String> {
        match parse(query) {
            Err(Refusal::Query(faults)) => faults.into_iter().map(|fault| fault.detail).collect(),
            other => panic!("{query} is not refused: {other:?}"),
        }
    }

    #[test]
    fn an_empty_query_lists_in_order_of_creation() {
        let list = parse("").unwrap();
        assert_eq!(sort_text(&list.sort), "id");
        assert_eq!(list.limit, 50);
    }

    #[test]
    fn the_id_breaks_ties_in_the_direction_of_the_last_key() {
        assert_eq!(
            sort_text(&parse("sort=price,-hull").unwrap().sort),
            "price,-hull,-id"
        );
        assert_eq!(sort_text(&parse("sort=-id,price").unwrap().sort), "-id");
    }

    #[test]
    fn filters_are_read_with_their_operators() {
        let list = parse("price.lt=20&berths.in=1,2&hull=a%2Cb").unwrap();
        assert_eq!(list.filters[0].operator, Operator::Less);
        assert_eq!(list.filters[1].values, [Value::Int(1), Value::Int(2)]);
        assert_eq!(list.filters[2].values, [Value::Text("a,b".into())]);
    }

    #[test]
    fn every_fault_is_told() {
        assert_eq!(
            faults("limit=201&sort=keel&price.like=1&berths=x&after=zzz"),
            [
                "must be 1 to 200",
                "`Boat` has no `keel`",
                "the operators are ne, lt, lte, gt, gte and in",
                "must be a whole number",
                "must be the `next` of a list with the same sort",
            ]
        );
    }

    #[test]
    fn a_cursor_of_another_sort_is_refused() {
        let list = parse("sort=price").unwrap();
        let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let cursor = list
            .cursor(vec![Some("1.5".into()), Some(id.into())])
            .encode();
        assert!(parse(&format!("sort=price&after={cursor}")).is_ok());
        assert_eq!(
            faults(&format!("sort=-price&after={cursor}")),
            ["must be the `next` of a list with the same sort"]
        );
    }
}

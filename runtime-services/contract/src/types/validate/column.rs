//! Fields and relations become columns.

use std::collections::BTreeSet;

use super::{Ids, Problems};
use crate::types::{
    Column, Decimal, Field, FieldType, Kind, Literal, PartOf, Relation, System, bound,
    name::{lower_first, snake},
};

/// Length of a Text of which nothing is said.
const TEXT_LENGTH: usize = 1000;
const TEXT_LENGTH_MAX: usize = 100_000;
/// RFC 7493 section 2.2: what every reader of JSON holds exactly.
const INT_MAX: i64 = (1 << 53) - 1;
/// Words of a list's query, which a filter could not be told from.
const QUERY_WORDS: [&str; 4] = ["after", "include", "limit", "sort"];

pub(super) fn of_field(at: &str, field: &Field, problems: &mut Problems) -> Option<Column> {
    let at = format!("{at}.fields[{}]", field.name);
    let before = problems.found.len();
    check_name(&at, &field.name, problems);
    let column = column_name(
        &at,
        field.column.as_deref(),
        || snake(&field.name),
        problems,
    );
    let kind = kind(&at, field, problems)?;
    let default = match &field.default {
        Some(text) => Some(default(&at, text, &kind, problems)?),
        None => None,
    };
    (problems.found.len() == before).then(|| Column {
        name: field.name.clone(),
        column,
        kind,
        optional: field.optional,
        default,
    })
}

pub(super) fn of_relation(
    at: &str,
    relation: &Relation,
    ids: &Ids<'_>,
    problems: &mut Problems,
) -> Option<Column> {
    let at = format!("{at}.relations[{}]", relation.name);
    check_name(&at, &relation.name, problems);
    if let Some(inverse) = &relation.inverse {
        check_name(&format!("{at}.inverse"), inverse, problems);
    }
    let derived = || format!("{}_id", snake(&relation.name));
    let column = column_name(&at, relation.column.as_deref(), derived, problems);
    let Some(to) = ids.get(relation.to.as_str()) else {
        problems.add(format!("{at}.to"), unknown_type(&relation.to));
        return None;
    };
    Some(Column {
        name: relation.name.clone(),
        column,
        kind: Kind::Reference {
            to: *to,
            inverse: relation.inverse.clone(),
        },
        optional: relation.optional,
        default: None,
    })
}

pub(super) fn of_whole(
    at: &str,
    part_of: &PartOf,
    ids: &Ids<'_>,
    problems: &mut Problems,
) -> Option<Column> {
    let at = format!("{at}.partOf");
    check_name(&format!("{at}.inverse"), &part_of.inverse, problems);
    let Some(to) = ids.get(part_of.whole.as_str()) else {
        problems.add(format!("{at}.type"), unknown_type(&part_of.whole));
        return None;
    };
    Some(Column {
        name: lower_first(&part_of.whole),
        column: format!("{}_id", snake(&part_of.whole)),
        kind: Kind::Reference {
            to: *to,
            inverse: Some(part_of.inverse.clone()),
        },
        optional: false,
        default: None,
    })
}

/// Names must differ among themselves, and so must the columns that they are kept in.
pub(super) fn check_unique(at: &str, columns: &[Column], problems: &mut Problems) {
    let mut names = BTreeSet::new();
    let mut kept_in: BTreeSet<_> = System::ALL.into_iter().map(System::column).collect();
    for column in columns {
        if !names.insert(column.name.as_str()) {
            problems.add(
                at,
                format!(
                    "more than one field or relation is called `{}`",
                    column.name
                ),
            );
        } else if !kept_in.insert(column.column.as_str()) {
            problems.add(
                at,
                format!(
                    "`{}` is kept in column `{}`, which is taken: set another `column`",
                    column.name, column.column
                ),
            );
        }
    }
}

fn check_name(at: &str, name: &str, problems: &mut Problems) {
    if !bound::is_name(name, 40) {
        problems.add(
            at,
            "the name must be at most 40 letters and digits and start with a lower-case letter",
        );
    } else if System::by_name(name).is_some() {
        problems.add(at, "every type has a field of that name");
    } else if QUERY_WORDS.contains(&name) {
        problems.add(
            at,
            "the name is a word of a list's query: choose another one",
        );
    }
}

fn column_name(
    at: &str,
    said: Option<&str>,
    derived: impl Fn() -> String,
    problems: &mut Problems,
) -> String {
    let Some(said) = said else { return derived() };
    if !bound::is_column_name(said, 60) {
        problems.add(
            format!("{at}.column"),
            "must be at most 60 lower-case letters, digits and underscores and start with a letter",
        );
    }
    said.to_owned()
}

fn kind(at: &str, field: &Field, problems: &mut Problems) -> Option<Kind> {
    let before = problems.found.len();
    check_members(at, field, problems);
    let kind = match field.kind {
        FieldType::Text => Kind::Text {
            max_length: text_length(at, field, problems),
        },
        FieldType::Int => int(at, field, problems),
        FieldType::Decimal => decimal(at, field, problems),
        FieldType::Bool => Kind::Bool,
        FieldType::Timestamp => Kind::Timestamp,
        FieldType::Enum => Kind::Enum {
            values: field.values.clone(),
        },
        FieldType::Uuid => Kind::Uuid,
    };
    (problems.found.len() == before).then_some(kind)
}

/// Members that mean nothing for this type of field are refused, not ignored.
fn check_members(at: &str, field: &Field, problems: &mut Problems) {
    let is_number = matches!(field.kind, FieldType::Int | FieldType::Decimal);
    let has_default = !matches!(field.kind, FieldType::Timestamp | FieldType::Uuid);
    let members = [
        (
            "maxLength",
            field.max_length.is_some(),
            field.kind == FieldType::Text,
            "a Text",
        ),
        ("min", field.min.is_some(), is_number, "an Int or a Decimal"),
        ("max", field.max.is_some(), is_number, "an Int or a Decimal"),
        (
            "values",
            !field.values.is_empty(),
            field.kind == FieldType::Enum,
            "an Enum",
        ),
        (
            "default",
            field.default.is_some(),
            has_default,
            "a Text, Int, Decimal, Bool or Enum",
        ),
    ];
    for (member, is_said, has_meaning, of) in members {
        if is_said && !has_meaning {
            problems.add(format!("{at}.{member}"), format!("only {of} has it"));
        }
    }
    if field.kind == FieldType::Enum {
        check_values(at, &field.values, problems);
    }
}

fn check_values(at: &str, values: &[String], problems: &mut Problems) {
    let at = format!("{at}.values");
    if values.is_empty() || values.len() > 64 {
        problems.add(&at, "an Enum has 1 to 64 values");
    }
    let mut seen = BTreeSet::new();
    for value in values {
        if !bound::is_enum_value(value, 40) {
            problems.add(
                &at,
                format!(
                    "`{value}` must be at most 40 letters, digits, dots, dashes and underscores"
                ),
            );
        } else if !seen.insert(value) {
            problems.add(&at, format!("`{value}` stands there twice"));
        }
    }
}

fn text_length(at: &str, field: &Field, problems: &mut Problems) -> usize {
    let Some(said) = field.max_length else {
        return TEXT_LENGTH;
    };
    if let Ok(length @ 1..=TEXT_LENGTH_MAX) = usize::try_from(said) {
        return length;
    }
    problems.add(
        format!("{at}.maxLength"),
        format!("must be 1 to {TEXT_LENGTH_MAX}"),
    );
    TEXT_LENGTH
}

fn int(at: &str, field: &Field, problems: &mut Problems) -> Kind {
    let allowed = "must be a whole number of at most 2^53 - 1, either sign";
    let mut end = |member, said: &Option<String>| {
        let text = said.as_deref()?;
        parsed(at, member, whole(text), allowed, problems)
    };
    let min = end("min", &field.min).unwrap_or(-INT_MAX);
    let max = end("max", &field.max).unwrap_or(INT_MAX);
    if min > max {
        problems.add(at, "`min` is greater than `max`");
    }
    Kind::Int { min, max }
}

fn decimal(at: &str, field: &Field, problems: &mut Problems) -> Kind {
    let allowed = "must be a decimal number of at most 20 digits before and 10 after the point";
    let mut end = |member, said: &Option<String>| {
        let text = said.as_deref()?;
        parsed(at, member, Decimal::parse(text), allowed, problems)
    };
    let min = end("min", &field.min);
    let max = end("max", &field.max);
    if let (Some(min), Some(max)) = (&min, &max)
        && min > max
    {
        problems.add(at, "`min` is greater than `max`");
    }
    Kind::Decimal { min, max }
}

fn parsed<T>(
    at: &str,
    member: &str,
    number: Option<T>,
    allowed: &str,
    problems: &mut Problems,
) -> Option<T> {
    if number.is_none() {
        problems.add(format!("{at}.{member}"), allowed);
    }
    number
}

fn whole(text: &str) -> Option<i64> {
    text.parse()
        .ok()
        .filter(|number| (-INT_MAX..=INT_MAX).contains(number))
}

fn default(at: &str, text: &str, kind: &Kind, problems: &mut Problems) -> Option<Literal> {
    let literal = match kind {
        Kind::Text { max_length } => (text.chars().count() <= *max_length && !text.contains('\0'))
            .then(|| Literal::Text(text.to_owned())),
        Kind::Int { min, max } => whole(text)
            .filter(|number| (min..=max).contains(&number))
            .map(Literal::Int),
        Kind::Decimal { min, max } => Decimal::parse(text)
            .filter(|number| min.as_ref().is_none_or(|min| number >= min))
            .filter(|number| max.as_ref().is_none_or(|max| number <= max))
            .map(Literal::Decimal),
        Kind::Bool => text.parse().ok().map(Literal::Bool),
        Kind::Enum { values } => values
            .iter()
            .any(|value| value == text)
            .then(|| Literal::Text(text.to_owned())),
        Kind::Timestamp | Kind::Uuid | Kind::Reference { .. } => None,
    };
    if literal.is_none() {
        problems.add(
            format!("{at}.default"),
            format!("`{text}` is not a value that the field may have"),
        );
    }
    literal
}

fn unknown_type(name: &str) -> String {
    format!("there is no type `{name}`")
}

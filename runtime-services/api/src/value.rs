//! Values on their way between JSON, query strings and SQL.

use std::error::Error;

use bytes::BytesMut;
use jiff::Timestamp;
use orlop_contract::types::{Decimal, Kind};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

/// A checked value, a parameter of a statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Text(String),
    Int(i64),
    Decimal(Decimal),
    Bool(bool),
    Timestamp(Timestamp),
    Uuid(Uuid),
    /// One parameter however many there are.
    Uuids(Vec<Uuid>),
}

impl Value {
    /// Reads a member of a body, which must be within the declared bounds; null is the caller's.
    ///
    /// # Errors
    /// What is allowed.
    pub(crate) fn from_json(kind: &Kind, json: &serde_json::Value) -> Result<Self, String> {
        let text = json.as_str();
        match kind {
            Kind::Text { max_length } => text
                .filter(|text| text.chars().count() <= *max_length && !text.contains('\0'))
                .map(|text| Self::Text(text.to_owned()))
                .ok_or_else(|| {
                    format!(
                        "must be a string of at most {max_length} characters, none of them U+0000"
                    )
                }),
            Kind::Int { min, max } => json
                .as_i64()
                .filter(|number| (min..=max).contains(&number))
                .map(Self::Int)
                .ok_or_else(|| format!("must be a whole number from {min} to {max}")),
            Kind::Decimal { min, max } => text
                .and_then(Decimal::parse)
                .filter(|number| min.as_ref().is_none_or(|min| number >= min))
                .filter(|number| max.as_ref().is_none_or(|max| number <= max))
                .map(Self::Decimal)
                .ok_or_else(|| decimal_expected(min.as_ref(), max.as_ref())),
            Kind::Bool => json
                .as_bool()
                .map(Self::Bool)
                .ok_or_else(|| "must be true or false".to_owned()),
            Kind::Timestamp | Kind::Enum { .. } | Kind::Uuid | Kind::Reference { .. } => text
                .ok_or_else(|| format!("must be {}", in_words(kind)))
                .and_then(|text| Self::from_text(kind, text)),
        }
    }

    /// Reads a value of a filter or of a cursor, which need not be within the declared bounds.
    ///
    /// # Errors
    /// What is allowed.
    pub(crate) fn from_text(kind: &Kind, text: &str) -> Result<Self, String> {
        let value = match kind {
            Kind::Text { .. } => (!text.contains('\0')).then(|| Self::Text(text.to_owned())),
            Kind::Int { .. } => text.parse().ok().map(Self::Int),
            Kind::Decimal { .. } => Decimal::parse(text).map(Self::Decimal),
            Kind::Bool => text.parse().ok().map(Self::Bool),
            Kind::Timestamp => timestamp(text).map(Self::Timestamp),
            Kind::Enum { values } => values
                .iter()
                .any(|value| value == text)
                .then(|| Self::Text(text.to_owned())),
            Kind::Uuid | Kind::Reference { .. } => uuid(text).map(Self::Uuid),
        };
        value.ok_or_else(|| format!("must be {}", in_words(kind)))
    }
}

/// The hyphenated form only, so that one thing has one address.
pub(crate) fn uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36)
        .then(|| Uuid::try_parse(text).ok())
        .flatten()
}

/// PostgreSQL keeps microseconds, and RFC 3339 has no years before 0 or after 9999.
fn timestamp(text: &str) -> Option<Timestamp> {
    const FIRST_SECOND: i64 = -62_135_596_800;
    let parsed: Timestamp = text.parse().ok()?;
    let kept = Timestamp::from_microsecond(parsed.as_microsecond()).ok()?;
    (kept.as_second() >= FIRST_SECOND).then_some(kept)
}

fn decimal_expected(min: Option<&Decimal>, max: Option<&Decimal>) -> String {
    let number = in_words(&Kind::Decimal {
        min: None,
        max: None,
    });
    match (min, max) {
        (Some(min), Some(max)) => format!("must be {number}, from {min} to {max}"),
        (Some(min), None) => format!("must be {number}, at least {min}"),
        (None, Some(max)) => format!("must be {number}, at most {max}"),
        (None, None) => format!("must be {number}"),
    }
}

fn in_words(kind: &Kind) -> String {
    match kind {
        Kind::Text { .. } => "text without U+0000".into(),
        Kind::Int { .. } => "a whole number".into(),
        Kind::Decimal { .. } => {
            "a decimal number such as \"12.50\", as a string, of at most 20 digits before and 10 after the point".into()
        }
        Kind::Bool => "true or false".into(),
        Kind::Timestamp => "a timestamp such as \"2026-01-31T12:00:00Z\" (RFC 3339)".into(),
        Kind::Enum { values } => format!("one of {}", values.join(", ")),
        Kind::Uuid => "a UUID".into(),
        Kind::Reference { .. } => "the id of an existing thing, a UUID".into(),
    }
}

/// Type of the parameter that carries a value of this kind; see [`crate::sql::Sql::bind`].
pub(crate) fn parameter_type(kind: &Kind) -> Type {
    match kind {
        Kind::Text { .. } | Kind::Enum { .. } | Kind::Decimal { .. } => Type::TEXT,
        Kind::Int { .. } => Type::INT8,
        Kind::Bool => Type::BOOL,
        Kind::Timestamp => Type::TIMESTAMPTZ,
        Kind::Uuid | Kind::Reference { .. } => Type::UUID,
    }
}

impl ToSql for Value {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Text(text) => text.to_sql_checked(ty, out),
            Self::Int(number) => number.to_sql_checked(ty, out),
            Self::Decimal(number) => number.to_string().to_sql_checked(ty, out),
            Self::Bool(truth) => truth.to_sql_checked(ty, out),
            Self::Timestamp(moment) => moment.to_sql_checked(ty, out),
            Self::Uuid(id) => id.to_sql_checked(ty, out),
            Self::Uuids(ids) => ids.to_sql_checked(ty, out),
        }
    }

    /// Each value checks the type itself: which ones fit depends on the variant.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_out_of_bounds_is_refused_with_what_is_allowed() {
        let int = Kind::Int { min: 1, max: 9 };
        let decimal = Kind::Decimal {
            min: Decimal::parse("0"),
            max: None,
        };
        let text = Kind::Text { max_length: 2 };
        assert_eq!(Value::from_json(&int, &json!(9)), Ok(Value::Int(9)));
        for (kind, json) in [
            (&int, json!(10)),
            (&int, json!(1.5)),
            (&int, json!("1")),
            (&decimal, json!("-0.01")),
            (&decimal, json!(1)),
            (&text, json!("abc")),
            (&text, json!("\0")),
            (&Kind::Bool, json!("true")),
            (&Kind::Uuid, json!("{67e55044-10b1-426f-9247-bb680e5fe0c8}")),
            (&Kind::Timestamp, json!("yesterday")),
        ] {
            assert!(Value::from_json(kind, &json).is_err(), "{kind:?} {json}");
        }
        assert_eq!(
            Value::from_json(&text, &json!("äö")).unwrap(),
            Value::Text("äö".into())
        );
    }

    #[test]
    fn a_filter_may_ask_beyond_the_declared_bounds() {
        let int = Kind::Int { min: 1, max: 9 };
        assert_eq!(Value::from_text(&int, "1000"), Ok(Value::Int(1000)));
    }

    #[test]
    fn a_timestamp_is_kept_in_microseconds() {
        let value = Value::from_text(&Kind::Timestamp, "2026-01-31T12:00:00.123456789+01:00");
        let Value::Timestamp(kept) = value.unwrap() else {
            panic!("a timestamp is read as one");
        };
        assert_eq!(kept.to_string(), "2026-01-31T11:00:00.123456Z");
    }
}

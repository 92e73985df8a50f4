//! How a violation is told: what is allowed first, then what was found.

use orlop_contract::types;
use serde_json::Value;

use super::tree::Shape;
use crate::{duration, quantity, rules};

pub(super) const NULL: &str = "must not be null: leave it out instead";
pub(super) const REQUIRED: &str = "must be set";

/// Longest piece of a manifest that a message quotes, in code points.
const QUOTE_LIMIT: usize = 80;
/// Names further apart than this share of their letters are no typing mistake.
const SIMILAR_ENOUGH: f64 = 0.7;

/// What a length counts: singular and plural.
#[derive(Clone, Copy)]
pub(super) struct Unit(&'static str, &'static str);

pub(super) const ENTRIES: Unit = Unit("entry", "entries");
pub(super) const CHARACTERS: Unit = Unit("character", "characters");

pub(super) fn shape(shape: &Shape) -> &'static str {
    match shape {
        Shape::Object(_) | Shape::Map { .. } => "an object",
        Shape::List(_) => "a list",
        Shape::Text(_) => "a string",
        Shape::Integer(_) => "a whole number",
        Shape::IntOrString(_) => "a whole number or a string",
        Shape::Boolean => "true or false",
    }
}

pub(super) fn wrong_type(expected: &str, found: &Value) -> String {
    let found = match found {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string {}", quoted(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    format!("must be {expected}, but is {found}")
}

pub(super) fn out_of_range(min: Option<i64>, max: Option<i64>, found: &Value) -> String {
    let allowed = match (min, max) {
        (Some(min), Some(max)) => format!("at least {min} and at most {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => "a whole number".to_owned(),
    };
    format!("must be {allowed}, but is {found}")
}

pub(super) fn wrong_length(min: Option<u64>, max: Option<u64>, unit: Unit, found: usize) -> String {
    let Unit(one, many) = unit;
    let units = |count| if count == 1 { one } else { many };
    let allowed = match (min, max) {
        (Some(min), Some(max)) => format!("{min} to {max} {many}"),
        (Some(min), None) => format!("at least {min} {}", units(min)),
        (None, Some(max)) => format!("at most {max} {}", units(max)),
        (None, None) => format!("any number of {many}"),
    };
    format!("must have {allowed}, but has {found}")
}

pub(super) fn fraction(found: &Value) -> String {
    format!("must be a whole number without a fraction, but is {found}")
}

/// `found` is `None` where the field is not set.
pub(super) fn one_of(allowed: &[String], found: Option<&Value>) -> String {
    let allowed = match allowed {
        [only] => only.clone(),
        several => format!("one of {}", several.join(", ")),
    };
    match found {
        None => format!("must be {allowed}, but is not set"),
        Some(Value::String(text)) => format!("must be {allowed}, but is {}", quoted(text)),
        Some(other) => wrong_type(&allowed, other),
    }
}

pub(super) fn mismatch(pattern: &str, found: &str) -> String {
    let allowed = match meaning(pattern) {
        Some(meaning) => format!("be {meaning}"),
        None => format!("match {pattern}"),
    };
    format!("must {allowed}, but is {}", quoted(found))
}

/// What a pattern of the kinds asks for, in words; `None` for a pattern that no kind has.
#[must_use]
pub fn meaning(pattern: &str) -> Option<&'static str> {
    Some(match pattern {
        rules::LABEL => {
            "lowercase letters, digits and dashes, starting with a letter and not ending with a dash"
        }
        rules::NAMESPACE => {
            "lowercase letters, digits and dashes, starting and ending with a letter or digit"
        }
        rules::SUBDOMAIN => {
            "lowercase letters, digits, dashes and dots, each part between dots starting and ending with a letter or digit"
        }
        rules::ENV_NAME => "letters, digits and underscores, not starting with a digit",
        rules::DATA_KEY => {
            "letters, digits, dashes, underscores and dots, and neither '.' nor start with '..'"
        }
        rules::IMAGE => "an image reference such as registry.example/shop/web:1.4, without spaces",
        rules::URL_PATH => {
            "a path that starts with '/', of letters, digits and the characters - . _ ~ /"
        }
        rules::HTTP_ADDRESS => {
            "an address such as http://prometheus.monitoring:9090, with an optional path"
        }
        rules::DECIMAL => "a decimal number such as 0.5",
        rules::BASE_PATH => {
            "a path of one or more parts, each '/' with lowercase letters, digits or dashes after it"
        }
        rules::KEY_PREFIX => "letters, digits and the characters - _ . : /",
        types::TYPE_NAME => "letters and digits, starting with an uppercase letter",
        types::NAME => "letters and digits, starting with a lowercase letter",
        types::COLUMN_NAME => "lowercase letters, digits and underscores, starting with a letter",
        types::ENUM_VALUE => {
            "letters, digits, dots, underscores and dashes, starting with a letter or digit"
        }
        rules::QUALIFIED_NAME => {
            "a label key: up to 63 letters, digits, '-', '_' and '.', with an optional DNS name and '/' before it"
        }
        rules::LABEL_VALUE => {
            "letters, digits, '-', '_' and '.', starting and ending with a letter or digit"
        }
        duration::PATTERN => {
            "a duration: one to four numbers of up to five digits with unit h, m, s or ms, such as 1h30m or 500ms"
        }
        quantity::PATTERN => {
            "a quantity: a number with an optional unit (m, k, M, G, T, P, Ki, Mi, Gi, Ti, Pi), such as 500m or 128Mi"
        }
        _ => return None,
    })
}

pub(super) fn repeated(keys: &[String], names: &[String], first: &str) -> String {
    format!(
        "must have a {} of its own, but {} is already used by {first}",
        keys.join(" and "),
        names.join(", ").replace('"', "'"),
    )
}

pub(super) fn repeated_value(value: &Value, first: &str) -> String {
    let value = value.to_string().replace('"', "'");
    format!("must be a value of its own, but {value} stands in {first} already")
}

pub(super) fn unknown_field(name: &str, known: &[&str]) -> String {
    let similarity =
        |known: &&str| strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase());
    let nearest = known
        .iter()
        .map(|known| (similarity(known), *known))
        .filter(|(similarity, _)| *similarity >= SIMILAR_ENOUGH)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match nearest {
        Some((_, nearest)) => format!("is not a known field; did you mean '{nearest}'?"),
        None if known.is_empty() => "is not a known field; there are none here".to_owned(),
        None => format!("is not a known field; known are {}", known.join(", ")),
    }
}

/// Shortened, and on one line.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTE_LIMIT).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    format!(
        "'{}'",
        short
            .escape_debug()
            .to_string()
            .replace("\\'", "'")
            .replace("\\\"", "\"")
    )
}

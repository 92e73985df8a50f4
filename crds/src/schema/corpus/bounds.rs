//! Cases about one field by itself, and about unions.

use regex::Regex;
use serde_json::{Map, Value, json};

use super::{
    Case,
    ranges::{self, Range},
    references, samples,
    spot::Spot,
};
use crate::schema::{IntOrString, Integer, Kind, List, Object, Schema, Shape, Text, tree::join};

/// A value to put in place of the seed's, and where it must be refused, if anywhere.
struct Change {
    what: String,
    value: Value,
    refused_at: Option<String>,
}

impl Change {
    fn good(what: impl Into<String>, value: Value) -> Self {
        Self {
            what: what.into(),
            value,
            refused_at: None,
        }
    }

    fn bad(what: impl Into<String>, value: Value, refused_at: &str) -> Self {
        Self {
            what: what.into(),
            value,
            refused_at: Some(refused_at.to_owned()),
        }
    }
}

pub(super) fn cases(kind: &'static Kind, spot: &Spot<'_>) -> Vec<Case> {
    let field = spot.field();
    changes(spot, kind.exact.contains(&spot.schema_path()))
        .into_iter()
        .filter(|change| {
            change.refused_at.is_some() || !references::is_beyond_components(spot, &change.value)
        })
        .map(|change| Case {
            name: format!("{} {field}: {}", kind.name, change.what),
            plural: &kind.plural,
            manifest: references::rename_target(spot, &change.value),
            refused_at: change.refused_at,
        })
        .collect()
}

fn changes(spot: &Spot<'_>, is_exact: bool) -> Vec<Change> {
    let field = spot.field();
    let mut changes: Vec<_> = wrong_types(&spot.schema.shape)
        .into_iter()
        .map(|value| Change::bad(format!("{value} instead"), value, &field))
        .collect();
    if spot.is_entry() {
        changes.push(Change::bad("null", Value::Null, &field));
    }
    changes.extend(match &spot.schema.shape {
        Shape::Object(object) => {
            let mut changes = fields(object, spot.value(), &field);
            changes.extend(nulls(spot.schema, object, spot.value(), &field));
            changes.extend(unions(spot.schema, object, spot.value(), &field));
            changes
        }
        Shape::Map {
            values: _,
            max_entries,
        } => entries(*max_entries, spot.value(), &field),
        Shape::List(list) => items(list, spot, &field),
        Shape::Text(text) => texts(text, ranges::of(&spot.schema.rules), &field),
        Shape::Integer(integer) => integers(*integer, &field, is_exact),
        Shape::IntOrString(either) => {
            integers_or_texts(either, ranges::of(&spot.schema.rules), &field)
        }
        Shape::Boolean => Vec::new(),
    });
    changes
}

fn wrong_types(shape: &Shape) -> Vec<Value> {
    match shape {
        Shape::Object(_) | Shape::Map { .. } => vec![json!([]), json!("text"), json!(1)],
        Shape::List(_) => vec![json!({}), json!("text"), json!(1)],
        Shape::Text(_) => vec![json!({}), json!([]), json!(1), json!(true)],
        Shape::Integer(_) => vec![json!({}), json!("1"), json!(1.5), json!(true)],
        Shape::IntOrString(_) => vec![json!({}), json!([]), json!(1.5), json!(true)],
        Shape::Boolean => vec![json!({}), json!("true"), json!(1)],
    }
}

fn fields(object: &Object, value: &Value, field: &str) -> Vec<Change> {
    let mut changes = vec![Change::bad(
        "an unknown field",
        with(value, "unknownField", json!(1)),
        &join(field, "unknownField"),
    )];
    changes.extend(object.required.iter().map(|name| {
        Change::bad(
            format!("without {name}"),
            without(value, &[name]),
            &join(field, name),
        )
    }));
    changes
}

/// A null counts as a field that is left out. Where a rule speaks of the field, leaving it out may
/// break the rule: those fields have cases of their own.
fn nulls(schema: &Schema, object: &Object, value: &Value, field: &str) -> Vec<Change> {
    let found = value.as_object().expect("an object has fields");
    let is_ruled = |name: &str| {
        let mention = format!("self.{name}");
        schema.rules.iter().any(|rule| rule.rule.contains(&mention))
    };
    found
        .keys()
        .filter_map(|name| {
            let what = format!("{name} is null");
            let null = with(value, name, Value::Null);
            if object.required.contains(name) {
                Some(Change::bad(what, null, &join(field, name)))
            } else {
                (!is_ruled(name)).then(|| Change::good(what, null))
            }
        })
        .collect()
}

/// None, each one and each neighbouring two of the members of which exactly one is to be set.
fn unions(schema: &Schema, object: &Object, value: &Value, field: &str) -> Vec<Change> {
    let mut changes = Vec::new();
    for members in schema.rules.iter().filter_map(|rule| members(&rule.rule)) {
        let names: Vec<&str> = members.iter().map(String::as_str).collect();
        let none = without(value, &names);
        let full = |name: &str| {
            value
                .get(name)
                .cloned()
                .unwrap_or_else(|| smallest(&object.fields[name]))
        };
        changes.push(Change::bad(
            format!("none of {names:?}"),
            none.clone(),
            field,
        ));
        for name in &names {
            let one = with(&none, name, full(name));
            changes.push(Change::good(format!("only {name}"), one));
        }
        for pair in names.windows(2) {
            let two = with(&with(&none, pair[0], full(pair[0])), pair[1], full(pair[1]));
            changes.push(Change::bad(format!("both {pair:?}"), two, field));
        }
    }
    changes
}

/// Members of the union that a rule is about.
fn members(rule: &str) -> Option<Vec<String>> {
    let is_union = rule.ends_with(".filter(x, x).size() == 1") || rule.contains(") != has(");
    let member = Regex::new(r"has\(self\.(\w+)\)").expect("valid pattern");
    is_union.then(|| {
        member
            .captures_iter(rule)
            .map(|found| found[1].to_owned())
            .collect()
    })
}

/// The smallest valid value of a union's member.
fn smallest(schema: &Schema) -> Value {
    match &schema.shape {
        Shape::Object(object) => object
            .required
            .iter()
            .map(|name| (name.clone(), smallest(&object.fields[name])))
            .collect::<Map<_, _>>()
            .into(),
        Shape::List(list) => json!([smallest(&list.items)]),
        Shape::Text(text) => {
            let length = text.min_length.unwrap_or(1).max(1);
            let length = usize::try_from(length).expect("a bound fits into memory");
            samples::matching(text.pattern.as_ref(), length).into()
        }
        Shape::Integer(Integer { min, .. }) | Shape::IntOrString(IntOrString { min, .. }) => {
            min.unwrap_or_default().into()
        }
        Shape::Map { .. } => json!({}),
        Shape::Boolean => json!(true),
    }
}

fn entries(max: Option<u64>, value: &Value, field: &str) -> Vec<Change> {
    let entry = value
        .as_object()
        .and_then(|entries| entries.values().next())
        .expect("every map of a seed has an entry");
    let filled = |count: u64| -> Value {
        (0..count)
            .map(|index| (format!("k{index}"), entry.clone()))
            .collect::<Map<_, _>>()
            .into()
    };
    let mut changes = vec![
        Change::good("no entry", json!({})),
        Change::good("an entry that is null", json!({"a": null})),
    ];
    if let Some(max) = max {
        changes.push(Change::good("as many entries as allowed", filled(max)));
        changes.push(Change::bad("one entry too many", filled(max + 1), field));
    }
    changes
}

fn items(list: &List, spot: &Spot<'_>, field: &str) -> Vec<Change> {
    let found = spot.value().as_array().expect("a list has a list");
    let mut changes = Vec::new();
    if list.is_set {
        return set_items(list, found, field);
    }
    if let Some(max) = list.max_items {
        // An application cannot use more other services than it has.
        if !references::is_bounded_by_others(&spot.schema_path()) {
            changes.push(Change::good(
                "as many entries as allowed",
                filled(list, found, max),
            ));
        }
        changes.push(Change::bad(
            "one entry too many",
            filled(list, found, max + 1),
            field,
        ));
    }
    match list.min_items {
        Some(min) if min > 0 => {
            changes.push(Change::good(
                "as few entries as allowed",
                filled(list, &[found[0].clone()], min),
            ));
            changes.push(Change::bad(
                "one entry too few",
                filled(list, found, min - 1),
                field,
            ));
        }
        _ => changes.push(Change::good("no entry", json!([]))),
    }
    if !list.keys.is_empty() {
        let repeated = [found.as_slice(), &found[..1]].concat();
        changes.push(Change::bad(
            "an entry twice",
            repeated.into(),
            &format!("{field}[{}]", found.len()),
        ));
    }
    changes
}

/// As [`items`], of a list in which no value may stand twice.
fn set_items(list: &List, found: &[Value], field: &str) -> Vec<Change> {
    let max = list.max_items.expect("every list is bounded");
    let max = usize::try_from(max).expect("a bound fits into memory");
    let values: Vec<Value> = match &list.items.shape {
        Shape::Text(text) if !text.values.is_empty() => {
            text.values.iter().map(|value| json!(value)).collect()
        }
        _ => (0..max).map(|index| json!(format!("k{index}"))).collect(),
    };
    let too_many: Vec<_> = found.iter().cycle().take(max + 1).cloned().collect();
    let twice = [found, &found[..1]].concat();
    let mut changes = vec![
        Change::good("all values", values.into_iter().take(max).collect()),
        Change::bad("one entry too many", too_many.into(), field),
        Change::bad(
            "an entry twice",
            twice.into(),
            &format!("{field}[{}]", found.len()),
        ),
    ];
    changes.push(match list.min_items {
        Some(1) => Change::bad("no entry", json!([]), field),
        _ => Change::good("no entry", json!([])),
    });
    changes
}

/// The entries, with copies of the smallest under new names up to `count`.
fn filled(list: &List, entries: &[Value], count: u64) -> Value {
    let count = usize::try_from(count).expect("a bound fits into memory");
    let smallest = entries
        .iter()
        .min_by_key(|entry| entry.to_string().len())
        .expect("every list of a seed has an entry");
    let copies = (0..).map(|index| {
        let mut copy = smallest.clone();
        for key in &list.keys {
            copy[key] = new_name(list, key, index).into();
        }
        if copy.get("path").is_some() {
            copy["path"] = format!("/k{index}").into();
        }
        copy
    });
    entries.iter().cloned().chain(copies).take(count).collect()
}

/// In the case that the key asks for.
fn new_name(list: &List, key: &str, index: usize) -> String {
    let name = format!("k{index}");
    let Shape::Object(object) = &list.items.shape else {
        return name;
    };
    match object.fields.get(key).map(|schema| &schema.shape) {
        Some(Shape::Text(text)) if text.pattern.as_ref().is_some_and(|it| !it.is_match(&name)) => {
            name.to_uppercase()
        }
        _ => name,
    }
}

fn texts(text: &Text, range: Option<Range>, field: &str) -> Vec<Change> {
    let pattern = text.pattern.as_ref();
    let is_ranged = range.is_some();
    let mut changes: Vec<Change> = text
        .values
        .iter()
        .map(|value| Change::good(format!("the value {value}"), json!(value)))
        .collect();
    if let Some(value) = text.values.first() {
        changes.push(Change::bad("no such value", json!("Nonsense"), field));
        let other_case = value.to_lowercase();
        if !text.values.contains(&other_case) {
            changes.push(Change::bad("another case", json!(other_case), field));
        }
    }
    changes.extend(
        range
            .map(|range| within(range, field))
            .into_iter()
            .flatten(),
    );
    if let Some(max) = text
        .max_length
        .map(|max| usize::try_from(max).expect("a bound fits into memory"))
    {
        if !is_ranged {
            let longest = samples::matching(pattern, max).expect("every pattern has a sample");
            changes.push(Change::good("as long as allowed", json!(longest)));
        }
        changes.push(Change::bad(
            "one character too long",
            json!("a".repeat(max + 1)),
            field,
        ));
        changes.extend(
            pattern
                .iter()
                .flat_map(|pattern| samples::mismatching(pattern, max))
                .map(|value| {
                    Change::bad(
                        format!("{value:?}, which does not match"),
                        json!(value),
                        field,
                    )
                }),
        );
    }
    match text.min_length {
        Some(min) if min > 0 => {
            let min = usize::try_from(min).expect("a bound fits into memory");
            let shortest = samples::matching(pattern, min).expect("every pattern has a sample");
            changes.push(Change::good("as short as allowed", json!(shortest)));
            changes.push(Change::bad(
                "one character too short",
                json!("a".repeat(min - 1)),
                field,
            ));
        }
        _ if text.values.is_empty() && pattern.is_none() => {
            changes.push(Change::good("empty", json!("")));
        }
        _ => {}
    }
    changes
}

fn within(range: Range, field: &str) -> Vec<Change> {
    let Range {
        min,
        max,
        below,
        above,
    } = range;
    let mut changes = vec![
        Change::good("the least", json!(min)),
        Change::good("the most", json!(max)),
        Change::bad("more than the most", json!(above), field),
    ];
    let below = below.map(|below| Change::bad("less than the least", json!(below), field));
    changes.extend(below);
    changes
}

fn integers(integer: Integer, field: &str, is_exact: bool) -> Vec<Change> {
    let mut changes = Vec::new();
    if let Some(min) = integer.min {
        changes.push(Change::good("at its minimum", json!(min)));
        let what = "at its minimum, as a float";
        changes.push(if is_exact {
            Change::bad(what, float(min), field)
        } else {
            Change::good(what, float(min))
        });
        changes.push(Change::bad("one below its minimum", json!(min - 1), field));
    }
    if let Some(max) = integer.max {
        changes.push(Change::good("at its maximum", json!(max)));
        changes.push(Change::bad("one beyond its maximum", json!(max + 1), field));
        changes.push(Change::bad("a huge number", json!(u64::MAX), field));
    }
    changes
}

/// `1.0`, which is an integer to the API server, except where it scales and where a rule speaks of it.
fn float(integer: i64) -> Value {
    serde_json::from_str(&format!("{integer}.0")).expect("valid JSON")
}

fn integers_or_texts(either: &IntOrString, range: Option<Range>, field: &str) -> Vec<Change> {
    let bounds = Integer {
        min: either.min,
        max: None,
    };
    let mut changes = integers(bounds, field, false);
    // A range that begins above zero refuses what the type allows.
    changes.retain(|change| range.is_none() || change.refused_at.is_some());
    changes.extend(texts(&either.text, range, field));
    changes
}

fn with(value: &Value, name: &str, field: Value) -> Value {
    let mut value = value.clone();
    value[name] = field;
    value
}

fn without(value: &Value, names: &[&str]) -> Value {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| !names.contains(&name.as_str()));
    }
    value
}

//! YAML that knows on which line each field is written.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// A value, with the lines of all that is in it.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    line: u64,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    /// Of the name: where a person looks for the field.
    line: u64,
    value: Node,
}

impl Node {
    pub(crate) fn to_value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(entries) => entries.iter().map(Self::to_value).collect(),
            Content::Map(entries) => entries
                .iter()
                .map(|entry| (entry.name.clone(), entry.value.to_value()))
                .collect::<Map<_, _>>()
                .into(),
        }
    }

    /// Line of a field such as `spec.services[0].port`, or of the innermost one around it that is
    /// written.
    pub(crate) fn line(&self, field: &str) -> u64 {
        self.line_within(field, self.line)
    }

    /// `own` is where this value is named, which for what stands in lines of its own is above it.
    fn line_within(&self, field: &str, own: u64) -> u64 {
        let field = field.strip_prefix('.').unwrap_or(field);
        let line = match &self.content {
            Content::Map(entries) => entries
                .iter()
                .filter_map(|entry| Some((entry, rest_after(field, &entry.name)?)))
                // Names may have dots: the longest that fits is meant.
                .max_by_key(|(entry, _)| entry.name.len())
                .map(|(entry, rest)| entry.value.line_within(rest, entry.line)),
            Content::List(entries) => index(field).and_then(|(index, rest)| {
                let entry = entries.get(index)?;
                Some(entry.line_within(rest, entry.line))
            }),
            Content::Scalar(_) => None,
        };
        line.unwrap_or(own)
    }

    /// Path of the first text below `field` that is `wanted`.
    pub(crate) fn find_text_below(&self, field: &str, wanted: &str) -> Option<String> {
        let rest = self.at(field)?.find_text(wanted)?;
        Some(format!("{field}{rest}"))
    }

    fn at(&self, field: &str) -> Option<&Self> {
        let field = field.strip_prefix('.').unwrap_or(field);
        if field.is_empty() {
            return Some(self);
        }
        match &self.content {
            Content::Map(entries) => entries
                .iter()
                .find_map(|entry| entry.value.at(rest_after(field, &entry.name)?)),
            Content::List(entries) => {
                let (index, rest) = index(field)?;
                entries.get(index)?.at(rest)
            }
            Content::Scalar(_) => None,
        }
    }

    fn find_text(&self, wanted: &str) -> Option<String> {
        match &self.content {
            Content::Scalar(value) => (value.as_str() == Some(wanted)).then(String::new),
            Content::List(entries) => entries
                .iter()
                .enumerate()
                .find_map(|(index, entry)| Some(format!("[{index}]{}", entry.find_text(wanted)?))),
            Content::Map(entries) => entries.iter().find_map(|entry| {
                Some(format!(".{}{}", entry.name, entry.value.find_text(wanted)?))
            }),
        }
    }
}

/// What follows `name` in the path, if the path begins with it.
fn rest_after<'a>(field: &'a str, name: &str) -> Option<&'a str> {
    let rest = field.strip_prefix(name)?;
    (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
}

/// The index with which the path begins, and what follows.
fn index(field: &str) -> Option<(usize, &str)> {
    let (index, rest) = field.strip_prefix('[')?.split_once(']')?;
    Some((index.parse().ok()?, rest))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self {
            line: spanned.referenced.line(),
            content: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Content, E> {
        let number = Number::from_f64(value)
            .ok_or_else(|| E::custom("a number that is infinite or none has no place here"))?;
        Ok(Content::Scalar(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            list.push(entry);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
        let mut map = Vec::new();
        while let Some(name) = entries.next_key::<Spanned<String>>()? {
            map.push(Entry {
                line: name.referenced.line(),
                name: name.value,
                value: entries.next_value()?,
            });
        }
        Ok(Content::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
spec:
  services:
  - name: web
    env:
    - {name: A, value: b}
  labels:
    a.b/c: d
";

    #[test]
    fn a_field_is_found_on_its_line_and_a_missing_one_at_what_is_around_it() {
        let node: Node = serde_saphyr::from_str(TEXT).unwrap();
        for (field, line) in [
            ("spec", 1),
            ("spec.services", 2),
            ("spec.services[0]", 3),
            ("spec.services[0].name", 3),
            ("spec.services[0].port", 3),
            ("spec.services[0].env[0].value", 5),
            ("spec.labels.a.b/c", 7),
            ("spec.edge", 1),
            ("metadata.name", 1),
        ] {
            assert_eq!(node.line(field), line, "{field}");
        }
    }

    #[test]
    fn it_is_the_same_value_as_without_lines() {
        let node: Node = serde_saphyr::from_str(TEXT).unwrap();
        let plain: Value = serde_saphyr::from_str(TEXT).unwrap();
        assert_eq!(node.to_value(), plain);
    }
}

//! The schema of a kind as a tree of the few forms that the kinds use.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};
use regex::Regex;
use serde_json::Value;

/// One field, list entry or map value.
#[derive(Clone, Debug)]
pub struct Schema {
    pub description: String,
    pub shape: Shape,
    /// Rules between fields, asked of this value.
    pub rules: Vec<Rule>,
}

/// What a value may look like.
#[derive(Clone, Debug)]
pub enum Shape {
    Object(Object),
    /// Keys are free; `max_entries` bounds them.
    Map {
        values: Box<Schema>,
        max_entries: Option<u64>,
    },
    List(List),
    Text(Text),
    Integer(Integer),
    IntOrString(IntOrString),
    Boolean,
}

/// Named fields, and no others.
#[derive(Clone, Debug)]
pub struct Object {
    pub fields: BTreeMap<String, Schema>,
    pub required: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct List {
    pub items: Box<Schema>,
    pub min_items: Option<u64>,
    pub max_items: Option<u64>,
    /// Fields that together name an entry; empty where entries need no name.
    pub keys: Vec<String>,
    /// Whether no entry may stand there twice.
    pub is_set: bool,
}

#[derive(Clone, Debug)]
pub struct Text {
    /// In code points.
    pub min_length: Option<u64>,
    /// In code points.
    pub max_length: Option<u64>,
    /// Go's dialect; only what it shares with the crate `regex` is used.
    pub pattern: Option<Regex>,
    /// The only values, when not empty.
    pub values: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
pub struct Integer {
    pub min: Option<i64>,
    pub max: Option<i64>,
}

/// An integer at least `min`, or a text.
#[derive(Clone, Debug)]
pub struct IntOrString {
    pub min: Option<i64>,
    pub text: Text,
}

/// A CEL rule.
#[derive(Clone, Debug)]
pub struct Rule {
    pub rule: String,
    pub message: String,
}

/// A form of schema that no kind used so far.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to read the schema of '{field}': {form} is not supported")]
pub(crate) struct Unsupported {
    field: String,
    form: String,
}

impl Unsupported {
    pub(crate) fn new(field: &str, form: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            form: form.into(),
        }
    }
}

impl Schema {
    /// Depth is bounded by the types from which the definitions are derived.
    pub(crate) fn read(props: &JSONSchemaProps, field: &str) -> Result<Self, Unsupported> {
        Ok(Self {
            description: props.description.clone().unwrap_or_default(),
            shape: Shape::read(props, field)?,
            rules: props
                .x_kubernetes_validations
                .iter()
                .flatten()
                .map(Rule::read)
                .collect(),
        })
    }
}

impl Shape {
    fn read(props: &JSONSchemaProps, field: &str) -> Result<Self, Unsupported> {
        if props.any_of.is_some() || props.one_of.is_some() || props.all_of.is_some() {
            return Err(Unsupported::new(field, "a combination of schemas"));
        }
        if props.x_kubernetes_int_or_string == Some(true) {
            return Ok(Self::IntOrString(IntOrString {
                min: bound(props.minimum, field)?,
                text: Text::read(props, field)?,
            }));
        }
        match props.type_.as_deref() {
            Some("object") => Self::read_object(props, field),
            Some("array") => Ok(Self::List(List::read(props, field)?)),
            Some("string") => Ok(Self::Text(Text::read(props, field)?)),
            Some("integer") => Ok(Self::Integer(Integer {
                min: bound(props.minimum, field)?,
                max: bound(props.maximum, field)?,
            })),
            Some("boolean") => Ok(Self::Boolean),
            other => Err(Unsupported::new(field, format!("the type {other:?}"))),
        }
    }

    fn read_object(props: &JSONSchemaProps, field: &str) -> Result<Self, Unsupported> {
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &props.additional_properties {
            return Ok(Self::Map {
                values: Box::new(Schema::read(values, field)?),
                max_entries: count(props.max_properties),
            });
        }
        let fields = props
            .properties
            .iter()
            .flatten()
            .map(|(name, schema)| Ok((name.clone(), Schema::read(schema, &join(field, name))?)))
            .collect::<Result<_, _>>()?;
        Ok(Self::Object(Object {
            fields,
            required: props.required.clone().unwrap_or_default(),
        }))
    }
}

impl List {
    fn read(props: &JSONSchemaProps, field: &str) -> Result<Self, Unsupported> {
        let Some(JSONSchemaPropsOrArray::Schema(items)) = &props.items else {
            return Err(Unsupported::new(field, "a list of several types"));
        };
        let (keys, is_set) = match props.x_kubernetes_list_type.as_deref() {
            None | Some("atomic") => (Vec::new(), false),
            Some("set") => (Vec::new(), true),
            Some("map") => (
                props.x_kubernetes_list_map_keys.clone().unwrap_or_default(),
                false,
            ),
            Some(other) => return Err(Unsupported::new(field, format!("the list type {other}"))),
        };
        Ok(Self {
            items: Box::new(Schema::read(items, &format!("{field}[]"))?),
            min_items: count(props.min_items),
            max_items: count(props.max_items),
            keys,
            is_set,
        })
    }
}

impl Text {
    fn read(props: &JSONSchemaProps, field: &str) -> Result<Self, Unsupported> {
        let pattern = props
            .pattern
            .as_deref()
            .map(Regex::new)
            .transpose()
            .map_err(|error| Unsupported::new(field, error.to_string()))?;
        let values = props
            .enum_
            .iter()
            .flatten()
            .map(|value| match &value.0 {
                Value::String(text) => Ok(text.clone()),
                other => Err(Unsupported::new(field, format!("the value {other}"))),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            min_length: count(props.min_length),
            max_length: count(props.max_length),
            pattern,
            values,
        })
    }
}

impl Rule {
    fn read(rule: &ValidationRule) -> Self {
        Self {
            rule: rule.rule.clone(),
            message: rule.message.clone().unwrap_or_default(),
        }
    }
}

/// Path of a field inside `parent`.
pub(crate) fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}

/// Counts are never negative: the API server refuses such definitions.
fn count(bound: Option<i64>) -> Option<u64> {
    bound.and_then(|bound| u64::try_from(bound).ok())
}

/// A bound of an integer, which the definition holds as a float.
#[expect(
    clippy::cast_possible_truncation,
    reason = "checked: whole and within what a float holds exactly"
)]
fn bound(bound: Option<f64>, field: &str) -> Result<Option<i64>, Unsupported> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match bound {
        None => Ok(None),
        Some(bound) if bound.fract() == 0.0 && bound.abs() <= EXACT => Ok(Some(bound as i64)),
        Some(bound) => Err(Unsupported::new(field, format!("the bound {bound}"))),
    }
}

//! Places in a seed, each with its schema.

use std::{collections::BTreeSet, fmt::Write as _};

use serde_json::Value;

use crate::schema::{Schema, Shape};

/// A value in a seed that stands for all values of its schema.
#[derive(Clone, Debug)]
pub(super) struct Spot<'a> {
    pub(super) schema: &'a Schema,
    pub(super) seed: &'a Value,
    pub(super) path: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Field(String),
    Index(usize),
}

impl Spot<'_> {
    /// As a violation names it: `spec.services[0].port`.
    pub(super) fn field(&self) -> String {
        render(&self.path, |index| format!("[{index}]"))
    }

    /// Alike for all entries of a list: `spec.services[].port`.
    pub(super) fn schema_path(&self) -> String {
        render(&self.path, |_| "[]".to_owned())
    }

    /// Whether it is an entry of a list.
    pub(super) fn is_entry(&self) -> bool {
        matches!(self.path.last(), Some(Step::Index(_)))
    }

    pub(super) fn value(&self) -> &Value {
        let mut value = self.seed;
        for step in &self.path {
            value = match step {
                Step::Field(name) => &value[name],
                Step::Index(index) => &value[*index],
            };
        }
        value
    }

    /// The seed with another value here.
    pub(super) fn replaced(&self, value: Value) -> Value {
        let mut manifest = self.seed.clone();
        let mut place = &mut manifest;
        for step in &self.path {
            place = match step {
                Step::Field(name) => &mut place[name],
                Step::Index(index) => &mut place[*index],
            };
        }
        *place = value;
        manifest
    }
}

/// Adds the places of `spec` whose schema path is not `known` yet.
pub(super) fn collect<'a>(
    root: &'a Schema,
    seed: &'a Value,
    known: &mut BTreeSet<String>,
    spots: &mut Vec<Spot<'a>>,
) {
    let Shape::Object(object) = &root.shape else {
        return;
    };
    let spec = Spot {
        schema: &object.fields["spec"],
        seed,
        path: vec![Step::Field("spec".to_owned())],
    };
    visit(spec, known, spots);
}

fn visit<'a>(spot: Spot<'a>, known: &mut BTreeSet<String>, spots: &mut Vec<Spot<'a>>) {
    let value = spot.value().clone();
    let child = |schema: &'a Schema, step: Step| Spot {
        schema,
        seed: spot.seed,
        path: [spot.path.clone(), vec![step]].concat(),
    };
    let children: Vec<Spot<'a>> = match (&spot.schema.shape, &value) {
        (Shape::Object(object), Value::Object(found)) => object
            .fields
            .iter()
            .filter(|(name, _)| found.contains_key(*name))
            .map(|(name, schema)| child(schema, Step::Field(name.clone())))
            .collect(),
        (Shape::Map { values, .. }, Value::Object(found)) => found
            .keys()
            .map(|key| child(values, Step::Field(key.clone())))
            .collect(),
        (Shape::List(list), Value::Array(found)) => (0..found.len())
            .map(|index| child(&list.items, Step::Index(index)))
            .collect(),
        _ => Vec::new(),
    };
    if known.insert(spot.schema_path()) {
        spots.push(spot);
    }
    for child in children {
        visit(child, known, spots);
    }
}

fn render(path: &[Step], index: impl Fn(usize) -> String) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Field(name) if out.is_empty() => out.push_str(name),
            Step::Field(name) => write!(out, ".{name}").expect("writing to a string"),
            Step::Index(at) => out.push_str(&index(*at)),
        }
    }
    out
}

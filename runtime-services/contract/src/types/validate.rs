//! From declarations to a [`Model`], or all that is wrong with them.

mod column;
mod relate;
mod rest;

use std::{collections::BTreeMap, fmt};

use super::{
    Entity, EntityId, Model, Type, bound,
    name::{collection, snake},
};

/// The most types of one API.
pub const TYPES_MAX: usize = 64;

/// Something that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `types[Order].fields[state].values`
    pub path: String,
    /// What is wrong and what is allowed; lower case, no full stop.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Checks the whole set and derives tables, columns and paths.
///
/// # Errors
/// Everything that is wrong, in the order of the declarations.
pub fn validate(types: &[Type]) -> Result<Model, Vec<Problem>> {
    let mut problems = Problems::default();
    if types.len() > TYPES_MAX {
        problems.add("types", format!("at most {TYPES_MAX} types are allowed"));
        return Err(problems.found);
    }
    let ids = identify(types, &mut problems);
    let entities = types
        .iter()
        .map(|declared| entity(declared, &ids, &mut problems))
        .collect();
    let model = Model { entities };
    if problems.found.is_empty() {
        relate::check(types, &model, &mut problems);
    }
    if problems.found.is_empty() {
        Ok(model)
    } else {
        Err(problems.found)
    }
}

/// Where in the set each type stands.
type Ids<'a> = BTreeMap<&'a str, EntityId>;

#[derive(Debug, Default)]
struct Problems {
    found: Vec<Problem>,
}

impl Problems {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.found.push(Problem {
            path: path.into(),
            message: message.into(),
        });
    }
}

fn identify<'a>(types: &'a [Type], problems: &mut Problems) -> Ids<'a> {
    let mut ids = Ids::new();
    for (at, declared) in types.iter().enumerate() {
        let name = declared.name.as_str();
        let path = format!("types[{name}].name");
        if !bound::is_type_name(name, 30) {
            problems.add(
                &path,
                "must be at most 30 letters and digits and start with an upper-case letter",
            );
        } else if name.starts_with("Orlop") {
            problems.add(&path, "names that start with `Orlop` are reserved");
        }
        if ids.insert(name, EntityId(at)).is_some() {
            problems.add(&path, "is declared twice");
        }
    }
    ids
}

fn entity(declared: &Type, ids: &Ids<'_>, problems: &mut Problems) -> Entity {
    // Destructured, so that a new member cannot be forgotten here.
    let Type {
        name,
        part_of,
        fields,
        relations,
        indexes,
        cache,
        access,
        events,
    } = declared;
    let at = format!("types[{name}]");
    let table = snake(name);

    for (what, count, max) in [
        ("fields", fields.len(), 48),
        ("relations", relations.len(), 16),
        ("indexes", indexes.len(), 16),
        ("access", access.len(), 16),
        ("events", events.len(), 16),
    ] {
        if count > max {
            problems.add(format!("{at}.{what}"), format!("at most {max} are allowed"));
        }
    }
    let mut columns: Vec<_> = fields
        .iter()
        .filter_map(|field| column::of_field(&at, field, problems))
        .collect();
    columns.extend(
        relations
            .iter()
            .filter_map(|relation| column::of_relation(&at, relation, ids, problems)),
    );
    let whole = part_of
        .as_ref()
        .and_then(|part_of| column::of_whole(&at, part_of, ids, problems));
    let whole_name = whole.as_ref().map(|column| column.name.clone());
    columns.extend(whole);
    column::check_unique(&at, &columns, problems);

    let anonymous = rest::access(&at, access, part_of.is_some(), problems);
    let indexes = indexes
        .iter()
        .filter_map(|index| rest::index(&at, &table, index, &columns, problems))
        .collect();
    let events = events
        .iter()
        .map(|event| rest::event(&at, event, &columns, problems))
        .collect();
    Entity {
        name: name.clone(),
        path: collection(name),
        cache_class: cache
            .as_ref()
            .and_then(|cache| rest::cache_class(&at, cache, problems)),
        table,
        columns,
        whole: whole_name,
        indexes,
        anonymous,
        events,
    }
}

#[cfg(test)]
mod tests;

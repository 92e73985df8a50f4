//! What concerns several types at once.

use std::collections::{BTreeMap, BTreeSet};

use super::{Problems, rest::check_names_unique};
use crate::types::{Kind, Model, Type};

pub(super) fn check(types: &[Type], model: &Model, problems: &mut Problems) {
    check_wholes(model, problems);
    check_inverses(model, problems);
    check_places(model, problems);
    check_brokers(types, problems);
    for declared in types {
        check_names_unique(
            &format!("types[{}].events", declared.name),
            declared.events.iter().map(|event| event.name.as_str()),
            problems,
        );
    }
}

/// Going from part to whole must end.
fn check_wholes(model: &Model, problems: &mut Problems) {
    for (id, entity) in model.entities() {
        let mut seen = BTreeSet::from([id]);
        let mut part = entity;
        while let Some(Kind::Reference { to, .. }) = part.whole_column().map(|column| &column.kind)
        {
            if !seen.insert(*to) {
                problems.add(
                    format!("types[{}].partOf", entity.name),
                    format!(
                        "`{}` is, in the end, a part of itself",
                        model.entity(*to).name
                    ),
                );
                break;
            }
            part = model.entity(*to);
        }
    }
}

/// An inverse is a name of the other side, and must be the only one of that name there.
fn check_inverses(model: &Model, problems: &mut Problems) {
    for (id, entity) in model.entities() {
        let mut names: BTreeSet<_> = entity
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .collect();
        for (from, column, inverse) in model.inverses(id) {
            if !names.insert(inverse) {
                problems.add(
                    format!("types[{}].{}", model.entity(from).name, column.name),
                    format!("`{}` has something called `{inverse}` already", entity.name),
                );
            }
        }
    }
}

/// Two types must not share a table, a path or an index's identifier.
fn check_places(model: &Model, problems: &mut Problems) {
    let mut paths = BTreeMap::new();
    let mut identifiers = BTreeSet::new();
    for (_, entity) in model.entities() {
        if let Some(other) = paths.insert(entity.path.as_str(), entity.name.as_str()) {
            problems.add(
                format!("types[{}].name", entity.name),
                format!("`{other}` is served under `/{}` already", entity.path),
            );
        }
        // Indexes and tables share one space of names.
        let own = entity.indexes.iter().map(|index| index.identifier.as_str());
        for identifier in own.chain([entity.table.as_str()]) {
            if !identifiers.insert(identifier) {
                problems.add(
                    format!("types[{}]", entity.name),
                    format!("the name `{identifier}` arises twice in the database"),
                );
            }
        }
    }
}

/// One outbox is relayed to one broker.
fn check_brokers(types: &[Type], problems: &mut Problems) {
    let mut first = None;
    for declared in types {
        for event in &declared.events {
            let Some(broker) = event.publish.broker.as_deref() else {
                continue;
            };
            if *first.get_or_insert(broker) != broker {
                problems.add(
                    format!(
                        "types[{}].events[{}].publish.broker",
                        declared.name, event.name
                    ),
                    "all events of one API are published to one broker",
                );
            }
        }
    }
}

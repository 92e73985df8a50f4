//! Indexes, access rules, events, cache classes.

use std::collections::BTreeSet;

use super::Problems;
use crate::types::{
    Access, Action, Column, Event, Index, IndexKind, ModelEvent, ModelIndex, Publish, System,
    TypeCache, bound, name::snake,
};

/// PostgreSQL cuts longer identifiers off.
const IDENTIFIER_MAX: usize = 63;

pub(super) fn index(
    at: &str,
    table: &str,
    index: &Index,
    columns: &[Column],
    problems: &mut Problems,
) -> Option<ModelIndex> {
    let Index { name, fields, kind } = index;
    let at = format!("{at}.indexes[{name}]");
    check_name(&at, name, problems);
    let suffix = match kind {
        IndexKind::Plain => "idx",
        IndexKind::Unique => "key",
    };
    let identifier = format!("{table}_{}_{suffix}", snake(name));
    if identifier.len() > IDENTIFIER_MAX {
        problems.add(&at, "the names of type and index are too long together");
    }
    if fields.is_empty() || fields.len() > 8 {
        problems.add(format!("{at}.fields"), "an index has 1 to 8 fields");
    }
    let mut indexed = Vec::with_capacity(fields.len());
    for field in fields {
        let Some(column) = column_of(field, columns) else {
            problems.add(format!("{at}.fields"), unknown_field(field));
            return None;
        };
        if indexed.contains(&column) {
            problems.add(
                format!("{at}.fields"),
                format!("`{field}` stands there twice"),
            );
        }
        indexed.push(column);
    }
    Some(ModelIndex {
        name: name.clone(),
        identifier,
        columns: indexed,
        fields: fields.clone(),
        kind: *kind,
    })
}

/// What callers without a name may do.
pub(super) fn access(
    at: &str,
    rules: &[Access],
    is_part: bool,
    problems: &mut Problems,
) -> Vec<Action> {
    if is_part && !rules.is_empty() {
        problems.add(format!("{at}.access"), "a part has the access of its whole");
    }
    check_names_unique(
        &format!("{at}.access"),
        rules.iter().map(|rule| rule.name.as_str()),
        problems,
    );
    let mut allowed = Vec::new();
    for Access { name, roles, allow } in rules {
        let at = format!("{at}.access[{name}]");
        check_name(&at, name, problems);
        if roles.is_empty() {
            problems.add(format!("{at}.roles"), "at least one role is needed");
        }
        if allow.is_empty() {
            problems.add(format!("{at}.allow"), "at least one action is needed");
        }
        // `anonymous` is the only role there is: a rule that names one names it.
        for action in allow {
            match action {
                Action::Write => {
                    allowed.extend([Action::Create, Action::Update, Action::Delete]);
                }
                action => allowed.push(*action),
            }
        }
    }
    allowed
}

pub(super) fn event(
    at: &str,
    event: &Event,
    columns: &[Column],
    problems: &mut Problems,
) -> ModelEvent {
    let Event {
        name,
        when,
        publish: Publish { broker, queue },
        payload,
    } = event;
    let at = format!("{at}.events[{name}]");
    check_name(&at, name, problems);
    if broker
        .as_deref()
        .is_some_and(|broker| !bound::is_label(broker, 52))
    {
        problems.add(format!("{at}.publish.broker"), NOT_A_LABEL);
    }
    if !bound::is_label(queue, 40) {
        problems.add(format!("{at}.publish.queue"), NOT_A_LABEL);
    }
    if payload.len() > 32 {
        problems.add(format!("{at}.payload"), "at most 32 fields are allowed");
    }
    for field in payload {
        if column_of(field, columns).is_none() {
            problems.add(format!("{at}.payload"), unknown_field(field));
        }
    }
    check_names_unique(
        &format!("{at}.payload"),
        payload.iter().map(String::as_str),
        problems,
    );
    ModelEvent {
        name: name.clone(),
        on: *when,
        queue: queue.clone(),
        payload: if payload.is_empty() {
            vec![System::Id.name().to_owned()]
        } else {
            payload.clone()
        },
    }
}

pub(super) fn cache_class(at: &str, cache: &TypeCache, problems: &mut Problems) -> Option<String> {
    let TypeCache { class } = cache;
    if !bound::is_label(class, 20) {
        problems.add(format!("{at}.cache.class"), NOT_A_LABEL);
        return None;
    }
    Some(class.clone())
}

pub(super) fn check_names_unique<'a>(
    at: &str,
    names: impl Iterator<Item = &'a str>,
    problems: &mut Problems,
) {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            problems.add(at, format!("`{name}` stands there twice"));
        }
    }
}

const NOT_A_LABEL: &str =
    "must be lower-case letters, digits and dashes, start with a letter and not end with a dash";

fn check_name(at: &str, name: &str, problems: &mut Problems) {
    if !bound::is_name(name, 40) {
        problems.add(
            at,
            "the name must be at most 40 letters and digits and start with a lower-case letter",
        );
    }
}

fn column_of(field: &str, columns: &[Column]) -> Option<String> {
    if let Some(system) = System::by_name(field) {
        return Some(system.column().to_owned());
    }
    columns
        .iter()
        .find(|column| column.name == field)
        .map(|column| column.column.clone())
}

fn unknown_field(name: &str) -> String {
    format!("there is no field or relation `{name}`")
}

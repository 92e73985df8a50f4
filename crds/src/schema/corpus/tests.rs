use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::schema::{Schema, Shape, validate};

#[test]
fn the_offline_verdict_is_the_one_that_is_due_and_names_the_field() {
    let mut wrong = Vec::new();
    for case in cases() {
        let violations = validate(&case.manifest);
        let right = match &case.refused_at {
            None => violations.is_empty(),
            Some(field) => violations.iter().any(|violation| violation.field == *field),
        };
        if !right {
            wrong.push(format!(
                "{}: due {:?}, but got {violations:?}",
                case.name, case.refused_at
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let mut seen = BTreeMap::new();
    for case in cases() {
        *seen.entry(case.name).or_insert(0) += 1;
    }
    let repeated: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
    assert!(repeated.is_empty(), "{repeated:?}");
    assert!(seen.len() > 5000, "only {} cases", seen.len());
}

#[test]
fn the_seeds_set_every_field_of_every_spec() {
    for kind in kinds() {
        let seeds = seeds(kind);
        let visited: BTreeSet<_> = spots(kind, &seeds)
            .iter()
            .map(Spot::schema_path)
            .map(|path| path.replace(".disk", "{}"))
            .collect();
        let mut known = BTreeSet::new();
        let Shape::Object(root) = &kind.schema.shape else {
            unreachable!("a root is an object");
        };
        paths(&root.fields["spec"], "spec".to_owned(), &mut known);
        assert_eq!(visited, known, "{}", kind.name);
    }
}

#[test]
fn every_rule_refuses_some_case_and_says_why() {
    let told: BTreeSet<String> = cases()
        .iter()
        .flat_map(|case| validate(&case.manifest))
        .map(|violation| violation.message)
        .collect();
    for kind in kinds() {
        let mut rules = Vec::new();
        collect_rules(&kind.schema, &mut rules);
        for message in rules {
            assert!(
                told.iter().any(|text| text.starts_with(&message)),
                "{}: no case breaks the rule '{message}'",
                kind.name
            );
        }
    }
}

fn paths(schema: &Schema, path: String, out: &mut BTreeSet<String>) {
    match &schema.shape {
        Shape::Object(object) => {
            for (name, schema) in &object.fields {
                paths(schema, format!("{path}.{name}"), out);
            }
        }
        Shape::Map { values, .. } => paths(values, format!("{path}{{}}"), out),
        Shape::List(list) => paths(&list.items, format!("{path}[]"), out),
        _ => {}
    }
    out.insert(path);
}

fn collect_rules(schema: &Schema, out: &mut Vec<String>) {
    // What forbids a change needs two manifests: a test of its own.
    let rules = schema.rules.iter();
    let rules = rules.filter(|rule| !rule.rule.contains("oldSelf"));
    out.extend(rules.map(|rule| rule.message.clone()));
    match &schema.shape {
        Shape::Object(object) => object
            .fields
            .values()
            .for_each(|schema| collect_rules(schema, out)),
        Shape::Map { values, .. } => collect_rules(values, out),
        Shape::List(list) => collect_rules(&list.items, out),
        _ => {}
    }
}

//! The reference of the kinds, from the same schema that judges manifests.

use orlop_crds::Reason;
use orlop_crds::schema::{self, IntOrString, Integer, Kind, Schema, Shape, Text};

const NOTE: &str = "<!-- Written by `cargo xtask gen`; edit the types in `crds/src` instead. -->";

/// The page of one kind.
pub(super) fn kind(kind: &Kind) -> String {
    let mut lines = vec![
        NOTE.to_owned(),
        format!("# {}", kind.name),
        String::new(),
        kind.schema.description.clone(),
        String::new(),
        format!(
            "`{}/{}`, namespaced; `kubectl get {}`.",
            orlop_crds::GROUP,
            orlop_crds::VERSION,
            kind.plural
        ),
    ];
    lines.extend(
        kind.schema
            .rules
            .iter()
            .map(|rule| format!("{}.", rule.message)),
    );
    if let Shape::Object(root) = &kind.schema.shape {
        for (name, title) in [
            ("spec", "What its author says"),
            ("status", "What Orlop reports"),
        ] {
            if let Some(schema) = root.fields.get(name) {
                lines.extend(section(schema, name, title));
            }
        }
    }
    lines.join("\n") + "\n"
}

fn section(schema: &Schema, name: &str, title: &str) -> Vec<String> {
    let mut rows = Vec::new();
    let mut rules = own_rules(schema, name);
    fields(schema, name, &mut rows, &mut rules);
    let mut lines = vec![
        String::new(),
        format!("## {title}: `{name}`"),
        String::new(),
        "| field | type | allowed | meaning |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    lines.extend(rows);
    if !rules.is_empty() {
        lines.extend([
            String::new(),
            "Between the fields:".to_owned(),
            String::new(),
        ]);
        lines.extend(rules);
    }
    lines
}

/// The page of the reasons that conditions give.
pub(super) fn reasons() -> String {
    let head = [
        NOTE,
        "# Reasons",
        "",
        "The `reason` of the condition `Ready`, and of each component in `status.components`. The",
        "worst comes first: where several parts fail, the summary names the worst. `Stalled` is true",
        "for those that waiting alone cannot help.",
        "",
        "| reason | stalled | what it means | what helps |",
        "|---|---|---|---|",
    ];
    let rows = Reason::ALL.map(|reason| {
        let stalled = if reason.is_transient() { "no" } else { "yes" };
        let (meaning, fix) = (reason.meaning(), reason.fix());
        format!("| `{reason}` | {stalled} | {meaning} | {fix} |")
    });
    let lines: Vec<_> = head.map(str::to_owned).into_iter().chain(rows).collect();
    lines.join("\n") + "\n"
}

/// Depth is bounded by the types from which the schema is derived.
fn fields(schema: &Schema, path: &str, rows: &mut Vec<String>, rules: &mut Vec<String>) {
    match &schema.shape {
        Shape::Object(object) => {
            for (name, field) in &object.fields {
                let path = format!("{path}.{name}");
                let required = object.required.contains(name);
                rows.push(row(field, &path, required));
                rules.extend(own_rules(field, &path));
                fields(field, &path, rows, rules);
            }
        }
        Shape::List(list) => {
            let path = format!("{path}[]");
            rules.extend(own_rules(&list.items, &path));
            fields(&list.items, &path, rows, rules);
        }
        Shape::Map { values, .. } => fields(values, &format!("{path}{{}}"), rows, rules),
        Shape::Text(_) | Shape::Integer(_) | Shape::IntOrString(_) | Shape::Boolean => {}
    }
}

fn row(field: &Schema, path: &str, required: bool) -> String {
    let required = if required { " (required)" } else { "" };
    let meaning = field.description.replace('\n', " ").replace('|', "\\|");
    format!(
        "| `{path}`{required} | {} | {} | {meaning} |",
        type_name(&field.shape),
        allowed(&field.shape).replace('|', "\\|"),
    )
}

fn own_rules(schema: &Schema, path: &str) -> Vec<String> {
    schema
        .rules
        .iter()
        .map(|rule| format!("- `{path}`: {}", rule.message))
        .collect()
}

fn type_name(shape: &Shape) -> String {
    match shape {
        Shape::Object(_) => "object".to_owned(),
        Shape::Map { values, .. } => format!("map to {}", type_name(&values.shape)),
        Shape::List(list) => format!("list of {}", plural(&list.items.shape)),
        Shape::Text(_) => "string".to_owned(),
        Shape::Integer(_) => "integer".to_owned(),
        Shape::IntOrString(_) => "integer or string".to_owned(),
        Shape::Boolean => "boolean".to_owned(),
    }
}

fn plural(shape: &Shape) -> String {
    match shape {
        Shape::IntOrString(_) => "integers or strings".to_owned(),
        other => format!("{}s", type_name(other)),
    }
}

fn allowed(shape: &Shape) -> String {
    match shape {
        Shape::Object(_) | Shape::Boolean => String::new(),
        Shape::Map {
            values,
            max_entries,
        } => join([
            counted(None, *max_entries, "entries"),
            allowed(&values.shape),
        ]),
        Shape::List(list) => join([
            counted(list.min_items, list.max_items, "entries"),
            unique(&list.keys),
            each(&list.items.shape),
        ]),
        Shape::Text(text) => of_text(text),
        Shape::Integer(integer) => of_integer(*integer),
        Shape::IntOrString(IntOrString { min, text }) => {
            let integer = of_integer(Integer {
                min: *min,
                max: None,
            });
            join([integer, of_text(text)])
        }
    }
}

fn each(items: &Shape) -> String {
    match items {
        Shape::Object(_) => String::new(),
        other => match allowed(other) {
            empty if empty.is_empty() => empty,
            allowed => format!("each {allowed}"),
        },
    }
}

fn unique(keys: &[String]) -> String {
    if keys.is_empty() {
        return String::new();
    }
    format!("`{}` is unique", keys.join("`, `"))
}

fn of_text(text: &Text) -> String {
    let values: Vec<_> = text
        .values
        .iter()
        .map(|value| format!("`{value}`"))
        .collect();
    let pattern = text.pattern.as_ref().map_or_else(String::new, |pattern| {
        match schema::pattern_meaning(pattern.as_str()) {
            Some(meaning) => meaning.to_owned(),
            None => format!("`{pattern}`"),
        }
    });
    join([
        values.join(", "),
        counted(text.min_length, text.max_length, "characters"),
        pattern,
    ])
}

fn of_integer(integer: Integer) -> String {
    match (integer.min, integer.max) {
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => String::new(),
    }
}

fn counted(min: Option<u64>, max: Option<u64>, unit: &str) -> String {
    match (min.filter(|min| *min > 0), max) {
        (Some(min), Some(max)) => format!("{min} to {max} {unit}"),
        (None, Some(max)) => format!("at most {max} {unit}"),
        (Some(min), None) => format!("at least {min} {unit}"),
        (None, None) => String::new(),
    }
}

fn join<const N: usize>(parts: [String; N]) -> String {
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("; ")
}

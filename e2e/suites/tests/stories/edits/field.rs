//! The fields of an object that somebody owns, and their edits.

use anyhow::{Context as _, Result, bail, ensure};
use kube::api::DynamicObject;
use serde_json::{Map, Value};

/// Other values of the same type; the API server may refuse some.
pub(super) fn changes(value: &Value) -> Vec<Value> {
    match value {
        Value::Bool(value) => vec![Value::Bool(!value)],
        Value::Number(number) => {
            let number = number.as_i64().unwrap_or_default();
            vec![(number + 1).into(), (number - 1).into()]
        }
        Value::String(text) => {
            let words = [
                "NodePort",
                "Recreate",
                "OnDelete",
                "Delete",
                "Allow",
                "Exists",
                "NoSchedule",
                "ScheduleAnyway",
                "Always",
            ];
            let guesses = [counted_up(text), format!("{text}x")];
            let words = words.map(str::to_owned);
            guesses
                .into_iter()
                .chain(words)
                .map(Value::String)
                .collect()
        }
        Value::Array(items) => vec![Value::Array(items.iter().skip(1).cloned().collect())],
        Value::Object(fields) => {
            let mut fields = fields.clone();
            fields.insert("edited".to_owned(), Value::String("true".to_owned()));
            vec![Value::Object(fields)]
        }
        Value::Null => Vec::new(),
    }
}

/// The text with its first number one higher: `25%` becomes `26%`.
fn counted_up(text: &str) -> String {
    let Some(start) = text.find(|c: char| c.is_ascii_digit()) else {
        return format!("{text}0");
    };
    let (head, tail) = text.split_at(start);
    let end = tail
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(tail.len());
    let (digits, tail) = tail.split_at(end);
    let next = digits
        .parse::<u64>()
        .map_or(0, |number| number.wrapping_add(1));
    format!("{head}{next}{tail}")
}

/// A field that the operator owns: the way to it from the object's root.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Key(String),
    /// The item of a list that has these fields.
    Item(Map<String, Value>),
}

/// What tells whose an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Label,
    Reference,
}

/// The field's names without the items' keys, as `spec/ports/targetPort`.
impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.0.iter().filter_map(|step| match step {
            Step::Key(name) => Some(name.replace('/', "~1")),
            Step::Item(_) => None,
        });
        f.write_str(&names.collect::<Vec<_>>().join("/"))
    }
}

impl Field {
    pub(super) fn find<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(object, |value, step| match step {
            Step::Key(name) => value.get(name),
            Step::Item(keys) => value.as_array()?.iter().find(|item| has(item, keys)),
        })
    }

    /// Sets or removes it; false where it is not there.
    pub(super) fn edit(&self, object: &mut Value, value: Option<&Value>) -> bool {
        let Some((last, parents)) = self.0.split_last() else {
            return false;
        };
        let parent = parents.iter().try_fold(object, |value, step| match step {
            Step::Key(name) => value.get_mut(name),
            Step::Item(keys) => value
                .as_array_mut()?
                .iter_mut()
                .find(|item| has(item, keys)),
        });
        let (Some(parent), edited) = (parent, value.cloned()) else {
            return false;
        };
        match (last, parent, edited) {
            (Step::Key(name), Value::Object(fields), Some(value)) => {
                fields.insert(name.clone(), value).is_some()
            }
            (Step::Key(name), Value::Object(fields), None) => fields.remove(name).is_some(),
            (Step::Item(keys), Value::Array(items), None) => {
                let before = items.len();
                items.retain(|item| !has(item, keys));
                items.len() < before
            }
            _ => false,
        }
    }

    /// Whether another value is an edit of this field. A list item as a whole can only be removed;
    /// and the reference to an owner that does not exist is an order to the garbage collector to
    /// delete the object, which is another test's matter.
    pub(super) fn may_change(&self) -> bool {
        let names = ["apiVersion", "kind", "name", "uid"];
        match self.0.as_slice() {
            [.., Step::Item(_)] => false,
            [.., Step::Key(list), Step::Item(_), Step::Key(name)] => {
                list != "ownerReferences" || !names.contains(&name.as_str())
            }
            _ => true,
        }
    }

    /// Whether an edit of the one hides an edit of the other.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (self.touched(), other.touched());
        a.starts_with(b) || b.starts_with(a)
    }

    /// The way to all that an edit of it concerns: the whole item where it is another one then.
    fn touched(&self) -> &[Step] {
        match (self.renamed_list(), self.0.split_last()) {
            (Some(_), Some((_, item))) => item,
            _ => &self.0,
        }
    }

    pub(super) fn mark(&self) -> Option<Mark> {
        let Self(steps) = self;
        let mut names = steps.iter().map(|step| match step {
            Step::Key(name) => name.as_str(),
            Step::Item(_) => "",
        });
        match (names.next(), names.next(), names.next()) {
            (Some("metadata"), Some("ownerReferences"), _) => Some(Mark::Reference),
            (Some("metadata"), Some("labels"), Some(label))
                if label.starts_with("orlop.dev/owner") =>
            {
                Some(Mark::Label)
            }
            _ => None,
        }
    }

    /// The list whose item becomes another one when this field changes.
    pub(super) fn renamed_list(&self) -> Option<&[Step]> {
        match self.0.as_slice() {
            [list @ .., Step::Item(keys), Step::Key(name)] if keys.contains_key(name) => Some(list),
            _ => None,
        }
    }
}

fn has(item: &Value, keys: &Map<String, Value>) -> bool {
    keys.iter()
        .all(|(name, value)| item.get(name) == Some(value))
}

/// Removes list items that were not there before, by their whole value.
pub(super) fn drop_strange_items(now: &mut Value, before: &Value, list: &[Step]) -> Result<()> {
    let path = Field(list.to_vec());
    let known = path
        .find(before)
        .and_then(Value::as_array)
        .context("the list was there")?;
    let mut items = path
        .find(now)
        .and_then(Value::as_array)
        .context("the list is gone")?
        .clone();
    items.retain(|item| known.contains(item));
    path.edit(now, Some(&Value::Array(items)));
    Ok(())
}

/// The fields of all `Apply` entries of the operator's managers, from their `fieldsV1`.
pub(super) fn owned_fields(object: &DynamicObject) -> Result<Vec<Field>> {
    let mut owned = Vec::new();
    for entry in object.metadata.managed_fields.iter().flatten() {
        let manager = entry.manager.as_deref().unwrap_or_default();
        let is_ours = manager.starts_with("orlop-") && entry.subresource.is_none();
        if is_ours && let Some(fields) = &entry.fields_v1 {
            collect(&fields.0, &mut Vec::new(), &mut owned)?;
        }
    }
    ensure!(!owned.is_empty(), "the operator owns no field of it");
    Ok(owned)
}

fn collect(fields: &Value, path: &mut Vec<Step>, owned: &mut Vec<Field>) -> Result<()> {
    let fields = fields.as_object().context("fieldsV1 is made of maps")?;
    if fields.is_empty() {
        owned.push(Field(path.clone()));
    }
    for (key, below) in fields {
        let step = match key.split_once(':') {
            Some(("f", name)) => Step::Key(name.to_owned()),
            Some(("k", keys)) => Step::Item(serde_json::from_str(keys)?),
            // The item or map itself; removing all of an item is an edit of its own.
            _ if key == "." => {
                if matches!(path.last(), Some(Step::Item(_))) {
                    owned.push(Field(path.clone()));
                }
                continue;
            }
            _ => bail!("an unknown kind of field: {key}"),
        };
        path.push(step);
        collect(below, path, owned)?;
        path.pop();
    }
    Ok(())
}

#[test]
fn owned_fields_are_read_from_the_record_of_ownership() {
    let fields = serde_json::json!({
        "f:spec": {"f:ports": {
            "k:{\"port\":80}": {".": {}, "f:port": {}, "f:name": {}},
        }},
    });
    let mut owned = Vec::new();
    collect(&fields, &mut Vec::new(), &mut owned).unwrap();
    let told: Vec<_> = owned.iter().map(Field::to_string).collect();
    assert_eq!(told, ["spec/ports", "spec/ports/name", "spec/ports/port"]);
    let renamed: Vec<_> = owned
        .iter()
        .map(|field| field.renamed_list().is_some())
        .collect();
    assert_eq!(renamed, [false, false, true]);
}

#[test]
fn a_field_of_a_list_item_is_found_and_edited() {
    let mut object = serde_json::json!({"spec": {"ports": [
        {"port": 7, "name": "echo"}, {"port": 80, "name": "http"},
    ]}});
    let item = Step::Item(Map::from_iter([("port".to_owned(), 80.into())]));
    let field = Field(vec![
        Step::Key("spec".into()),
        Step::Key("ports".into()),
        item.clone(),
        Step::Key("name".into()),
    ]);
    assert_eq!(field.find(&object), Some(&"http".into()));
    assert!(field.edit(&mut object, Some(&"web".into())));
    assert_eq!(object["spec"]["ports"][1]["name"], "web");
    let whole = Field(vec![
        Step::Key("spec".into()),
        Step::Key("ports".into()),
        item,
    ]);
    assert!(whole.edit(&mut object, None));
    assert_eq!(object["spec"]["ports"].as_array().unwrap().len(), 1);
}

#[test]
fn an_item_that_becomes_another_one_hides_the_edits_of_its_fields() {
    let item = Step::Item(Map::from_iter([("port".to_owned(), 80.into())]));
    let field = |name: &str| {
        Field(vec![
            Step::Key("ports".into()),
            item.clone(),
            Step::Key(name.into()),
        ])
    };
    assert!(field("port").overlaps(&field("name")));
    assert!(!field("name").overlaps(&field("targetPort")));
    assert!(field("name").overlaps(&Field(vec![Step::Key("ports".into())])));
}

#[test]
fn labels_of_the_owner_and_references_to_it_are_marks() {
    let label = |name: &str| {
        let steps = ["metadata", "labels", name];
        Field(steps.map(|step| Step::Key(step.to_owned())).into())
    };
    assert_eq!(label("orlop.dev/owner-kind").mark(), Some(Mark::Label));
    assert_eq!(label("app.kubernetes.io/name").mark(), None);
}

#[test]
fn numbers_in_texts_are_counted_up() {
    assert_eq!(counted_up("25%"), "26%");
    assert_eq!(counted_up("64Mi"), "65Mi");
    assert_eq!(counted_up("http"), "http0");
}

//! Edits of every field that the operator owns, as the API server itself records the ownership.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Error,
    api::{DynamicObject, PostParams},
};
use orlop_suites::{Identity, TestNamespace, differences, eventually, figure, normalised};
use serde_json::{Map, Value};

/// Another test may restart the operator meanwhile; without that it takes a fraction of a second.
const SET_BACK_WITHIN: Duration = Duration::from_secs(30);
/// Somebody with an editor.
const MEDDLER: &str = "meddler";
/// Objects that are edited at once: few, for two cores.
const AT_ONCE: usize = 4;
/// An edit that meets a status update is tried anew so often.
const ATTEMPTS_MAX: usize = 8;

/// What became of all edits.
#[derive(Debug, Default)]
pub(crate) struct Edited {
    /// Kind and path of each field that was changed or removed, and set back.
    set_back: BTreeSet<(&'static str, String)>,
    edits: usize,
    /// The API server refused every change that was tried, or it changed nothing.
    without_effect: usize,
    not_set_back: Vec<String>,
}

impl Edited {
    /// # Errors
    /// When one of the fields could not be edited at all: then the test proved nothing of it.
    pub(crate) fn ensure_covers(&self, fields: &[(&'static str, &str)]) -> Result<()> {
        for (kind, path) in fields {
            let covered = self
                .set_back
                .iter()
                .any(|(of, edited)| of == kind && edited.starts_with(path));
            ensure!(
                covered,
                "no edit of {kind} {path} had an effect: {:#?}",
                self.set_back
            );
        }
        Ok(())
    }
}

/// Changes each owned field of each object, then removes it; waits every time until it is as
/// before.
pub(crate) async fn edit_each_owned_field(
    namespace: &TestNamespace,
    objects: BTreeMap<Identity, DynamicObject>,
) -> Result<Edited> {
    let each = objects.into_iter().map(|(identity, object)| async move {
        let of = format!("{identity}");
        edit_object(namespace, identity, &object).await.context(of)
    });
    let all: Vec<Edited> = stream::iter(each)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let sum = all.into_iter().fold(Edited::default(), |mut sum, one| {
        sum.set_back.extend(one.set_back);
        sum.edits += one.edits;
        sum.without_effect += one.without_effect;
        sum.not_set_back.extend(one.not_set_back);
        sum
    });
    figure("repair.edits-set-back", sum.edits, "edits");
    figure("repair.edits-without-effect", sum.without_effect, "edits");
    ensure!(sum.not_set_back.is_empty(), "{:#?}", sum.not_set_back);
    Ok(sum)
}

async fn edit_object(
    namespace: &TestNamespace,
    identity: Identity,
    object: &DynamicObject,
) -> Result<Edited> {
    let editor = Editor {
        api: identity.api(namespace),
        name: identity.name.clone(),
        before: normalised(object)?,
    };
    let mut edited = Edited::default();
    for field in owned_fields(object)? {
        if remembered_nowhere_else(&identity, &field) {
            continue;
        }
        let value = serde_json::to_value(object)?;
        let value = field.find(&value).cloned();
        // What is recorded as owned but not there cannot be edited.
        let Some(value) = value else { continue };
        let change = field.may_change().then_some(Edit::Change(value));
        for edit in change.into_iter().chain([Edit::Remove]) {
            match editor.edit_and_watch(&field, &edit).await {
                Ok(true) => {
                    edited.edits += 1;
                    edited.set_back.insert((identity.kind(), field.to_string()));
                }
                Ok(false) => edited.without_effect += 1,
                Err(error) => {
                    edited.not_set_back.push(format!("{identity}: {error:#}"));
                    editor.remove_own_traces().await?;
                }
            }
        }
    }
    Ok(edited)
}

/// The place of a revision in its service's history. Only the object itself knows it, and only
/// the order of what may be gone back to depends on it.
fn remembered_nowhere_else(identity: &Identity, field: &Field) -> bool {
    identity.kind() == "ControllerRevision" && field.to_string() == "revision"
}

/// One edit of a field.
enum Edit {
    /// From this value to another of its type.
    Change(Value),
    Remove,
}

struct Editor {
    api: Api<DynamicObject>,
    name: String,
    before: Value,
}

impl Editor {
    /// Whether the edit had an effect; if so, it has been set back.
    async fn edit_and_watch(&self, field: &Field, edit: &Edit) -> Result<bool> {
        let candidates: Vec<Option<Value>> = match edit {
            Edit::Change(value) => changes(value).into_iter().map(Some).collect(),
            Edit::Remove => vec![None],
        };
        for candidate in candidates {
            let Some(stored) = self.write(field, candidate.as_ref()).await? else {
                continue;
            };
            if normalised(&stored)? == self.before {
                continue;
            }
            self.set_back(field, edit).await?;
            return Ok(true);
        }
        Ok(false)
    }

    async fn set_back(&self, field: &Field, edit: &Edit) -> Result<()> {
        let edit = match edit {
            Edit::Change(_) => "a change",
            Edit::Remove => "its removal",
        };
        let what = format!("{field} is set back after {edit}");
        eventually(SET_BACK_WITHIN, what, async || {
            let mut now = normalised(&self.api.get(&self.name).await?)?;
            if let Some(list) = field.renamed_list() {
                // A list item whose key was edited is another item now: a foreign one, which
                // stays beside ours as the API's own rules of ownership have it.
                drop_strange_items(&mut now, &self.before, list)?;
            }
            let differences = differences(&self.before, &now);
            ensure!(differences.is_empty(), "{differences:#?}");
            Ok(())
        })
        .await?;
        if field.renamed_list().is_some() {
            self.remove_own_traces().await?;
        }
        Ok(())
    }

    /// Writes the live object with one field changed; none if the API server refuses that.
    async fn write(&self, field: &Field, value: Option<&Value>) -> Result<Option<DynamicObject>> {
        for _ in 0..ATTEMPTS_MAX {
            let mut object = serde_json::to_value(self.api.get(&self.name).await?)?;
            if !field.edit(&mut object, value) {
                // An earlier edit of its parent was set back without it: it says when, not what.
                return Ok(None);
            }
            match self.replace(object).await {
                Ok(stored) => return Ok(Some(stored)),
                Err(Error::Api(status)) if status.code == 409 => (),
                Err(Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            }
        }
        bail!("{field} could not be edited: the object changes all the time")
    }

    /// Takes away what an edit added and the operator rightly left alone.
    async fn remove_own_traces(&self) -> Result<()> {
        for _ in 0..ATTEMPTS_MAX {
            let live = self.api.get(&self.name).await?;
            let mut object = self.before.clone();
            if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
                let version = live.metadata.resource_version.clone();
                metadata.insert("resourceVersion".to_owned(), serde_json::to_value(version)?);
            }
            match self.replace(object).await {
                Err(Error::Api(status)) if status.code == 409 => (),
                result => {
                    result?;
                    return Ok(());
                }
            }
        }
        bail!("the object changes all the time")
    }

    async fn replace(&self, object: Value) -> kube::Result<DynamicObject> {
        let object = serde_json::from_value(object).map_err(Error::SerdeError)?;
        let parameters = PostParams {
            field_manager: Some(MEDDLER.to_owned()),
            ..PostParams::default()
        };
        self.api.replace(&self.name, &parameters, &object).await
    }
}

/// Other values of the same type; the API server may refuse some.
fn changes(value: &Value) -> Vec<Value> {
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
struct Field(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Key(String),
    /// The item of a list that has these fields.
    Item(Map<String, Value>),
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
    fn find<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(object, |value, step| match step {
            Step::Key(name) => value.get(name),
            Step::Item(keys) => value.as_array()?.iter().find(|item| has(item, keys)),
        })
    }

    /// Sets or removes it; false where it is not there.
    fn edit(&self, object: &mut Value, value: Option<&Value>) -> bool {
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
    fn may_change(&self) -> bool {
        let names = ["apiVersion", "kind", "name", "uid"];
        match self.0.as_slice() {
            [.., Step::Item(_)] => false,
            [.., Step::Key(list), Step::Item(_), Step::Key(name)] => {
                list != "ownerReferences" || !names.contains(&name.as_str())
            }
            _ => true,
        }
    }

    /// The list whose item becomes another one when this field changes.
    fn renamed_list(&self) -> Option<&[Step]> {
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
fn drop_strange_items(now: &mut Value, before: &Value, list: &[Step]) -> Result<()> {
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
fn owned_fields(object: &DynamicObject) -> Result<Vec<Field>> {
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
fn numbers_in_texts_are_counted_up() {
    assert_eq!(counted_up("25%"), "26%");
    assert_eq!(counted_up("64Mi"), "65Mi");
    assert_eq!(counted_up("http"), "http0");
}

//! Bodies: a new thing with its parts, or a change of one (RFC 7396).

use orlop_contract::types::{Column, EntityId, Kind, Literal, Model, System};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::{Fault, Refusal};
use crate::value::Value;

/// Parts that one body may hold, at all depths together: each is a row of one statement.
pub(crate) const PARTS_MAX: usize = 500;

/// A thing that is to be created.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draft {
    pub(crate) entity: EntityId,
    pub(crate) id: Uuid,
    /// One for each column, in the entity's order.
    pub(crate) values: Vec<Value>,
    /// Its parts, by entity.
    pub(crate) parts: Vec<Vec<Draft>>,
}

/// Columns of an entity, by their place, and what they are set to.
pub(crate) type Changes = Vec<(usize, Value)>;

/// Reads the body of a POST.
///
/// # Errors
/// Every member that is not allowed.
pub(crate) fn create(
    model: &Model,
    entity: EntityId,
    json: &Json,
    new_id: &mut dyn FnMut() -> Uuid,
) -> Result<Draft, Refusal> {
    let mut reader = Reader {
        model,
        new_id,
        faults: Vec::new(),
        parts: 0,
    };
    let draft = reader.draft(entity, json, "", None);
    match draft {
        Some(draft) if reader.faults.is_empty() => Ok(draft),
        _ => Err(Refusal::Body(reader.faults)),
    }
}

/// Reads the body of a PATCH.
///
/// # Errors
/// Every member that is not allowed.
pub(crate) fn patch(model: &Model, id: EntityId, json: &Json) -> Result<Changes, Refusal> {
    let entity = model.entity(id);
    let Some(members) = json.as_object() else {
        return Err(Refusal::Body(vec![Fault::pointer("", "must be an object")]));
    };
    let mut changes = Vec::with_capacity(members.len());
    let mut faults = Vec::new();
    for (name, value) in members {
        let pointer = format!("/{}", escaped(name));
        let Some(at) = entity
            .columns
            .iter()
            .position(|column| column.name == *name)
        else {
            faults.push(Fault::pointer(pointer, unknown(model, id, name)));
            continue;
        };
        let column = &entity.columns[at];
        if entity.whole.as_ref() == Some(name) {
            faults.push(Fault::pointer(pointer, "a part stays with its whole"));
            continue;
        }
        match given(column, value) {
            Ok(value) => changes.push((at, value)),
            Err(detail) => faults.push(Fault::pointer(pointer, detail)),
        }
    }
    if faults.is_empty() {
        Ok(changes)
    } else {
        Err(Refusal::Body(faults))
    }
}

struct Reader<'a> {
    model: &'a Model,
    new_id: &'a mut dyn FnMut() -> Uuid,
    faults: Vec<Fault>,
    parts: usize,
}

impl Reader<'_> {
    /// Depth is that of the declared parts: a part is never a part of itself.
    fn draft(&mut self, id: EntityId, json: &Json, at: &str, whole: Option<Uuid>) -> Option<Draft> {
        let model = self.model;
        let entity = model.entity(id);
        let Some(members) = json.as_object() else {
            self.fault(at, "must be an object");
            return None;
        };
        let own = (self.new_id)();
        let mut values = Vec::with_capacity(entity.columns.len());
        for column in &entity.columns {
            let is_whole = entity.whole.as_ref() == Some(&column.name);
            let value = match whole {
                Some(whole) if is_whole => Value::Uuid(whole),
                _ => self.value(column, members, at),
            };
            values.push(value);
        }
        self.check_known(id, members, at, whole.is_some());
        let mut parts = Vec::new();
        for (part, _, name) in model.parts(id) {
            if let Some(items) = members.get(name) {
                parts.push(self.items(part, items, &format!("{at}/{}", escaped(name)), own));
            }
        }
        Some(Draft {
            entity: id,
            id: own,
            values,
            parts,
        })
    }

    fn value(&mut self, column: &Column, members: &Map<String, Json>, at: &str) -> Value {
        let outcome = match members.get(&column.name) {
            Some(json) => given(column, json),
            None => absent(column),
        };
        outcome.unwrap_or_else(|detail| {
            self.fault(&format!("{at}/{}", escaped(&column.name)), detail);
            Value::Null
        })
    }

    fn items(&mut self, part: EntityId, json: &Json, at: &str, whole: Uuid) -> Vec<Draft> {
        let Some(items) = json.as_array() else {
            self.fault(at, "must be an array");
            return Vec::new();
        };
        self.parts += items.len();
        if self.parts > PARTS_MAX {
            self.fault(
                at,
                format!("at most {PARTS_MAX} parts are allowed in one request"),
            );
            return Vec::new();
        }
        items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| {
                self.draft(part, item, &format!("{at}/{index}"), Some(whole))
            })
            .collect()
    }

    fn check_known(
        &mut self,
        id: EntityId,
        members: &Map<String, Json>,
        at: &str,
        inside_whole: bool,
    ) {
        let entity = self.model.entity(id);
        for name in members.keys() {
            let pointer = format!("{at}/{}", escaped(name));
            if inside_whole && entity.whole.as_ref() == Some(name) {
                self.fault(&pointer, "follows from where the part stands");
            } else if entity.column(name).is_none()
                && !self.model.parts(id).any(|(_, _, part)| part == name)
            {
                let detail = unknown(self.model, id, name);
                self.fault(&pointer, detail);
            }
        }
    }

    fn fault(&mut self, pointer: &str, detail: impl Into<String>) {
        self.faults.push(Fault::pointer(pointer, detail));
    }
}

fn given(column: &Column, json: &Json) -> Result<Value, String> {
    if !json.is_null() {
        return Value::from_json(&column.kind, json);
    }
    if column.optional {
        Ok(Value::Null)
    } else {
        Err("must not be null".into())
    }
}

fn absent(column: &Column) -> Result<Value, String> {
    match &column.default {
        Some(Literal::Text(text)) => Ok(Value::Text(text.clone())),
        Some(Literal::Int(number)) => Ok(Value::Int(*number)),
        Some(Literal::Decimal(number)) => Ok(Value::Decimal(number.clone())),
        Some(Literal::Bool(truth)) => Ok(Value::Bool(*truth)),
        None if column.optional => Ok(Value::Null),
        None => Err(match column.kind {
            Kind::Reference { .. } => "is required: the id of an existing thing".into(),
            _ => "is required".into(),
        }),
    }
}

fn unknown(model: &Model, id: EntityId, name: &str) -> String {
    if System::by_name(name).is_some() {
        return "is set by the server".into();
    }
    if model.inverses(id).any(|(_, _, inverse)| inverse == name) {
        return "is changed from its other side".into();
    }
    format!("`{}` has no such field", model.entity(id).name)
}

/// RFC 6901 section 3.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture;

    const BOAT: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

    fn created(path: &str, json: &Json) -> Result<Draft, Refusal> {
        let model = fixture::model();
        let mut next = 0_u128;
        create(&model, model.by_path(path).unwrap(), json, &mut || {
            next += 1;
            Uuid::from_u128(next)
        })
    }

    fn faults(refused: Result<Draft, Refusal>) -> Vec<(String, String)> {
        let Err(Refusal::Body(faults)) = refused else {
            panic!("it is not refused: {refused:?}");
        };
        faults
            .into_iter()
            .map(|fault| match fault.place {
                super::super::Place::Pointer(pointer) => (pointer, fault.detail),
                other => panic!("{other:?} is no place in a body"),
            })
            .collect()
    }

    #[test]
    fn what_is_not_said_has_its_default_or_is_null() {
        let draft = created("boats", &json!({"hull": "h1", "price": "12.50"})).unwrap();
        assert_eq!(draft.values[0], Value::Text("h1".into()));
        assert_eq!(draft.values[2], Value::Int(2));
        assert_eq!(draft.values[3], Value::Null);
        assert_eq!(draft.values[5], Value::Bool(true));
    }

    #[test]
    fn parts_refer_to_the_whole_that_they_stand_in() {
        let draft = created(
            "voyages",
            &json!({"boat": BOAT, "legs": [{"miles": 3, "pier": BOAT}, {"miles": 4, "pier": BOAT}]}),
        )
        .unwrap();
        let legs = &draft.parts[0];
        assert_eq!(legs.len(), 2);
        assert_eq!(*legs[1].values.last().unwrap(), Value::Uuid(draft.id));
        assert_ne!(legs[0].id, legs[1].id);
    }

    #[test]
    fn every_fault_is_told_with_its_pointer() {
        let told = faults(created(
            "voyages",
            &json!({"id": BOAT, "state": "lost", "a/b": 1, "legs": [{"miles": 0, "voyage": BOAT}]}),
        ));
        let told: Vec<_> = told
            .iter()
            .map(|(pointer, detail)| (pointer.as_str(), detail.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("/state", "must be one of planned, done"),
                ("/boat", "is required: the id of an existing thing"),
                ("/a~1b", "`Voyage` has no such field"),
                ("/id", "is set by the server"),
                (
                    "/legs/0/miles",
                    "must be a whole number from 1 to 9007199254740991"
                ),
                ("/legs/0/pier", "is required: the id of an existing thing"),
                ("/legs/0/voyage", "follows from where the part stands"),
            ]
        );
    }

    #[test]
    fn more_parts_than_a_request_may_hold_are_refused() {
        let legs = vec![json!({"miles": 1, "pier": BOAT}); PARTS_MAX + 1];
        let told = faults(created("voyages", &json!({"boat": BOAT, "legs": legs})));
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, "/legs");
    }

    #[test]
    fn a_patch_holds_only_what_it_says() {
        let model = fixture::model();
        let boat = model.by_path("boats").unwrap();
        let changes = patch(&model, boat, &json!({"note": null, "berths": 5})).unwrap();
        let mut changes: Vec<_> = changes.into_iter().collect();
        changes.sort_by_key(|(at, _)| *at);
        assert_eq!(changes, [(2, Value::Int(5)), (3, Value::Null)]);
        assert!(patch(&model, boat, &json!({"hull": null})).is_err());
        assert!(patch(&model, boat, &json!([])).is_err());
        let leg = model.by_path("voyage-legs").unwrap();
        assert!(patch(&model, leg, &json!({"voyage": BOAT})).is_err());
    }
}

//! The description of the API (OpenAPI 3.1), made of the model.

use orlop_contract::{
    api::ApiConfig,
    types::{Action, Column, Decimal, Entity, EntityId, Kind, Literal, Model, System},
};
use serde_json::{Map, Value, json};

use crate::{
    member,
    request::{
        body::PARTS_MAX,
        list::{LIMIT_DEFAULT, LIMIT_MAX},
    },
    sql::INCLUDED_MAX,
};

/// What is not allowed is not described.
pub(crate) fn document(config: &ApiConfig, model: &Model) -> Value {
    let mut paths = Map::new();
    let mut schemas = Map::from_iter([("Problem".to_owned(), problem())]);
    for (id, entity) in model.entities() {
        let allowed = |action| model.anonymous_may(id, action);
        let collection = collection(model, id, &allowed);
        if !collection.is_empty() {
            paths.insert(format!("/{}", entity.path), collection.into());
        }
        let item = item(model, id, &allowed);
        if !item.is_empty() {
            paths.insert(format!("/{}/{{id}}", entity.path), item.into());
        }
        schemas.insert(entity.name.clone(), answered(model, id));
        schemas.insert(format!("New{}", entity.name), new(model, id, false));
        schemas.insert(format!("{}Changes", entity.name), changes(entity));
        if entity.whole.is_some() {
            schemas.insert(format!("New{}InWhole", entity.name), new(model, id, true));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": config.name, "version": "1"},
        "servers": [{"url": if config.base_path.is_empty() { "/" } else { &config.base_path }}],
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

fn collection(model: &Model, id: EntityId, allowed: &dyn Fn(Action) -> bool) -> Map<String, Value> {
    let entity = model.entity(id);
    let mut operations = Map::new();
    if allowed(Action::Read) {
        let page = json!({
            "type": "object",
            "required": ["items", "next"],
            "properties": {
                "items": {"type": "array", "maxItems": LIMIT_MAX, "items": reference(&entity.name)},
                "next": {"type": ["string", "null"], "description": "`after` of the next page"},
            },
        });
        let mut parameters = list_parameters();
        parameters.extend(filters(entity));
        parameters.push(include_parameter());
        operations.insert(
            "get".into(),
            json!({
                "operationId": format!("list{}", entity.name),
                "parameters": parameters,
                "responses": responses("200", "A page", Some(&page)),
            }),
        );
    }
    if allowed(Action::Create) {
        operations.insert(
            "post".into(),
            json!({
                "operationId": format!("create{}", entity.name),
                "parameters": [header("Idempotency-Key", false, "Creates once, however often it is sent")],
                "requestBody": body("application/json", &format!("New{}", entity.name)),
                "responses": responses("201", "Created", Some(&reference(&entity.name))),
            }),
        );
    }
    operations
}

fn item(model: &Model, id: EntityId, allowed: &dyn Fn(Action) -> bool) -> Map<String, Value> {
    let entity = model.entity(id);
    let path = json!({"name": "id", "in": "path", "required": true,
        "schema": {"type": "string", "format": "uuid"}});
    let condition = header("If-Match", true, "ETag of what was read, or *");
    let mut operations = Map::new();
    if allowed(Action::Read) {
        operations.insert(
            "get".into(),
            json!({
                "operationId": format!("get{}", entity.name),
                "parameters": [path, include_parameter(), header("If-None-Match", false, "ETag that is known")],
                "responses": responses("200", "The thing, with its ETag", Some(&reference(&entity.name))),
            }),
        );
    }
    if allowed(Action::Update) {
        operations.insert(
            "patch".into(),
            json!({
                "operationId": format!("update{}", entity.name),
                "parameters": [path, condition],
                "requestBody": body("application/merge-patch+json", &format!("{}Changes", entity.name)),
                "responses": responses("200", "The thing as it is now", Some(&reference(&entity.name))),
            }),
        );
    }
    if allowed(Action::Delete) {
        operations.insert(
            "delete".into(),
            json!({
                "operationId": format!("delete{}", entity.name),
                "parameters": [path, condition],
                "responses": responses("204", "Deleted", None),
            }),
        );
    }
    operations
}

fn list_parameters() -> Vec<Value> {
    vec![
        json!({"name": "limit", "in": "query",
            "schema": {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}}),
        json!({"name": "after", "in": "query", "description": "`next` of the page before",
            "schema": {"type": "string"}}),
        json!({"name": "sort", "in": "query", "schema": {"type": "string"},
            "description": "Up to three fields with commas between them; `-` before one for descending"}),
    ]
}

/// One for each field; the operators stand in the description, because seven parameters for each
/// would hide the rest.
fn filters(entity: &Entity) -> Vec<Value> {
    member::all(entity)
        .map(|member| {
            json!({"name": member.name, "in": "query", "schema": schema(&member.kind),
                "description": format!("Also as `{0}.ne`, `{0}.lt`, `{0}.lte`, `{0}.gt`, `{0}.gte` and `{0}.in` with commas", member.name)})
        })
        .collect()
}

fn include_parameter() -> Value {
    json!({"name": "include", "in": "query", "schema": {"type": "string"},
        "description": "Relations to answer along, such as `a,b.c`"})
}

fn header(name: &str, required: bool, description: &str) -> Value {
    json!({"name": name, "in": "header", "required": required, "description": description,
        "schema": {"type": "string"}})
}

fn body(media_type: &str, schema: &str) -> Value {
    json!({"required": true, "content": {media_type: {"schema": reference(schema)}}})
}

fn responses(status: &str, description: &str, schema: Option<&Value>) -> Value {
    let mut success = json!({"description": description});
    if let Some(schema) = schema {
        success["content"] = json!({"application/json": {"schema": schema}});
    }
    json!({
        status: success,
        "default": {"description": "What went wrong", "content":
            {"application/problem+json": {"schema": reference("Problem")}}},
    })
}

fn answered(model: &Model, id: EntityId) -> Value {
    let entity = model.entity(id);
    let mut properties: Map<String, Value> = System::ALL
        .into_iter()
        .map(member::system)
        .map(|system| (system.name, schema(&system.kind)))
        .collect();
    let mut required: Vec<_> = properties.keys().cloned().collect();
    for column in &entity.columns {
        let mut value = nullable(column);
        if let Kind::Reference { to, .. } = &column.kind {
            let included = reference(&model.entity(*to).name);
            value = json!({"anyOf": [value, included], "description": "Its id, or the thing if it is included"});
        }
        properties.insert(column.name.clone(), value);
        required.push(column.name.clone());
    }
    for (from, _, name) in model.inverses(id) {
        let items = reference(&model.entity(from).name);
        properties.insert(
            name.to_owned(),
            json!({"type": "array", "maxItems": INCLUDED_MAX, "items": items, "description": "If it is included"}),
        );
    }
    json!({"type": "object", "required": required, "properties": properties})
}

fn new(model: &Model, id: EntityId, in_whole: bool) -> Value {
    let entity = model.entity(id);
    let mut properties = Map::new();
    let mut required = Vec::new();
    for column in &entity.columns {
        if in_whole && entity.whole.as_ref() == Some(&column.name) {
            continue;
        }
        let mut value = nullable(column);
        match &column.default {
            Some(default) => value["default"] = literal(default),
            None if !column.optional => required.push(column.name.as_str()),
            None => {}
        }
        properties.insert(column.name.clone(), value);
    }
    for (part, _, name) in model.parts(id) {
        let items = reference(&format!("New{}InWhole", model.entity(part).name));
        properties.insert(
            name.to_owned(),
            json!({"type": "array", "maxItems": PARTS_MAX, "items": items}),
        );
    }
    json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false})
}

fn changes(entity: &Entity) -> Value {
    let properties: Map<String, Value> = entity
        .columns
        .iter()
        .filter(|column| entity.whole.as_ref() != Some(&column.name))
        .map(|column| (column.name.clone(), nullable(column)))
        .collect();
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

fn nullable(column: &Column) -> Value {
    let value = schema(&column.kind);
    if column.optional {
        json!({"anyOf": [value, {"type": "null"}]})
    } else {
        value
    }
}

fn schema(kind: &Kind) -> Value {
    match kind {
        Kind::Text { max_length } => json!({"type": "string", "maxLength": max_length}),
        Kind::Int { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Decimal { min, max } => decimal(min.as_ref(), max.as_ref()),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Timestamp => json!({"type": "string", "format": "date-time"}),
        Kind::Enum { values } => json!({"type": "string", "enum": values}),
        Kind::Uuid | Kind::Reference { .. } => json!({"type": "string", "format": "uuid"}),
    }
}

fn decimal(min: Option<&Decimal>, max: Option<&Decimal>) -> Value {
    let bounds = match (min, max) {
        (Some(min), Some(max)) => format!("From {min} to {max}"),
        (Some(min), None) => format!("At least {min}"),
        (None, Some(max)) => format!("At most {max}"),
        (None, None) => "A decimal number".to_owned(),
    };
    json!({"type": "string", "pattern": r"^-?[0-9]{1,20}(\.[0-9]{1,10})?$", "description": bounds})
}

fn literal(default: &Literal) -> Value {
    match default {
        Literal::Text(text) => json!(text),
        Literal::Int(number) => json!(number),
        Literal::Decimal(number) => json!(number.to_string()),
        Literal::Bool(truth) => json!(truth),
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457",
        "required": ["type", "title", "status", "detail", "traceId"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "traceId": {"type": "string"},
            "errors": {"type": "array", "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON Pointer into the body"},
                    "parameter": {"type": "string"},
                    "header": {"type": "string"},
                    "detail": {"type": "string"},
                },
            }},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn the_document_describes_what_is_allowed() {
        let document = document(&fixture::config(), &fixture::model());
        insta::assert_yaml_snapshot!(document);
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        let document = document(&fixture::config(), &fixture::model());
        let text = document.to_string();
        let references = text.split("#/components/schemas/").skip(1);
        for reference in references {
            let name = reference.split('"').next().unwrap();
            assert!(
                document["components"]["schemas"].get(name).is_some(),
                "{name}"
            );
        }
    }

    #[test]
    fn what_nobody_may_do_is_not_described() {
        let document = document(&fixture::config(), &fixture::model());
        assert!(document["paths"].get("/secrets").is_none());
        assert!(document["paths"]["/piers/{id}"].get("patch").is_none());
    }
}

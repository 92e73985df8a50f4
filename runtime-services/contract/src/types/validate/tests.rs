use super::*;
use crate::types::{Action, Kind};

/// Declarations as a developer writes them.
fn types(json: serde_json::Value) -> Vec<Type> {
    serde_json::from_value(json).unwrap()
}

fn problems(json: serde_json::Value) -> Vec<String> {
    match validate(&types(json)) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn harbour() -> serde_json::Value {
    serde_json::json!([
        {
            "name": "Boat",
            "fields": [
                {"name": "hullNumber", "type": "Text", "maxLength": 40},
                {"name": "draught", "type": "Decimal", "min": "0", "column": "depth"},
            ],
            "indexes": [{"name": "hull", "fields": ["hullNumber"], "kind": "Unique"}],
            "cache": {"class": "boat"},
            "access": [{"name": "browse", "roles": ["anonymous"], "allow": ["Read"]}],
        },
        {
            "name": "Voyage",
            "fields": [{"name": "state", "type": "Enum", "values": ["planned", "done"], "default": "planned"}],
            "relations": [{"name": "boat", "to": "Boat", "inverse": "voyages"}],
            "indexes": [{"name": "recent", "fields": ["boat", "createdAt"]}],
            "access": [{"name": "all", "roles": ["anonymous"], "allow": ["Read", "Write"]}],
            "events": [{"name": "cast", "when": "Created", "publish": {"queue": "casts"}, "payload": ["id", "boat"]}],
        },
        {
            "name": "VoyageLeg",
            "partOf": {"type": "Voyage", "inverse": "legs"},
            "fields": [{"name": "miles", "type": "Int", "min": "1"}],
        },
    ])
}

#[test]
fn names_in_the_database_follow_from_the_declared_ones() {
    let model = validate(&types(harbour())).unwrap();
    let legs = model.entity(model.by_path("voyage-legs").unwrap());
    assert_eq!(legs.table, "voyage_leg");
    let columns: Vec<_> = legs
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.column.as_str()))
        .collect();
    assert_eq!(columns, [("miles", "miles"), ("voyage", "voyage_id")]);
    let boats = model.entity(model.by_path("boats").unwrap());
    assert_eq!(boats.column("draught").unwrap().column, "depth");
    assert_eq!(boats.indexes[0].identifier, "boat_hull_key");
}

#[test]
fn a_part_is_found_from_its_whole_and_has_its_access() {
    let model = validate(&types(harbour())).unwrap();
    let voyage = model.by_path("voyages").unwrap();
    let leg = model.by_path("voyage-legs").unwrap();
    let boat = model.by_path("boats").unwrap();
    let parts: Vec<_> = model
        .parts(voyage)
        .map(|(id, _, name)| (id, name))
        .collect();
    assert_eq!(parts, [(leg, "legs")]);
    assert!(model.anonymous_may(leg, Action::Delete));
    assert!(model.anonymous_may(boat, Action::Read));
    assert!(!model.anonymous_may(boat, Action::Create));
    assert_eq!(
        model.parts(boat).count(),
        0,
        "a voyage is no part of its boat"
    );
    assert_eq!(model.inverses(boat).count(), 1);
}

#[test]
fn an_event_that_says_no_payload_carries_the_id() {
    let mut declared = harbour();
    declared[1]["events"][0]["payload"] = serde_json::json!([]);
    let model = validate(&types(declared)).unwrap();
    let voyage = model.entity(model.by_path("voyages").unwrap());
    assert_eq!(voyage.events[0].payload, ["id"]);
}

#[test]
fn an_int_without_ends_has_those_of_json() {
    let model = validate(&types(harbour())).unwrap();
    let leg = model.entity(model.by_path("voyage-legs").unwrap());
    let Kind::Int { min, max } = leg.column("miles").unwrap().kind else {
        panic!("miles is an Int");
    };
    assert_eq!((min, max), (1, 9_007_199_254_740_991));
}

#[test]
fn everything_that_is_wrong_is_told_at_once_and_where() {
    let found = problems(serde_json::json!([
        {"name": "Boat", "fields": [
            {"name": "id", "type": "Text"},
            {"name": "limit", "type": "Text"},
            {"name": "keel", "type": "Text", "min": "1"},
            {"name": "sails", "type": "Int", "min": "3", "max": "2"},
            {"name": "rig", "type": "Enum"},
            {"name": "beam", "type": "Decimal", "min": "1", "default": "0.5"},
        ]},
        {"name": "Boat", "relations": [{"name": "owner", "to": "Owner"}]},
        {"name": "OrlopKeel"},
    ]));
    assert_eq!(
        found,
        [
            "types[Boat].name: is declared twice",
            "types[OrlopKeel].name: names that start with `Orlop` are reserved",
            "types[Boat].fields[id]: every type has a field of that name",
            "types[Boat].fields[limit]: the name is a word of a list's query: choose another one",
            "types[Boat].fields[keel].min: only an Int or a Decimal has it",
            "types[Boat].fields[sails]: `min` is greater than `max`",
            "types[Boat].fields[rig].values: an Enum has 1 to 64 values",
            "types[Boat].fields[beam].default: `0.5` is not a value that the field may have",
            "types[Boat].relations[owner].to: there is no type `Owner`",
        ]
    );
}

#[test]
fn a_whole_that_is_a_part_of_its_part_is_refused() {
    let found = problems(serde_json::json!([
        {"name": "Deck", "partOf": {"type": "Plank", "inverse": "decks"}},
        {"name": "Plank", "partOf": {"type": "Deck", "inverse": "planks"}},
    ]));
    assert_eq!(
        found[0],
        "types[Deck].partOf: `Deck` is, in the end, a part of itself"
    );
}

#[test]
fn a_column_that_is_taken_is_refused() {
    let found = problems(serde_json::json!([{"name": "Boat", "fields": [
        {"name": "keel", "type": "Text"},
        {"name": "fin", "type": "Text", "column": "keel"},
        {"name": "moment", "type": "Text", "column": "created_at"},
        {"name": "keel", "type": "Int", "column": "other"},
    ]}]));
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].contains("`fin` is kept in column `keel`"),
        "{found:?}"
    );
}

#[test]
fn an_inverse_that_the_other_side_has_already_is_refused() {
    let mut declared = harbour();
    declared[0]["fields"]
        .as_array_mut()
        .unwrap()
        .push(serde_json::json!({"name": "voyages", "type": "Int"}));
    assert_eq!(
        problems(declared),
        ["types[Voyage].boat: `Boat` has something called `voyages` already"]
    );
}

#[test]
fn a_part_with_access_rules_of_its_own_is_refused() {
    let mut declared = harbour();
    declared[2]["access"] =
        serde_json::json!([{"name": "browse", "roles": ["anonymous"], "allow": ["Read"]}]);
    assert_eq!(
        problems(declared),
        ["types[VoyageLeg].access: a part has the access of its whole"]
    );
}

#[test]
fn events_to_two_brokers_are_refused() {
    let mut declared = harbour();
    declared[1]["events"] = serde_json::json!([
        {"name": "a", "when": "Created", "publish": {"broker": "mq", "queue": "casts"}},
        {"name": "b", "when": "Deleted", "publish": {"broker": "bus", "queue": "casts"}},
    ]);
    assert_eq!(
        problems(declared),
        [
            "types[Voyage].events[b].publish.broker: all events of one API are published to one broker"
        ]
    );
}

#[test]
fn a_role_that_does_not_work_yet_is_refused_by_name() {
    let refused = serde_json::from_value::<Type>(serde_json::json!({
        "name": "Boat",
        "access": [{"name": "crew", "roles": ["staff"], "allow": ["Read"]}],
    }));
    let message = refused.unwrap_err().to_string();
    assert!(
        message.contains("unknown variant `staff`, expected `anonymous`"),
        "{message}"
    );
}

//! `orlop release` as its user runs it, against a cluster of which only what it asks for is there.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, also in its helpers"
)]

mod api_server;

use std::process::Output;

use serde_json::{Value, json};

use api_server::{ApiServer, Operator, World};

const OLD: &str = "0a0a0a0a0a";
const NEW: &str = "0b0b0b0b0b";

/// A service with two revisions: one is served, the other one waits to be promoted.
fn gated() -> Value {
    service(&json!({
        "activeRevision": OLD,
        "release": {
            "phase": "Gated", "from": OLD, "to": NEW, "fromReplicas": 2,
            "begun": "2026-01-01T00:00:00.000000Z", "since": "2026-01-01T00:00:00Z",
            "waitsFor": "somebody to promote it", "next": "the switch",
        },
    }))
}

/// A service whose newest revision was aborted.
fn held() -> Value {
    service(&json!({
        "activeRevision": OLD,
        "previousRevision": "0c0c0c0c0c",
        "hold": {
            "revision": NEW, "instead": OLD, "reason": "Aborted",
            "message": "its release was aborted", "since": "2026-01-01T00:00:00Z",
        },
    }))
}

fn service(record: &Value) -> Value {
    let mut status = record.clone();
    status["observedGeneration"] = 3.into();
    status["summary"] = "2/2".into();
    json!({
        "apiVersion": "orlop.dev/v1alpha1",
        "kind": "AppService",
        "metadata": {
            "name": "shop-web", "namespace": "lantern", "uid": "u-web", "generation": 3,
            "labels": {
                "app.kubernetes.io/name": "web",
                "orlop.dev/owner-kind": "AppPlatform",
                "orlop.dev/owner-name": "shop",
            },
        },
        "spec": {"image": "web:3", "port": 80},
        "status": status,
    })
}

fn pool(name: &str) -> Value {
    json!({
        "apiVersion": "orlop.dev/v1alpha1",
        "kind": "WorkerPool",
        "metadata": {"name": name, "namespace": "lantern", "uid": "u-pool", "generation": 1},
        "spec": {
            "source": {"rabbitmq": {"broker": "mq", "queue": "emails"}},
            "handler": {"http": {"service": "mailer", "path": "/jobs"}},
        },
        "status": {"observedGeneration": 1, "activeRevision": OLD, "summary": "1/1"},
    })
}

fn kept(revision: &str, number: i64) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": format!("shop-web-{revision}"), "namespace": "lantern",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"orlop.dev/owner": "u-web", "orlop.dev/revision": revision},
        },
        "revision": number,
        "data": {"template": {"spec": {"containers": [{"name": "web", "image": format!("web:{number}")}]}}},
    })
}

fn history() -> Vec<Value> {
    vec![kept("0a0000000c", 1), kept(OLD, 2), kept(NEW, 3)]
}

fn world(objects: impl IntoIterator<Item = Value>) -> World {
    World::new(objects.into_iter().chain(history()))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Asserts how the program ended; what it printed.
#[track_caller]
fn ended(output: &Output, code: i32) -> String {
    let told = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{told}");
    told
}

#[test]
fn every_command_names_the_revision_that_it_means() {
    for (arguments, object, command) in [
        (&["promote", "shop-web"][..], gated(), "promote@0b0b0b0b0b"),
        (
            &["promote", "shop-web", "--full"],
            gated(),
            "promote-full@0b0b0b0b0b",
        ),
        (&["promote", "shop-web"], held(), "promote@0b0b0b0b0b"),
        (&["abort", "shop-web"], gated(), "abort@0b0b0b0b0b"),
        (&["pause", "shop-web"], gated(), "pause@0b0b0b0b0b"),
        (&["resume", "shop-web"], gated(), "resume@0b0b0b0b0b"),
        (&["undo", "shop-web"], gated(), "undo@0a0a0a0a0a"),
        (&["undo", "shop-web"], held(), "undo@0c0c0c0c0c"),
        (
            &["undo", "shop-web", "--to", "0a00"],
            held(),
            "undo@0a0000000c",
        ),
        (
            &["undo", "shop-web", "--to", "1"],
            held(),
            "undo@0a0000000c",
        ),
    ] {
        let server = ApiServer::start(world([object]));
        let told = ended(&server.release(arguments), 0);
        assert_eq!(told, format!("AppService/shop-web: did {command}\n"));
        assert_eq!(server.commanded("shop-web"), command);
    }
}

#[test]
fn a_component_is_found_by_its_application_or_alone() {
    for name in [
        "shop/web",
        "web",
        "appservice/shop-web",
        "AppServices/shop-web",
    ] {
        let server = ApiServer::start(world([gated()]));
        ended(&server.release(&["abort", name]), 0);
        assert_eq!(server.commanded("shop-web"), "abort@0b0b0b0b0b", "{name}");
    }
}

#[test]
fn a_name_of_two_objects_is_not_enough_and_an_application_neither() {
    let server = ApiServer::start(world([gated(), pool("shop-web")]));
    let told = ended(&server.release(&["abort", "shop-web"]), 2);
    assert!(
        told.contains("AppService/shop-web, WorkerPool/shop-web"),
        "{told}"
    );
    let told = ended(&server.release(&["abort", "shop"]), 2);
    assert!(told.contains("component by component: shop/web"), "{told}");
    let told = ended(&server.release(&["abort", "nobody"]), 1);
    assert!(
        told.contains("no AppService or WorkerPool 'nobody'"),
        "{told}"
    );
    assert_eq!(server.writes(), 0);
}

#[test]
fn a_command_that_fits_nothing_is_told_with_what_there_is() {
    let idle = || service(&json!({"activeRevision": OLD}));
    for (arguments, object, told) in [
        (
            &["promote", "shop-web"][..],
            idle(),
            "nothing to promote: AppService/shop-web serves revision 0a0a0a0a0a and releases no other",
        ),
        (&["undo", "shop-web"], idle(), "nothing to undo"),
        (
            &["abort", "shop-web"],
            held(),
            "nothing to abort: AppService/shop-web serves revision 0a0a0a0a0a and releases no other; revision 0b0b0b0b0b is held back",
        ),
        (
            &["undo", "shop-web", "--to", "0a0"],
            held(),
            "at least 4 digits; kept are 0b0b0b0b0b, 0a0a0a0a0a, 0a0000000c",
        ),
        (&["undo", "shop-web", "--to", "9"], held(), "no number 9"),
        (
            &["undo", "shop-web", "--to", "ffff"],
            held(),
            "no revision 'ffff'; kept are",
        ),
    ] {
        let server = ApiServer::start(world([object]));
        let answer = ended(&server.release(arguments), 2);
        assert!(answer.contains(told), "{arguments:?}: {answer}");
        assert_eq!(server.writes(), 0, "{arguments:?}");
    }
}

#[test]
fn a_prefix_of_two_revisions_is_refused() {
    let mut objects = history();
    objects.extend([kept("0a0a000000", 4), held()]);
    let server = ApiServer::start(World::new(objects));
    let told = ended(&server.release(&["undo", "shop-web", "--to", "0a0a"]), 2);
    assert!(told.contains("0a0a000000, 0a0a0a0a0a"), "{told}");
}

#[test]
fn the_same_command_is_given_again_under_another_text() {
    let server = ApiServer::start(world([gated()]));
    for command in [
        "abort@0b0b0b0b0b",
        "abort@0b0b0b0b0b#2",
        "abort@0b0b0b0b0b#3",
    ] {
        ended(&server.release(&["abort", "shop-web"]), 0);
        assert_eq!(server.commanded("shop-web"), command);
    }
}

#[test]
fn a_write_that_comes_between_is_read_before_the_command_is_given_again() {
    let mut world = world([gated()]);
    world.meanwhile = Some(Box::new(|object| {
        object["status"]["release"]["to"] = "0d0d0d0d0d".into();
    }));
    let server = ApiServer::start(world);
    ended(&server.release(&["promote", "shop-web"]), 0);
    assert_eq!(server.commanded("shop-web"), "promote@0d0d0d0d0d");
}

#[test]
fn a_refusal_is_an_error_in_the_operators_words() {
    let mut world = world([gated()]);
    world.operator = Operator::Refuses("it has been promoted already");
    let server = ApiServer::start(world);
    let told = ended(&server.release(&["promote", "shop-web"]), 1);
    assert!(
        told.contains("'promote@0b0b0b0b0b' is refused: it has been promoted already"),
        "{told}"
    );
}

#[test]
fn an_operator_that_does_not_answer_is_told_with_what_to_look_at() {
    let mut world = world([gated()]);
    world.operator = Operator::IsAway;
    let server = ApiServer::start(world);
    let told = ended(&server.release(&["promote", "shop-web"]), 1);
    assert!(told.contains("waiting for the operator"), "{told}");
    assert!(told.contains("did not answer within 15 s"), "{told}");
    assert!(
        told.contains("app.kubernetes.io/name=orlop-operator"),
        "{told}"
    );
    assert!(
        told.contains("kubectl annotate appservice shop-web -n lantern release.orlop.dev/command-"),
        "{told}"
    );
}

#[test]
fn a_release_is_told_with_its_phase_what_it_waits_for_and_what_comes_next() {
    let server = ApiServer::start(world([gated()]));
    let told = ended(&server.release(&["status", "shop-web"]), 0);
    for line in [
        "AppService/shop-web: revision 0a0a0a0a0a is served, 2/2 ready",
        "  phase     Starting > Checking > [Gated] > Scaling > Switching > Verifying > Draining > Keeping",
        "  waits for somebody to promote it",
        "  next      the switch",
    ] {
        assert!(told.lines().any(|told| told == line), "{line}\n{told}");
    }
    assert!(
        told.contains("\n  since     2026-01-01T00:00:00Z ("),
        "{told}"
    );
    assert!(
        told.contains("\n  release   0a0a0a0a0a -> 0b0b0b0b0b, begun "),
        "{told}"
    );

    let json = server.release(&["status", "shop-web", "-o", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["kind"], "AppService");
    assert_eq!(json["declaredRevision"], NEW);
    assert_eq!(json["activeRevision"], OLD);
    assert_eq!(json["release"]["phase"], "Gated");
}

#[test]
fn a_hold_is_told_with_its_cause_and_how_to_end_it() {
    let server = ApiServer::start(world([held()]));
    let told = ended(&server.release(&["status", "shop-web"]), 0);
    for line in [
        "  release   none is under way",
        "  hold      revision 0b0b0b0b0b is held back",
        "  because   its release was aborted",
        "  to end it `orlop release promote shop-web -n lantern`, or declare another",
    ] {
        assert!(told.lines().any(|told| told == line), "{line}\n{told}");
    }
}

#[test]
fn workers_are_told_without_the_phases_that_only_services_have() {
    let mut mail = pool("mail");
    mail["status"]["release"] = json!({
        "phase": "Starting", "from": OLD, "to": NEW, "fromReplicas": 1,
        "begun": "2026-01-01T00:00:00.000000Z", "since": "2026-01-01T00:00:00Z",
    });
    let server = ApiServer::start(world([mail]));
    let told = ended(&server.release(&["status", "mail"]), 0);
    assert!(
        told.contains("  phase     Gated > [Starting] > Switching > Draining\n"),
        "{told}"
    );
}

#[test]
fn a_watched_release_ends_with_what_became_of_it() {
    let gone_on = |record: Value| {
        let mut world = world([gated()]);
        world.after_reads = Some((
            3,
            Box::new(move |object| object["status"] = service(&record)["status"].take()),
        ));
        ApiServer::start(world)
    };
    let served = gone_on(json!({"activeRevision": NEW, "previousRevision": OLD}));
    let told = ended(&served.release(&["status", "-w", "shop-web"]), 0);
    assert!(told.contains("[Gated]"), "{told}");
    assert!(told.contains("revision 0b0b0b0b0b is served"), "{told}");

    let hold = held()["status"]["hold"].take();
    let aborted = gone_on(json!({"activeRevision": OLD, "hold": hold}));
    let told = ended(&aborted.release(&["status", "-w", "shop-web"]), 4);
    assert!(
        told.contains(
            "revision 0b0b0b0b0b is held back, 0a0a0a0a0a is served: its release was aborted"
        ),
        "{told}"
    );
}

#[test]
fn the_history_tells_what_is_kept_and_which_revision_is_which() {
    let server = ApiServer::start(world([gated()]));
    let told = ended(&server.release(&["history", "shop-web"]), 0);
    let words: Vec<Vec<&str>> = told
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(words[0], ["NUMBER", "REVISION", "AGE", "STATE", "IMAGE"]);
    assert_eq!(words[1][..2], ["3", NEW]);
    assert!(told.contains("declared, being released  web:3"), "{told}");
    assert_eq!(words[2][..2], ["2", OLD]);
    assert_eq!(words[2][3..], ["served", "web:2"]);
    assert_eq!(words[3][..2], ["1", "0a0000000c"]);

    let json = server.release(&["history", "shop-web", "-o", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["items"][0]["revision"], NEW);
    assert_eq!(json["items"][0]["number"], 3);
    assert_eq!(json["items"][0]["images"], json!(["web:3"]));
    assert_eq!(json["items"][1]["states"], json!(["Served"]));
}

/// With a `Ready` condition that speaks of the present spec.
fn not_ready(mut object: Value, reason: &str, promote: &Value) -> Value {
    object["spec"]["release"] = json!({"promote": promote});
    object["status"]["readyReplicas"] = 2.into();
    object["status"]["conditions"] = json!([{
        "type": "Ready", "status": "False", "reason": reason, "message": reason,
        "observedGeneration": 3, "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]);
    object
}

const MANIFEST: &str = "
apiVersion: orlop.dev/v1alpha1
kind: AppService
metadata: {name: shop-web, namespace: lantern}
spec: {image: 'web:3', port: 80}
";

#[test]
fn waiting_ends_where_only_a_person_can_go_on() {
    let manual = json!({"mode": "Manual"});
    for (object, told) in [
        (
            not_ready(gated(), "AwaitingPromotion", &manual),
            "fix    `orlop release promote shop-web -n lantern`, or `orlop release abort shop-web -n lantern`",
        ),
        (
            not_ready(held(), "ReleaseHeld", &manual),
            "users  nothing: revision 0a0a0a0a0a answers, 0b0b0b0b0b is held back",
        ),
    ] {
        let server = ApiServer::start(world([object]));
        let answer = ended(&server.apply_and_wait(MANIFEST, "10m"), 4);
        assert!(answer.contains(told), "{answer}");
        assert!(answer.contains("it waits for your decision"), "{answer}");
    }
}

#[test]
fn waiting_goes_on_while_a_revision_is_promoted_by_itself_in_time() {
    let later = json!({"after": "1m"});
    let server = ApiServer::start(world([not_ready(gated(), "AwaitingPromotion", &later)]));
    let answer = ended(&server.apply_and_wait(MANIFEST, "2s"), 4);
    assert!(answer.contains("not ready within 2 s"), "{answer}");
}

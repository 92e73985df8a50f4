use std::collections::BTreeMap;

use orlop_plan::{
    Password,
    broker::reading::{Argument, Policy},
};

use super::*;

#[test]
fn names_are_one_segment_of_a_path() {
    assert_eq!(encoded("letters.retry.1"), "letters.retry.1");
    assert_eq!(encoded("a/b c%"), "a%2Fb%20c%25");
}

#[test]
fn counts_are_read_and_what_is_not_told_is_none() {
    let text = r#"# TYPE rabbitmq_detailed_queue_messages_ready gauge
rabbitmq_detailed_queue_messages_ready{vhost="orlop",queue="letters"} 58
rabbitmq_detailed_queue_messages_unacked{vhost="orlop",queue="letters"} 2.0
rabbitmq_detailed_queue_exchange_messages_published_total{vhost="orlop",exchange="",queue="letters"} 100
rabbitmq_detailed_queue_exchange_messages_published_total{vhost="orlop",exchange="amq.topic",queue="letters"} 5
rabbitmq_detailed_queue_messages_ready{vhost="orlop",queue="letters.dead"} NaN
rabbitmq_build_info{rabbitmq_version="4.3.6"} 1
"#;
    let counts = metrics::parse(text);
    let letters = counts["letters"];
    assert_eq!(letters.ready, Some(58));
    assert_eq!(letters.unacknowledged, Some(2));
    assert_eq!(letters.published_total, Some(105));
    assert_eq!(letters.acknowledged_total, None);
    assert!(!counts.contains_key("letters.dead"));
}

fn answer(status: u16, body: &str) -> Answer {
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        body: body.to_owned().into(),
    }
}

#[test]
fn alarms_are_told_by_their_resource() {
    assert_eq!(
        alarms(&answer(200, r#"{"status":"ok"}"#)),
        Ok(BTreeSet::new())
    );
    let body = r#"{"status":"failed","reason":"There are alarms in effect in the cluster",
        "alarms":[{"node":"rabbit@mast","resource":"disk space"},{"node":"rabbit@mast","resource":"memory"}]}"#;
    let both = BTreeSet::from([Alarm::Disk, Alarm::Memory]);
    assert_eq!(alarms(&answer(503, body)), Ok(both));
    let unavailable = alarms(&answer(503, "starting"));
    assert!(
        matches!(unavailable, Err(ReadFailure::Failed(_))),
        "{unavailable:?}"
    );
}

#[test]
fn a_refusal_is_told_in_the_words_of_the_broker() {
    let body = r#"{"error":"bad_request","reason":"inequivalent arg 'x-queue-type'"}"#;
    let expected = ReadFailure::Failed("400 Bad Request: inequivalent arg 'x-queue-type'".into());
    assert_eq!(failure(&answer(400, body)), expected);
    let refused = failure(&answer(401, r#"{"error":"not_authorized"}"#));
    assert!(
        matches!(refused, ReadFailure::CredentialsRefused(_)),
        "{refused:?}"
    );
}

#[test]
fn definitions_of_other_virtual_hosts_are_left_out() {
    let text = r#"{
        "rabbitmq_version": "4.3.6",
        "vhosts": [{"name": "orlop"}, {"name": "/"}],
        "users": [{"name": "app", "tags": [], "password_hash": "h"}, {"name": "old", "tags": "monitoring,policymaker"}],
        "permissions": [
            {"user": "app", "vhost": "orlop", "configure": "^$", "write": "w", "read": "r"},
            {"user": "app", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
        ],
        "policies": [{"vhost": "orlop", "name": "orlop.letters", "pattern": "^letters$",
            "apply-to": "quorum_queues", "priority": 100,
            "definition": {"message-ttl": 5, "overflow": "reject-publish"}}],
        "queues": [
            {"name": "letters", "vhost": "orlop", "durable": true, "type": "quorum", "arguments": {"x-queue-type": "quorum"}},
            {"name": "letters", "vhost": "/", "durable": false, "type": "classic", "arguments": {}}
        ]
    }"#;
    let definitions: Definitions = serde_json::from_str(text).unwrap();
    let reading = definitions.reading("orlop");
    assert_eq!(reading.permissions["app"].configure, "^$");
    assert_eq!(reading.queues["letters"].kind, "quorum");
    assert_eq!(reading.policies["orlop.letters"].definition.len(), 2);
    assert_eq!(reading.users["old"].tags.len(), 2);
}

/// A broker that the environment names, `HOST PASSWORD`, with the usual ports and the user
/// `orlop-admin`.
fn real_broker() -> RabbitMqSource {
    let named = std::env::var("ORLOP_TEST_RABBITMQ").expect("ORLOP_TEST_RABBITMQ");
    let (host, password) = named.split_once(' ').expect("HOST PASSWORD");
    RabbitMqSource {
        host: host.to_owned(),
        port: orlop_contract::queue::MANAGEMENT_PORT,
        vhost: "harbour".to_owned(),
        user: orlop_contract::queue::ADMIN_USER.to_owned(),
        password: Password::new(password.to_owned()),
    }
}

fn everything() -> [Action; 5] {
    let name = || "letters".to_owned();
    [
        Action::PutVhost,
        Action::PutUser {
            name: name(),
            user: User {
                tags: BTreeSet::new(),
                password_hash: "YWJjZOagPol7Y08IUQ+YiU4JrcWSkR3KFH4LulsQpZWzkSYe".to_owned(),
            },
        },
        Action::PutPermission {
            user: name(),
            permission: Permission {
                configure: "^$".to_owned(),
                write: "^amq\\.default$".to_owned(),
                read: ".*".to_owned(),
            },
        },
        Action::PutPolicy {
            name: name(),
            policy: Policy {
                pattern: "^letters$".to_owned(),
                apply_to: "quorum_queues".to_owned(),
                priority: 100,
                definition: BTreeMap::from([
                    ("message-ttl".to_owned(), Argument::Number(60_000)),
                    ("delivery-limit".to_owned(), Argument::Number(-1)),
                    (
                        "overflow".to_owned(),
                        Argument::Text("reject-publish".to_owned()),
                    ),
                ]),
            },
        },
        Action::DeclareQueue { name: name() },
    ]
}

#[tokio::test]
#[ignore = "needs a RabbitMQ: ORLOP_TEST_RABBITMQ"]
async fn a_real_broker_tells_exactly_what_it_was_told_once_or_twice() {
    let broker = real_broker();
    for action in everything().iter().chain(&everything()) {
        perform(&broker, action).await.unwrap();
    }
    let reading = read(&broker).await.unwrap();
    for action in everything() {
        match action {
            Action::PutVhost => assert!(reading.vhosts.contains("harbour")),
            Action::PutUser { name, user } => assert_eq!(reading.users[&name], user),
            Action::PutPermission { user, permission } => {
                assert_eq!(reading.permissions[&user], permission);
            }
            Action::PutPolicy { name, policy } => assert_eq!(reading.policies[&name], policy),
            Action::DeclareQueue { name } => assert_eq!(reading.queues[&name].kind, "quorum"),
            Action::DeletePolicy { name } => panic!("{name} was put"),
        }
    }
    assert_eq!(reading.alarms, BTreeSet::new());
    let counted = async {
        loop {
            let reading = read(&broker).await.unwrap();
            if reading.queues["letters"].statistics.ready == Some(0) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), counted)
        .await
        .unwrap();

    let name = "letters".to_owned();
    for _ in 0..2 {
        perform(&broker, &Action::DeletePolicy { name: name.clone() })
            .await
            .unwrap();
    }
    assert!(
        !read(&broker)
            .await
            .unwrap()
            .policies
            .contains_key("letters")
    );
}

#[tokio::test]
#[ignore = "needs a RabbitMQ: ORLOP_TEST_RABBITMQ"]
async fn a_wrong_password_is_told_apart_from_a_broker_that_is_not_there() {
    let wrong = RabbitMqSource {
        password: Password::new("wrong".to_owned()),
        ..real_broker()
    };
    let refused = read(&wrong).await;
    assert!(
        matches!(refused, Err(ReadFailure::CredentialsRefused(_))),
        "{refused:?}"
    );
    let nowhere = RabbitMqSource {
        port: 1,
        ..real_broker()
    };
    let unreachable = read(&nowhere).await;
    assert!(
        matches!(unreachable, Err(ReadFailure::Unreachable(_))),
        "{unreachable:?}"
    );
}

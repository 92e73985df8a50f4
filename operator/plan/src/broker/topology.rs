//! What shall stand on the broker, and what must be done so that it does.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use orlop_contract::queue::{self, VHOST};

use super::{
    action::Action,
    reading::{Argument, Permission, Policy, Queue, Reading, User},
};

/// What shall stand on the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Topology {
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) permissions: BTreeMap<String, Permission>,
    /// By the name of the queue that each is for.
    policies: BTreeMap<String, Policy>,
    /// In the order of their declaration: where messages are passed on to comes first.
    queues: Vec<String>,
}

/// A declared queue, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) attempts: u32,
    pub(crate) backoff: Duration,
    pub(crate) max_backoff: Duration,
    pub(crate) keep_dead_letters: Duration,
}

/// How a reading differs from the topology.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// In order. Nothing, if all stands that can.
    pub(crate) actions: Vec<Action>,
    /// Wanted queues in whose place another one stands, with what stands there.
    pub(crate) taken: BTreeMap<String, String>,
    /// Queues that stand without being declared.
    pub(crate) surplus: BTreeSet<String>,
}

impl Difference {
    /// Whether a declared queue stands as it shall, with those that belong to it.
    pub(crate) fn stands(&self, name: &str) -> bool {
        let belongs = |queue: &str| {
            queue
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let is_missing = self.actions.iter().any(|action| match action {
            Action::DeclareQueue { name } => belongs(name),
            Action::PutPolicy { name, .. } => name.strip_prefix(PREFIX).is_some_and(belongs),
            Action::PutVhost
            | Action::PutUser { .. }
            | Action::PutPermission { .. }
            | Action::DeletePolicy { .. } => false,
        });
        !is_missing && !self.taken.keys().any(|queue| belongs(queue))
    }
}

/// Of people's policies for the same queue the higher priority would win.
const PRIORITY: i64 = 100;

/// Before the names of our policies.
const PREFIX: &str = "orlop.";

/// How often a consumer may return a message, or vanish with it, before it becomes a dead letter.
/// The broker's own default, said so that another default changes nothing.
const DELIVERIES_MAX: i64 = 20;

/// No limit: looking at a dead letter and putting it back must not use it up.
const UNLIMITED: i64 = -1;

const QUEUE_TYPE: &str = "x-queue-type";
const QUORUM: &str = "quorum";

impl Topology {
    pub(crate) fn new(
        users: BTreeMap<String, User>,
        permissions: BTreeMap<String, Permission>,
        declared: &[Declared],
    ) -> Self {
        let mut topology = Self {
            users,
            permissions,
            ..Self::default()
        };
        for queue in declared {
            topology.add(queue);
        }
        topology
    }

    fn add(&mut self, declared: &Declared) {
        let Declared {
            name,
            attempts,
            backoff,
            max_backoff,
            keep_dead_letters,
        } = declared;
        let dead = queue::dead(name);
        self.put(
            &dead,
            [
                ("message-ttl", milliseconds(*keep_dead_letters)),
                ("delivery-limit", Argument::Number(UNLIMITED)),
            ],
        );
        self.put(
            name,
            passing_on_to(&dead)
                .into_iter()
                .chain([("delivery-limit", Argument::Number(DELIVERIES_MAX))]),
        );
        let ladder = queue::ladder(*attempts, *backoff, *max_backoff);
        for (place, wait) in ladder.into_iter().enumerate() {
            let ttl = [("message-ttl", milliseconds(wait))];
            self.put(
                &queue::retry(name, place + 1),
                passing_on_to(name).into_iter().chain(ttl),
            );
        }
    }

    fn put<'a>(&mut self, queue: &str, keys: impl IntoIterator<Item = (&'a str, Argument)>) {
        let policy = Policy {
            pattern: format!("^{}$", queue.replace('.', "\\.")),
            apply_to: "quorum_queues".to_owned(),
            priority: PRIORITY,
            definition: keys
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        };
        self.policies.insert(queue.to_owned(), policy);
        self.queues.push(queue.to_owned());
    }

    /// What must be done. Policies come before the queues that they are for: a message takes its
    /// time to live along when it comes in.
    pub(crate) fn difference(&self, reading: &Reading) -> Difference {
        let mut actions = Vec::new();
        if !reading.vhosts.contains(VHOST) {
            actions.push(Action::PutVhost);
        }
        actions.extend(self.missing_rights(reading));
        actions.extend(self.missing_policies(reading));
        actions.extend(self.idle_policies(reading));
        let mut taken = BTreeMap::new();
        for name in &self.queues {
            match reading.queues.get(name) {
                None => actions.push(Action::DeclareQueue { name: name.clone() }),
                Some(queue) => taken.extend(other(queue).map(|found| (name.clone(), found))),
            }
        }
        let surplus = reading
            .queues
            .keys()
            .filter(|name| !self.policies.contains_key(*name));
        Difference {
            actions,
            taken,
            surplus: surplus.cloned().collect(),
        }
    }

    fn missing_rights(&self, reading: &Reading) -> impl Iterator<Item = Action> {
        let users = self
            .users
            .iter()
            .filter(|(name, user)| reading.users.get(*name) != Some(*user))
            .map(|(name, user)| Action::PutUser {
                name: name.clone(),
                user: user.clone(),
            });
        let permissions = self
            .permissions
            .iter()
            .filter(|(user, permission)| reading.permissions.get(*user) != Some(*permission))
            .map(|(user, permission)| Action::PutPermission {
                user: user.clone(),
                permission: permission.clone(),
            });
        users.chain(permissions)
    }

    fn missing_policies(&self, reading: &Reading) -> impl Iterator<Item = Action> {
        self.policies.iter().filter_map(|(queue, policy)| {
            let name = policy_name(queue);
            (reading.policies.get(&name) != Some(policy)).then(|| Action::PutPolicy {
                name,
                policy: policy.clone(),
            })
        })
    }

    /// Policies of ours for queues that are neither wanted nor there. One whose queue still stands
    /// goes on holding, so that its messages do not get stuck.
    fn idle_policies(&self, reading: &Reading) -> impl Iterator<Item = Action> {
        let is_idle = |name: &&String| {
            name.strip_prefix(PREFIX).is_some_and(|queue| {
                !self.policies.contains_key(queue) && !reading.queues.contains_key(queue)
            })
        };
        let idle = reading.policies.keys().filter(is_idle);
        idle.map(|name| Action::DeletePolicy { name: name.clone() })
    }
}

/// At least once: the message stays until the other queue has confirmed it, and publishers are
/// refused where dropping the oldest would make room (RabbitMQ asks for both together).
fn passing_on_to(queue: &str) -> [(&'static str, Argument); 4] {
    let text = |text: &str| Argument::Text(text.to_owned());
    [
        ("dead-letter-exchange", text("")),
        ("dead-letter-routing-key", text(queue)),
        ("dead-letter-strategy", text("at-least-once")),
        ("overflow", text("reject-publish")),
    ]
}

fn policy_name(queue: &str) -> String {
    format!("{PREFIX}{queue}")
}

fn milliseconds(duration: Duration) -> Argument {
    Argument::Number(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// What stands in a wanted queue's place, if it is not what we would have declared. Arguments would
/// win over the policy.
fn other(queue: &Queue) -> Option<String> {
    if queue.kind != QUORUM {
        return Some(format!("a queue of type {}", queue.kind));
    }
    let mut further = queue.arguments.keys().filter(|key| *key != QUEUE_TYPE);
    let argument = further.next()?;
    Some(format!("a queue with the argument '{argument}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn harbour(attempts: u32) -> Topology {
        let app = User {
            password_hash: "salted".to_owned(),
            ..User::default()
        };
        let rights = Permission {
            configure: "^$".to_owned(),
            write: "^amq\\.default$".to_owned(),
            read: ".*".to_owned(),
        };
        let letters = Declared {
            name: "letters".to_owned(),
            attempts,
            backoff: Duration::from_secs(2),
            max_backoff: Duration::from_secs(5),
            keep_dead_letters: Duration::from_hours(1),
        };
        Topology::new(
            BTreeMap::from([("app".to_owned(), app)]),
            BTreeMap::from([("app".to_owned(), rights)]),
            &[letters],
        )
    }

    /// A broker that does what it is told.
    fn perform(reading: &mut Reading, action: Action) {
        match action {
            Action::PutVhost => {
                reading.vhosts.insert(VHOST.to_owned());
            }
            Action::PutUser { name, user } => {
                reading.users.insert(name, user);
            }
            Action::PutPermission { user, permission } => {
                assert!(reading.users.contains_key(&user) && reading.vhosts.contains(VHOST));
                reading.permissions.insert(user, permission);
            }
            Action::PutPolicy { name, policy } => {
                reading.policies.insert(name, policy);
            }
            Action::DeletePolicy { name } => {
                reading.policies.remove(&name);
            }
            Action::DeclareQueue { name } => {
                let policy = &reading.policies[&policy_name(&name)];
                if let Some(Argument::Text(next)) = policy.definition.get("dead-letter-routing-key")
                {
                    assert!(reading.queues.contains_key(next), "{name} before {next}");
                }
                reading.queues.insert(name, quorum());
            }
        }
    }

    fn quorum() -> Queue {
        let kind = Argument::Text(QUORUM.to_owned());
        Queue {
            kind: QUORUM.to_owned(),
            durable: true,
            arguments: BTreeMap::from([(QUEUE_TYPE.to_owned(), kind)]),
            ..Queue::default()
        }
    }

    fn settled(topology: &Topology, reading: &mut Reading) {
        for action in topology.difference(reading).actions {
            perform(reading, action);
        }
    }

    fn number(reading: &Reading, queue: &str, key: &str) -> Option<i64> {
        match reading.policies[&policy_name(queue)].definition.get(key)? {
            Argument::Number(number) => Some(*number),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_empty_broker_gets_everything_in_an_order_in_which_nothing_is_missing() {
        let (topology, mut reading) = (harbour(5), Reading::default());
        settled(&topology, &mut reading);
        let queues: Vec<&str> = reading.queues.keys().map(String::as_str).collect();
        let ladder = ["letters.retry.1", "letters.retry.2", "letters.retry.3"];
        assert_eq!(queues[..2], ["letters", "letters.dead"]);
        assert_eq!(queues[2..], ladder);
        let waits = ladder.map(|queue| number(&reading, queue, "message-ttl"));
        assert_eq!(waits, [Some(2_000), Some(4_000), Some(5_000)]);
        assert_eq!(
            number(&reading, "letters.dead", "message-ttl"),
            Some(3_600_000)
        );
    }

    #[test]
    fn a_broker_on_which_everything_stands_is_left_alone() {
        let (topology, mut reading) = (harbour(5), Reading::default());
        assert!(!topology.difference(&reading).stands("letters"));
        settled(&topology, &mut reading);
        let difference = topology.difference(&reading);
        assert_eq!(difference, Difference::default());
        assert!(difference.stands("letters"));
    }

    #[test]
    fn whatever_is_taken_away_comes_back() {
        let (topology, mut whole) = (harbour(3), Reading::default());
        settled(&topology, &mut whole);
        let mut without = vec![whole.clone(); 5];
        without[0].queues.remove("letters.dead");
        without[1].policies.remove("orlop.letters");
        without[2].users.clear();
        without[3].permissions.clear();
        without[4].vhosts.clear();
        for mut reading in without {
            assert_eq!(topology.difference(&reading).actions.len(), 1);
            settled(&topology, &mut reading);
            assert_eq!(reading, whole);
        }
    }

    #[test]
    fn an_edited_policy_is_set_back() {
        let (topology, mut reading) = (harbour(3), Reading::default());
        settled(&topology, &mut reading);
        let whole = reading.clone();
        reading
            .policies
            .get_mut("orlop.letters")
            .unwrap()
            .definition
            .insert("max-length".to_owned(), Argument::Number(1));
        settled(&topology, &mut reading);
        assert_eq!(reading, whole);
    }

    #[test]
    fn a_queue_that_is_declared_no_more_keeps_its_policy_until_somebody_deletes_it() {
        let mut reading = Reading::default();
        settled(&harbour(5), &mut reading);
        let fewer = harbour(2);
        let difference = fewer.difference(&reading);
        assert_eq!(difference.actions, []);
        let surplus: Vec<&str> = difference.surplus.iter().map(String::as_str).collect();
        assert_eq!(surplus, ["letters.retry.2", "letters.retry.3"]);

        reading.queues.remove("letters.retry.3");
        let name = "orlop.letters.retry.3".to_owned();
        assert_eq!(
            fewer.difference(&reading).actions,
            [Action::DeletePolicy { name }]
        );
    }

    #[test]
    fn a_policy_that_is_not_ours_is_left_alone() {
        let (topology, mut reading) = (harbour(1), Reading::default());
        settled(&topology, &mut reading);
        let mut foreign = reading.policies["orlop.letters"].clone();
        foreign.pattern = "^amq".to_owned();
        reading.policies.insert("audit".to_owned(), foreign);
        assert_eq!(topology.difference(&reading).actions, []);
    }

    #[test]
    fn a_queue_that_somebody_declared_otherwise_is_told_and_not_touched() {
        let topology = harbour(1);
        let mut reading = Reading::default();
        settled(&topology, &mut reading);
        let letters = reading.queues.get_mut("letters").unwrap();
        letters.kind = "classic".to_owned();
        let difference = topology.difference(&reading);
        assert_eq!(difference.actions, []);
        assert_eq!(difference.taken["letters"], "a queue of type classic");
        assert!(!difference.stands("letters"));

        *reading.queues.get_mut("letters").unwrap() = quorum();
        let dead = reading.queues.get_mut("letters.dead").unwrap();
        let ttl = ("x-message-ttl".to_owned(), Argument::Number(5));
        dead.arguments.extend([ttl]);
        let difference = topology.difference(&reading);
        let found = &difference.taken["letters.dead"];
        assert_eq!(found, "a queue with the argument 'x-message-ttl'");
    }
}

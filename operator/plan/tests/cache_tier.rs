//! A cache's life as its room plans it: the order of its objects, its formation, restarts, rest.

// Outside of functions marked as tests, clippy does not know that this is one.
#![allow(clippy::unwrap_used, clippy::panic)]

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use orlop_crds::{CacheTier, CacheTierStatus, Quantity, Reason, cache_tier::FormationPhase};
use orlop_plan::{
    Action, Answer, Entropy, Images, Kind, Object, ObjectName, Observed, Plan, Reconcile, Refusal,
    Settings, Snapshot, Write,
    cache::{
        Reading,
        reading::{Node, State, View},
    },
};
use serde_json::json;

const ZONES: [&str; 3] = ["north", "east", "south"];

/// A cache with its cluster: what is written stands at once.
struct World {
    cache: CacheTier,
    observed: Observed,
    now: Timestamp,
    writes: u64,
}

impl World {
    fn new() -> Self {
        let cache = json!({
            "apiVersion": "orlop.dev/v1alpha1",
            "kind": "CacheTier",
            "metadata": {
                "name": "rope", "namespace": "harbour", "uid": "uid-1",
                "generation": 1, "resourceVersion": "1",
            },
            "spec": {"valkey": {"image": "valkey:9"}},
        });
        Self {
            cache: serde_json::from_value(cache).unwrap(),
            observed: Observed {
                entropy: Entropy::new([7; 32]),
                ..Observed::default()
            },
            now: "2026-11-22T12:00:00Z".parse().unwrap(),
            writes: 0,
        }
    }

    /// Its pods run, and its nodes form a cluster that was recorded.
    fn complete() -> Self {
        let mut world = Self::new();
        world.pass();
        world.run_pods();
        world.pass();
        world.run_pods();
        world.answers(complete());
        for _ in 0..3 {
            world.pass();
        }
        assert_eq!(world.ready(), Reason::Available.as_str());
        world
    }

    fn pass(&mut self) -> Plan<CacheTierStatus> {
        let settings = Settings {
            cluster_domain: "cluster.local".to_owned(),
            images: Images::default(),
        };
        let plan = self.cache.plan(&self.observed, &settings, self.now);
        for write in plan.writes.clone() {
            self.write(write);
        }
        self.cache.status = Some(plan.status.clone());
        plan
    }

    fn write(&mut self, write: Write) {
        self.writes += 1;
        let target = write.target();
        let (Write::Create(mut object) | Write::Update { mut object, .. }) = write else {
            panic!("nothing is deleted, but {target}");
        };
        self.observed
            .children
            .retain(|other| other.name() != target);
        let metadata = object.metadata_mut();
        metadata.uid = Some(format!("uid of {target}"));
        metadata.resource_version = Some(self.writes.to_string());
        metadata.generation = Some(1);
        if let Object::StatefulSet(set) = &mut object {
            let status = json!({"replicas": 1, "readyReplicas": 1, "observedGeneration": 1});
            set.status = serde_json::from_value(status).unwrap();
        }
        self.observed.children.push(object);
    }

    fn stateful_sets(&self) -> Vec<String> {
        let sets = self.observed.children.iter().map(Object::name);
        let mut names: Vec<_> = sets
            .filter(|name| name.kind == Kind::StatefulSet)
            .map(|name| name.name)
            .collect();
        names.sort();
        names
    }

    /// Each StatefulSet has its pod, placed and ready.
    fn run_pods(&mut self) {
        let pod = |name: String| -> Pod {
            let condition = |kind: &str| json!({"type": kind, "status": "True"});
            serde_json::from_value(json!({
                "metadata": {"name": format!("{name}-0")},
                "status": {"conditions": [condition("PodScheduled"), condition("Ready")]},
            }))
            .unwrap()
        };
        self.observed.pods = self.stateful_sets().into_iter().map(pod).collect();
    }

    fn answers(&mut self, value: Reading) {
        let answer = Some(Answer {
            at: self.now,
            value,
        });
        self.observed.snapshots.valkey = Some(Snapshot {
            answer,
            failure: None,
        });
    }

    fn ready(&self) -> String {
        let status = self.cache.status.as_ref().unwrap();
        let ready = status.conditions.iter().find(|it| it.type_ == "Ready");
        ready.unwrap().reason.clone()
    }

    fn phase(&self) -> Option<FormationPhase> {
        let formation = self.cache.status.as_ref()?.formation.as_ref()?;
        Some(formation.phase)
    }
}

/// What six nodes say that know nothing yet.
fn blank() -> Reading {
    reading(|node| line(node, node, false))
}

/// What six nodes say that form a cluster of three shards.
fn complete() -> Reading {
    reading(|node| {
        let lines: Vec<_> = (0..6).map(|other| line(node, other, true)).collect();
        lines.join("\n")
    })
}

fn reading(nodes: impl Fn(usize) -> String) -> Reading {
    let node = |number: usize| {
        let (shard, index) = (number / 2, number % 2);
        let role = match (index, nodes(number).contains("slave")) {
            (1, true) => "role:slave\r\nmaster_link_status:up",
            _ => "role:master",
        };
        let info = format!("redis_version:7.2.4\r\n{role}\r\n");
        let view = View::parse(&nodes(number), "cluster_state:ok\r\n", &info, 0).unwrap();
        let node = Node {
            address: Some([192, 0, 2, u8::try_from(number).unwrap()].into()),
            zone: Some(ZONES[(shard + index) % 3].to_owned()),
            state: State::Up(Box::new(view)),
        };
        (format!("rope-{shard}-{index}-0"), node)
    };
    Reading {
        nodes: (0..6).map(node).collect(),
    }
}

/// What one node says of another one.
fn line(of: usize, other: usize, formed: bool) -> String {
    let (shard, index) = (other / 2, other % 2);
    let id = |number: usize| format!("{number:040x}");
    let myself = if of == other { "myself," } else { "" };
    let (role, primary, slots) = match (formed, index) {
        (false, _) => ("master", "-".to_owned(), ""),
        (true, 0) => (
            "master",
            "-".to_owned(),
            ["0-5460", "5461-10921", "10922-16383"][shard],
        ),
        (true, _) => ("slave", id(other - 1), ""),
    };
    let id = id(other);
    format!(
        "{id} 192.0.2.{other}:6379@16379 {myself}{role} {primary} 0 0 {shard} connected {slots}"
    )
}

#[test]
fn replicas_are_placed_once_their_primaries_have_their_places() {
    let mut world = World::new();
    world.pass();
    assert_eq!(world.stateful_sets(), ["rope-0-0", "rope-1-0", "rope-2-0"]);
    world.pass();
    assert_eq!(world.stateful_sets().len(), 3);
    world.run_pods();
    world.pass();
    assert_eq!(world.stateful_sets().len(), 6);
}

#[test]
fn a_formation_is_recorded_before_anything_is_done() {
    let mut world = World::new();
    world.pass();
    world.run_pods();
    world.pass();
    world.run_pods();
    world.answers(blank());
    let decided = world.pass();
    assert_eq!(world.phase(), Some(FormationPhase::Forming));
    assert_eq!(decided.actions, []);
    let acting = world.pass();
    assert!(!acting.actions.is_empty());
    let is_errand = |action: &Action| matches!(action, Action::Valkey(_));
    assert!(acting.actions.iter().all(is_errand));
}

#[test]
fn a_complete_cache_is_recorded_as_formed_and_then_left_alone() {
    let mut world = World::complete();
    assert_eq!(world.phase(), Some(FormationPhase::Formed));
    let (before, status) = (world.writes, world.cache.status.clone());
    let plan = world.pass();
    assert_eq!((plan.actions, world.writes), (Vec::new(), before));
    assert_eq!(world.cache.status, status);
}

#[test]
fn a_new_configuration_reaches_one_node_at_a_time_and_only_while_all_is_well() {
    let mut world = World::complete();
    world.cache.spec.valkey.memory = Some(Quantity::new("64Mi"));
    let updated = |plan: &Plan<CacheTierStatus>| {
        let targets = plan.writes.iter().map(Write::target);
        targets
            .filter(|target| target.kind == Kind::StatefulSet)
            .count()
    };
    for _ in 0..6 {
        assert_eq!(updated(&world.pass()), 1);
    }
    assert_eq!(updated(&world.pass()), 0);

    world.cache.spec.valkey.memory = Some(Quantity::new("96Mi"));
    let mut reading = complete();
    reading.nodes.get_mut("rope-2-1-0").unwrap().state = State::Unreachable("refused".to_owned());
    world.answers(reading);
    assert_eq!(updated(&world.pass()), 0);
}

#[test]
fn pods_that_are_refused_are_told_until_they_stand() {
    let mut world = World::new();
    world.pass();
    world.observed.refusals = vec![Refusal {
        stateful_set: "rope-0-0".to_owned(),
        message: "create Pod rope-0-0-0 in StatefulSet rope-0-0 failed error: pods \
                  \"rope-0-0-0\" is forbidden: exceeded quota: berths, requested: pods=1"
            .to_owned(),
    }];
    world.pass();
    assert_eq!(world.ready(), Reason::QuotaExceeded.as_str());
    world.observed.refusals.clear();
    world.pass();
    assert_eq!(world.ready(), Reason::Starting.as_str());
}

#[test]
fn a_name_that_leaves_no_room_for_those_of_the_nodes_is_refused() {
    for (length, reason) in [(47, Reason::Starting), (48, Reason::InvalidSpec)] {
        let mut world = World::new();
        world.cache.metadata.name = Some("r".repeat(length));
        world.pass();
        assert_eq!(world.ready(), reason.as_str(), "{length} characters");
    }
}

#[test]
fn another_number_of_shards_than_was_recorded_is_refused() {
    let mut world = World::complete();
    world.cache.spec.valkey.shards = Some(5);
    let plan = world.pass();
    assert_eq!(world.ready(), Reason::InvalidSpec.as_str());
    assert_eq!((plan.writes, plan.actions), (Vec::new(), Vec::new()));
}

#[test]
fn all_passwords_are_kept_and_none_stands_in_the_config_map() {
    let world = World::complete();
    let find = |kind, name: &str| {
        let name = ObjectName::new(kind, name);
        let mut children = world.observed.children.iter();
        children.find(|object| object.name() == name).unwrap()
    };
    let Object::Secret(auth) = find(Kind::Secret, "rope-auth") else {
        panic!("not a Secret");
    };
    let Object::ConfigMap(config) = find(Kind::ConfigMap, "rope-config") else {
        panic!("not a ConfigMap");
    };
    let text = format!("{:?}", config.data);
    for value in auth.data.as_ref().unwrap().values() {
        assert!(!text.contains(std::str::from_utf8(&value.0).unwrap()));
    }
}

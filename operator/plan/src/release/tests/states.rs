//! Every way to release, and states of three revisions in which each may find itself.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use orlop_crds::release::{
    Hold, HoldReason, Promotion, ReleasePhase, ReleaseRecord, ReleaseStatus,
};

use super::{
    super::{BTreeMap, Gate, HandoverMode, Policy, Revision, Run, Traffic, Wanted},
    world::{Character, SIZE, World, run},
};

/// States drawn of every policy with every recorded phase: all at once would be hundreds of
/// millions.
const DRAWS: usize = 3;

pub(super) fn revision(letter: char) -> Revision {
    Revision::parse(&letter.to_string().repeat(10)).unwrap()
}

/// A policy that leaves out every phase that can be left out.
pub(super) fn policy() -> Policy {
    Policy {
        traffic: Traffic::Requests,
        gate: Gate::Open,
        preview: None,
        checks_before: false,
        checks_after: false,
        ready_at_least: 100,
        deadline: SignedDuration::from_secs(600),
        drain: SignedDuration::from_secs(5),
        keep_old: SignedDuration::ZERO,
    }
}

/// All combinations of the fields.
pub(super) fn policies() -> Vec<Policy> {
    let seconds = SignedDuration::from_secs;
    let traffics = [
        Traffic::Requests,
        Traffic::Jobs(HandoverMode::Handover),
        Traffic::Jobs(HandoverMode::Overlap),
    ];
    let mut policies = vec![policy()];
    let mut each = |change: &dyn Fn(&mut Policy, usize), choices: usize| {
        policies = policies
            .iter()
            .flat_map(|policy| {
                (0..choices).map(move |choice| {
                    let mut policy = policy.clone();
                    change(&mut policy, choice);
                    policy
                })
            })
            .collect();
    };
    each(&|policy, n| policy.traffic = traffics[n], 3);
    let gates = [Gate::Open, Gate::After(seconds(30)), Gate::Manual];
    each(&|policy, n| policy.gate = gates[n], 3);
    each(&|policy, n| policy.preview = [None, Some(1)][n], 2);
    each(&|policy, n| policy.checks_before = n == 1, 2);
    each(&|policy, n| policy.checks_after = n == 1, 2);
    each(&|policy, n| policy.ready_at_least = [100, 50][n], 2);
    each(&|policy, n| policy.keep_old = seconds([0, 60][n]), 2);
    // Jobs have neither a preview nor checks, and nothing is kept of them.
    policies.retain(|policy| {
        policy.traffic == Traffic::Requests
            || policy.preview.is_none()
                && !policy.checks_before
                && !policy.checks_after
                && policy.keep_old.is_zero()
    });
    policies
}

#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) wanted: Wanted,
    pub(super) record: ReleaseRecord,
    pub(super) world: World,
}

/// Every policy with every phase, revisions and size recorded; holds, pauses, promotions, the number
/// of replicas and what runs are drawn, always the same ones.
pub(super) fn states(character: Character) -> impl Iterator<Item = State> {
    let mut dice = Dice(1);
    policies().into_iter().flat_map(move |policy| {
        let mut states = Vec::new();
        for record in records() {
            for _ in 0..DRAWS {
                let replicas = *dice.pick(&[SIZE, SIZE, SIZE, 0]);
                states.push(State {
                    wanted: super::wanted(policy.clone(), replicas),
                    record: any_details(record.clone(), &mut dice),
                    world: any_world(character, &mut dice),
                });
            }
        }
        states
    })
}

/// Of one revision that serves alone.
pub(super) fn at_rest_on(letter: char, character: Character) -> (ReleaseRecord, World) {
    let record = ReleaseRecord {
        active_revision: Some(revision(letter).to_string()),
        ..ReleaseRecord::default()
    };
    let world = World {
        selected: Some(revision(letter)),
        runs: BTreeMap::from([(revision(letter), run(SIZE, SIZE))]),
        character,
    };
    (record, world)
}

pub(super) fn recorded_release(
    phase: ReleasePhase,
    from: char,
    to: char,
    from_replicas: i32,
) -> ReleaseRecord {
    let (from, to) = (revision(from).to_string(), revision(to).to_string());
    let active = if phase.is_before_switch() { &from } else { &to };
    ReleaseRecord {
        active_revision: Some(active.clone()),
        release: Some(ReleaseStatus {
            phase,
            from,
            to,
            from_replicas,
            since: Time(Timestamp::UNIX_EPOCH),
            begun: Some(MicroTime(Timestamp::UNIX_EPOCH)),
            decided: None,
            promoted: None,
            paused_since: None,
            deaths: None,
            waits_for: None,
            next: None,
        }),
        ..ReleaseRecord::default()
    }
}

fn records() -> Vec<ReleaseRecord> {
    let letters = ['a', 'b', 'c'];
    let actives = letters.map(Some).into_iter().chain([None]);
    let mut records: Vec<_> = actives
        .map(|active| ReleaseRecord {
            active_revision: active.map(|letter| revision(letter).to_string()),
            ..ReleaseRecord::default()
        })
        .collect();
    for phase in ReleasePhase::ALL {
        for from in letters {
            for to in letters.into_iter().filter(|to| *to != from) {
                let sizes = [0, SIZE].into_iter();
                records.extend(sizes.map(|size| recorded_release(phase, from, to, size)));
            }
        }
    }
    records
}

fn any_details(mut record: ReleaseRecord, dice: &mut Dice) -> ReleaseRecord {
    if let Some(release) = &mut record.release {
        release.promoted = *dice.pick(&[None, None, Some(Promotion::Gate), Some(Promotion::Full)]);
        release.deaths = *dice.pick(&[None, Some(1)]);
        if release.phase.is_before_switch() && dice.below(4) == 0 {
            release.paused_since = Some(Time(Timestamp::UNIX_EPOCH));
        }
    }
    let instead = *dice.pick(&[None, None, Some('a'), Some('b')]);
    record.hold = instead.map(|letter| Hold {
        revision: revision('c').to_string(),
        instead: revision(letter).to_string(),
        reason: HoldReason::Undone,
        message: String::new(),
        since: Time(Timestamp::UNIX_EPOCH),
    });
    record
}

/// Each revision absent, only kept, at 0, starting, or running.
fn any_world(character: Character, dice: &mut Dice) -> World {
    let mut runs = BTreeMap::new();
    for letter in ['a', 'b', 'c'] {
        let state = match dice.below(5) {
            0 => None,
            1 => Some(Run::default()),
            2 => Some(run(0, 0)),
            4 if letter != 'c' || !character.never_runs => Some(run(SIZE, SIZE)),
            _ => Some(run(SIZE, 0)),
        };
        runs.extend(state.map(|state| (revision(letter), state)));
    }
    let selected = *dice.pick(&[None, Some('a'), Some('b'), Some('c')]);
    World {
        selected: selected.map(revision),
        runs,
        character,
    }
}

/// A fixed sequence for a seed.
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        usize::try_from(z % u64::try_from(end).unwrap()).unwrap()
    }

    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

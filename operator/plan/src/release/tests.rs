//! States of three revisions, however they came about, under every way to release: a world that does
//! what is decided comes to rest within a bounded number of decisions, and serves what is wanted.

mod commands;
mod states;
mod walk;
mod world;

use jiff::{SignedDuration, Timestamp};
use orlop_crds::release::{HoldReason, ReleasePhase, ReleaseRecord};

use self::{
    states::{at_rest_on, policies, policy, recorded_release, revision, states},
    world::{BAD, Character, SIZE, World},
};
use super::*;

/// Decisions until rest, at most: a release that is under way is ended or turned around, then one is
/// made from begin to end, and where it fails one more goes back. Each has eight phases.
const DECISIONS_MAX: usize = 27;
/// Steps until rest, at most: each decision is followed by an act, and some by a wait.
const STEPS_MAX: usize = 200;
/// Decisions in a world in which nothing moves: no phase is entered twice.
const PHASES: usize = 9;

/// The last of the three revisions is wanted.
fn wanted(policy: Policy, replicas: i32) -> Wanted {
    Wanted {
        revision: revision('c'),
        replicas,
        policy,
        command: None,
    }
}

/// The state in which a world is at rest, if it gets there.
struct End {
    decision: Decision,
    world: World,
    /// Answers to commands on the way.
    answers: usize,
}

/// Does what is decided until nothing is left to do. People let a release go on that waits for them.
fn at_rest_at_last(wanted: &Wanted, record: &ReleaseRecord, world: &World) -> End {
    let (mut wanted, mut record, mut world) = (wanted.clone(), record.clone(), world.clone());
    let mut now = Timestamp::UNIX_EPOCH;
    let (mut decisions, mut answers, mut asked) = (0, 0, 0);
    for _ in 0..STEPS_MAX {
        let decision = step(&wanted, &world.seen(&record, &wanted), &record, now);
        if decision.record != record {
            answers += usize::from(decision.record.command != record.command);
            decisions += 1;
            assert!(
                decisions <= DECISIONS_MAX + 3 * asked,
                "no rest: {:?} after {record:?} in {world:?}",
                decision.record
            );
            record = decision.record;
            continue;
        }
        let before = world.clone();
        world.obey(&decision, &wanted);
        if world != before {
            continue;
        }
        if let Some(wake_at) = decision.wake_at {
            assert!(
                wake_at > now,
                "woken again and again: {record:?} in {world:?}"
            );
            now = wake_at;
        } else if let Some(command) = is_awaited(&record, asked) {
            wanted.command = Some(command);
            asked += 1;
        } else {
            return End {
                decision,
                world,
                answers: answers - asked,
            };
        }
    }
    panic!(
        "never at rest: {record:?} in {world:?}, commanded {:?}",
        wanted.command
    );
}

/// What people say to a release that waits for them.
fn is_awaited(record: &ReleaseRecord, asked: usize) -> Option<String> {
    let release = record.release.as_ref()?;
    let verb = match (release.phase, release.paused_since.is_some()) {
        (_, true) => "resume",
        (ReleasePhase::Gated, false) => "promote",
        _ => return None,
    };
    Some(format!("{verb}@{}#{asked}", release.to))
}

#[test]
fn from_every_state_what_is_to_be_served_is_served_in_the_end() {
    for state in states(Character::GOOD) {
        let end = at_rest_at_last(&state.wanted, &state.record, &state.world);
        let record = &end.decision.record;
        let held = record.hold.as_ref().map(|hold| hold.instead.clone());
        let goal = held.unwrap_or_else(|| state.wanted.revision.to_string());
        assert_eq!(record.active_revision, Some(goal), "from {state:?}");
        assert_eq!(
            end.decision.select.to_string(),
            record.active_revision.clone().unwrap()
        );
        assert_eq!(record.release, None, "from {state:?}");
        let alone = BTreeMap::from([(end.decision.select.clone(), state.wanted.replicas)]);
        assert_eq!(end.decision.run, alone, "from {state:?}");
        assert_eq!(
            end.world.ready(&end.decision.select),
            state.wanted.replicas,
            "from {state:?}"
        );
        if state.record.hold.is_none() {
            assert_eq!(record.hold, None, "from {state:?}");
        }
    }
}

#[test]
fn a_revision_that_never_runs_is_held_back_or_all_there_is() {
    for state in states(Character::NEVER_RUNS) {
        let end = at_rest_at_last(&state.wanted, &state.record, &state.world);
        let told = format!("{:?} from {state:?}", end.decision);
        assert_eq!(end.decision.wake_at, None, "{told}");
        if state.wanted.replicas == 0 {
            continue;
        }
        if end.decision.record.hold.is_some() {
            assert_eq!(end.decision.record.release, None, "{told}");
            assert_ne!(end.decision.select, revision(BAD), "{told}");
            assert_eq!(
                end.world.ready(&end.decision.select),
                state.wanted.replicas,
                "{told}"
            );
        } else {
            let size = end.decision.run.get(&revision(BAD));
            assert!(size.is_some_and(|size| *size > 0), "{told}");
            let is_ready = |run: &Run| run.ready > 0;
            let jobs = matches!(state.wanted.policy.traffic, Traffic::Jobs(_));
            assert!(jobs || !end.world.runs.values().any(is_ready), "{told}");
        }
    }
}

#[test]
fn a_check_that_fails_holds_the_revision_back() {
    for (before, after) in [(true, false), (false, true), (true, true)] {
        for policy in policies() {
            let is_asked = policy.checks_before && before || policy.checks_after && after;
            if !is_asked || policy.traffic != Traffic::Requests {
                continue;
            }
            let character = Character {
                fails_before: before,
                fails_after: after,
                ..Character::GOOD
            };
            let (record, world) = at_rest_on('a', character);
            let wanted = wanted(policy, SIZE);
            let end = at_rest_at_last(&wanted, &record, &world);
            let hold = end.decision.record.hold.unwrap();
            assert_eq!(hold.reason, HoldReason::CheckFailed, "{wanted:?}");
            assert_eq!(hold.message, "said no");
            assert_eq!(end.decision.select, revision('a'), "{wanted:?}");
            assert_eq!(end.decision.run.len(), 1, "{wanted:?}");
        }
    }
}

#[test]
fn what_takes_longer_than_its_deadline_is_held_back_and_another_one_is_released() {
    for policy in policies() {
        let (record, world) = at_rest_on('a', Character::NEVER_RUNS);
        let wanted = wanted(policy, SIZE);
        let end = at_rest_at_last(&wanted, &record, &world);
        let hold = end.decision.record.hold.clone().unwrap();
        assert_eq!(hold.reason, HoldReason::DeadlineExceeded, "{wanted:?}");
        assert_eq!(end.decision.select, revision('a'), "{wanted:?}");
        let another = Wanted {
            revision: revision('b'),
            ..wanted
        };
        let next = at_rest_at_last(&another, &end.decision.record, &end.world);
        // A second one that is broken is held back as well, but `b` runs.
        assert_eq!(next.decision.record.hold, None, "{another:?}");
        assert_eq!(next.decision.select, revision('b'), "{another:?}");
    }
}

#[test]
fn checks_that_never_answer_end_with_their_deadline() {
    for policy in policies() {
        if !(policy.checks_before || policy.checks_after) || policy.traffic != Traffic::Requests {
            continue;
        }
        let (record, world) = at_rest_on('a', Character::SILENT);
        let wanted = wanted(policy, SIZE);
        let end = at_rest_at_last(&wanted, &record, &world);
        let hold = end.decision.record.hold.unwrap();
        assert_eq!(hold.reason, HoldReason::DeadlineExceeded, "{wanted:?}");
        assert_eq!(end.decision.select, revision('a'), "{wanted:?}");
    }
}

#[test]
fn a_switch_that_cannot_be_verified_goes_back_after_its_deadline() {
    for policy in policies() {
        if policy.traffic != Traffic::Requests {
            continue;
        }
        let (record, world) = at_rest_on('a', Character::UNREACHABLE);
        let wanted = wanted(policy, SIZE);
        let end = at_rest_at_last(&wanted, &record, &world);
        let hold = end.decision.record.hold.unwrap();
        assert_eq!(hold.reason, HoldReason::DeadlineExceeded, "{wanted:?}");
        assert_eq!(end.decision.select, revision('a'), "{wanted:?}");
    }
}

#[test]
fn a_revision_that_dies_three_times_after_the_switch_is_held_back() {
    for policy in policies() {
        if policy.traffic != Traffic::Requests {
            continue;
        }
        let wanted = wanted(policy, SIZE);
        let (mut record, mut world) = at_rest_on('a', Character::GOOD);
        let (mut now, mut asked, mut deaths) = (Timestamp::UNIX_EPOCH, 0, None);
        for _ in 0..500 {
            let mut wanted = wanted.clone();
            wanted.command = is_awaited(&record, asked);
            let mut seen = world.seen(&record, &wanted);
            let serves = record.active_revision == Some(revision(BAD).to_string());
            if serves && world.selected == Some(revision(BAD)) && world.ready(&revision('a')) > 0 {
                let run = seen.runs.get_mut(&revision(BAD)).unwrap();
                (run.ready, seen.verified) = (0, false);
            }
            let decision = step(&wanted, &seen, &record, now);
            deaths = record.release.as_ref().and_then(|release| release.deaths);
            asked += 1;
            now += SignedDuration::from_secs(1);
            if decision.record == record {
                world.obey(&decision, &wanted);
            } else {
                record = decision.record;
            }
            if record.hold.is_some() {
                break;
            }
        }
        assert_eq!(
            record.hold.clone().unwrap().reason,
            HoldReason::Died,
            "{wanted:?}"
        );
        assert_eq!(deaths, Some(2), "{wanted:?}");
        let end = at_rest_at_last(&wanted, &record, &world);
        assert_eq!(end.decision.select, revision('a'), "{wanted:?}");
    }
}

#[test]
fn a_decision_that_is_recorded_is_made_again() {
    for state in states(Character::GOOD) {
        let mut record = state.record.clone();
        let mut decided = 0;
        loop {
            let seen = state.world.seen(&record, &state.wanted);
            let decision = step(&state.wanted, &seen, &record, Timestamp::UNIX_EPOCH);
            let selected = decision.record.active_revision.clone();
            assert_eq!(
                selected,
                Some(decision.select.to_string()),
                "from {state:?}"
            );
            assert!(
                decision.run.contains_key(&decision.select),
                "from {state:?}"
            );
            if decision.record == record {
                break;
            }
            record = decision.record;
            decided += 1;
            assert!(decided <= PHASES, "{record:?} from {state:?}");
        }
    }
}

#[test]
fn what_serves_alone_is_never_told_to_stop() {
    for state in states(Character::GOOD) {
        let seen = state.world.seen(&state.record, &state.wanted);
        let decision = step(&state.wanted, &seen, &state.record, Timestamp::UNIX_EPOCH);
        let mut ready = seen.runs.iter().filter(|(_, run)| run.ready > 0);
        let (Some((alone, _)), None) = (ready.next(), ready.next()) else {
            continue;
        };
        let is_served = seen.selected.as_ref() == Some(alone)
            && state.record.active_revision == Some(alone.to_string());
        let is_acted_on = decision.record == state.record && state.wanted.replicas > 0;
        if is_served && is_acted_on && state.wanted.policy.traffic == Traffic::Requests {
            let size = decision.run.get(alone);
            assert!(
                size.is_some_and(|size| *size > 0),
                "{decision:?} from {state:?}"
            );
        }
    }
}

#[test]
fn the_old_revision_keeps_its_size_from_the_switch_to_the_end_of_its_drain() {
    for state in states(Character::GOOD) {
        let seen = state.world.seen(&state.record, &state.wanted);
        let decision = step(&state.wanted, &seen, &state.record, Timestamp::UNIX_EPOCH);
        let Some(release) = &decision.record.release else {
            continue;
        };
        if release.phase.is_before_switch() || state.wanted.policy.traffic != Traffic::Requests {
            continue;
        }
        let from = Revision::parse(&release.from).unwrap();
        let size = decision.run[&from];
        assert!(size >= release.from_replicas, "{decision:?} from {state:?}");
        let running = seen
            .runs
            .get(&from)
            .and_then(|run| run.replicas)
            .unwrap_or(0);
        assert!(
            release.from_replicas == 0 || size >= running,
            "{decision:?} from {state:?}"
        );
    }
}

#[test]
fn a_promoted_revision_is_switched_to_in_its_full_size() {
    for gate in [Gate::After(SignedDuration::from_secs(30)), Gate::Manual] {
        let mut policy = policy();
        (policy.gate, policy.preview) = (gate, Some(1));
        let wanted = wanted(policy, SIZE);
        let (_, world) = at_rest_on('a', Character::GOOD);
        let mut record = recorded_release(ReleasePhase::Gated, 'a', 'c', SIZE);
        let mut world = world.running('c', 1);
        let mut now = Timestamp::UNIX_EPOCH;
        let mut promoted = wanted.clone();
        promoted.command = Some(format!("promote@{}", wanted.revision));
        loop {
            let seen = world.seen(&record, &promoted);
            let decision = step(&promoted, &seen, &record, now);
            if decision.select == wanted.revision {
                assert_eq!(world.ready(&wanted.revision), SIZE);
                break;
            }
            now += SignedDuration::from_secs(1);
            if decision.record == record {
                world.obey(&decision, &promoted);
            } else {
                record = decision.record;
            }
        }
    }
}

#[test]
fn workers_are_cancelled_only_when_the_new_ones_are_ready_and_are_waited_for() {
    for mode in [HandoverMode::Handover, HandoverMode::Overlap] {
        let mut policy = policy();
        policy.traffic = Traffic::Jobs(mode);
        let wanted = wanted(policy, SIZE);
        let (mut record, mut world) = at_rest_on('a', Character::GOOD);
        let mut is_drained = false;
        loop {
            let mut seen = world.seen(&record, &wanted);
            let is_new_ready = world.ready(&wanted.revision) == SIZE;
            let phase = record.release.as_ref().map(|release| release.phase);
            if phase == Some(ReleasePhase::Draining) && !is_drained {
                // Two of the old ones still do their last jobs.
                seen.runs.get_mut(&revision('a')).unwrap().pods = 2;
            }
            let decision = step(&wanted, &seen, &record, Timestamp::UNIX_EPOCH);
            let old = decision.run.get(&revision('a')).copied();
            assert!(is_new_ready || old == Some(SIZE), "{mode:?}: {decision:?}");
            if decision.record != record {
                record = decision.record;
            } else if phase == Some(ReleasePhase::Draining) && !is_drained {
                assert_eq!(old, Some(0), "{mode:?}");
                is_drained = true;
            } else if record.release.is_none() {
                assert!(is_drained, "{mode:?}");
                assert_eq!(old, None);
                break;
            } else {
                world.obey(&decision, &wanted);
            }
        }
    }
}

#[test]
fn a_gate_of_a_handover_is_before_the_start_and_of_an_overlap_while_both_work() {
    let sizes = [
        (HandoverMode::Handover, None),
        (HandoverMode::Overlap, Some(SIZE)),
    ];
    for (mode, size) in sizes {
        let mut policy = policy();
        (policy.traffic, policy.gate) = (Traffic::Jobs(mode), Gate::Manual);
        let wanted = wanted(policy, SIZE);
        let (mut record, mut world) = at_rest_on('a', Character::GOOD);
        let gated = loop {
            let seen = world.seen(&record, &wanted);
            let decision = step(&wanted, &seen, &record, Timestamp::UNIX_EPOCH);
            if decision.record != record {
                record = decision.record;
                continue;
            }
            world.obey(&decision, &wanted);
            if decision.record.release.clone().unwrap().phase == ReleasePhase::Gated {
                break decision;
            }
        };
        assert_eq!(gated.run.get(&revision('c')).copied(), size, "{mode:?}");
        assert_eq!(gated.run[&revision('a')], SIZE, "{mode:?}");
    }
}

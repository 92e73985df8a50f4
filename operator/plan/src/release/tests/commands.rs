//! What people command, in every state.

use jiff::Timestamp;
use orlop_crds::release::{CommandOutcome, ReleasePhase, ReleaseRecord, Verb};

use super::{
    super::{Gate, Revision, Traffic, step},
    at_rest_at_last,
    states::{State, at_rest_on, policy, recorded_release, revision, states},
    wanted,
    world::{Character, SIZE},
};

fn commanded(mut state: State, verb: Verb, revision: &Revision) -> State {
    state.wanted.command = Some(format!("{}@{revision}", verb.as_str()));
    state
}

fn without_command(record: &ReleaseRecord) -> ReleaseRecord {
    ReleaseRecord {
        command: None,
        ..record.clone()
    }
}

/// Every verb for every revision, in turn.
fn all_commanded() -> impl Iterator<Item = State> {
    let of_each = Verb::ALL
        .into_iter()
        .flat_map(|verb| ['a', 'b', 'c'].map(|letter| (verb, revision(letter))));
    let of_each: Vec<_> = of_each.collect();
    let turns = of_each.into_iter().cycle();
    // States are not a multiple of the commands: each meets another one in the next round.
    states(Character::GOOD)
        .zip(turns)
        .map(|(state, (verb, revision))| commanded(state, verb, &revision))
}

#[test]
fn every_command_is_answered_exactly_once() {
    for state in all_commanded() {
        let end = at_rest_at_last(&state.wanted, &state.record, &state.world);
        assert_eq!(end.answers, 1, "{:?} from {state:?}", end.decision.record);
    }
}

#[test]
fn a_command_that_is_refused_changes_nothing() {
    let mut refused = 0;
    for state in all_commanded() {
        let seen = state.world.seen(&state.record, &state.wanted);
        let with = step(&state.wanted, &seen, &state.record, Timestamp::UNIX_EPOCH);
        let answer = with.record.command.as_ref();
        if answer.is_none_or(|answer| answer.outcome == CommandOutcome::Done) {
            continue;
        }
        let mut silent = state.wanted.clone();
        silent.command = None;
        let without = step(&silent, &seen, &state.record, Timestamp::UNIX_EPOCH);
        assert_eq!(
            without_command(&with.record),
            without.record,
            "from {state:?}"
        );
        assert_eq!(
            (with.select, with.run),
            (without.select, without.run),
            "from {state:?}"
        );
        refused += 1;
    }
    assert!(refused > 1000, "only {refused} commands were refused");
}

#[test]
fn what_names_a_revision_that_is_not_released_is_refused() {
    let verbs = [
        Verb::Promote,
        Verb::PromoteFull,
        Verb::Abort,
        Verb::Pause,
        Verb::Resume,
    ];
    for verb in verbs {
        for phase in ReleasePhase::ALL {
            let (_, world) = at_rest_on('a', Character::GOOD);
            let state = State {
                wanted: wanted(policy(), SIZE),
                record: recorded_release(phase, 'a', 'c', SIZE),
                world: world.running('c', SIZE),
            };
            let state = commanded(state, verb, &revision('b'));
            let seen = state.world.seen(&state.record, &state.wanted);
            let decision = step(&state.wanted, &seen, &state.record, Timestamp::UNIX_EPOCH);
            let answer = decision.record.command.unwrap();
            assert_eq!(
                answer.outcome,
                CommandOutcome::Refused,
                "{verb:?} in {phase:?}"
            );
        }
    }
}

#[test]
fn what_is_no_command_is_refused_and_told() {
    let (record, world) = at_rest_on('c', Character::GOOD);
    for text in [
        "",
        "abort",
        "abort@",
        "abort@nonsense",
        "explode@aaaaaaaaaa",
    ] {
        let mut wanted = wanted(policy(), SIZE);
        wanted.command = Some(text.to_owned());
        let seen = world.seen(&record, &wanted);
        let decision = step(&wanted, &seen, &record, Timestamp::UNIX_EPOCH);
        let answer = decision.record.command.unwrap();
        assert_eq!(answer.outcome, CommandOutcome::Refused, "{text}");
        assert_eq!(answer.command, text);
    }
}

#[test]
fn an_abort_and_going_back_end_on_the_old_revision_from_every_phase() {
    for state in states(Character::GOOD) {
        let Some(release) = state.record.release.clone() else {
            continue;
        };
        let from = Revision::parse(&release.from).unwrap();
        if release.to != state.wanted.revision.to_string() || !state.world.runs.contains_key(&from)
        {
            continue;
        }
        let to = state.wanted.revision.clone();
        for state in [
            commanded(state.clone(), Verb::Abort, &to),
            commanded(state, Verb::Undo, &from),
        ] {
            let end = at_rest_at_last(&state.wanted, &state.record, &state.world);
            assert_eq!(
                end.decision.select, from,
                "{:?} from {state:?}",
                end.decision.record
            );
            let hold = end.decision.record.hold.unwrap();
            assert_eq!(hold.revision, to.to_string(), "from {state:?}");
        }
    }
}

#[test]
fn going_back_needs_no_promotion_and_promoting_ends_the_hold() {
    for policy in super::policies() {
        let (record, world) = at_rest_on('c', Character::GOOD);
        let world = world.running('b', 0);
        let mut wanted = wanted(policy, SIZE);
        wanted.command = Some(format!("undo@{}", revision('b')));
        let back = at_rest_at_last(&wanted, &record, &world);
        assert_eq!(back.decision.select, revision('b'), "{wanted:?}");
        assert_eq!(back.answers, 1, "it waited for somebody: {wanted:?}");
        wanted.command = Some(format!("promote-full@{}", revision('c')));
        let forth = at_rest_at_last(&wanted, &back.decision.record, &back.world);
        assert_eq!(forth.decision.select, revision('c'), "{wanted:?}");
        assert_eq!(forth.decision.record.hold, None, "{wanted:?}");
    }
}

#[test]
fn a_release_that_is_paused_goes_no_further_until_it_is_resumed() {
    let mut wanted = wanted(policy(), SIZE);
    for phase in ReleasePhase::ALL
        .into_iter()
        .filter(|it| it.is_before_switch())
    {
        let (_, world) = at_rest_on('a', Character::GOOD);
        let world = world.running('c', SIZE);
        let mut record = recorded_release(phase, 'a', 'c', SIZE);
        wanted.command = Some(format!("pause@{}", revision('c')));
        for _ in 0..5 {
            let seen = world.seen(&record, &wanted);
            let decision = step(&wanted, &seen, &record, Timestamp::UNIX_EPOCH);
            assert_eq!(decision.wake_at, None, "{phase:?}");
            record = decision.record;
        }
        assert_eq!(record.release.clone().unwrap().phase, phase);
        wanted.command = Some(format!("resume@{}", revision('c')));
        let end = at_rest_at_last(&wanted, &record, &world);
        assert_eq!(end.decision.select, revision('c'), "{phase:?}");
        assert_eq!(end.answers, 1);
    }
}

#[test]
fn a_promotion_that_comes_early_is_not_lost() {
    let mut policy = policy();
    policy.gate = Gate::Manual;
    for traffic in [
        Traffic::Requests,
        Traffic::Jobs(super::HandoverMode::Handover),
    ] {
        policy.traffic = traffic;
        let (record, world) = at_rest_on('a', Character::GOOD);
        let mut wanted = wanted(policy.clone(), SIZE);
        wanted.command = Some(format!("promote@{}", revision('c')));
        let end = at_rest_at_last(&wanted, &record, &world);
        assert_eq!((end.decision.select, end.answers), (revision('c'), 1));
    }
}

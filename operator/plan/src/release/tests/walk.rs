//! Long lives by chance: revisions are declared one after another, pods die, selectors are edited
//! and commands given, while nobody lets the new revisions through.

use jiff::SignedDuration;

use super::{
    super::{Decision, Gate, Policy, Run, Seen, Traffic, Wanted, step},
    policies,
    states::{Dice, at_rest_on, revision},
    wanted,
    world::{BAD, Character, SIZE, World, at},
};

const WALKS: u64 = 40;
const STEPS: usize = 300;

/// Whoever was never let through does not get a request while another revision is ready, whatever
/// happens. `a` is served in the beginning, and nothing else ever by right.
fn walks(let_none_through: impl Fn(&Policy) -> bool, character: Character, declared: &[char]) {
    let policies = policies().into_iter();
    for policy in policies.filter(|policy| policy.traffic == Traffic::Requests) {
        if !let_none_through(&policy) {
            continue;
        }
        for seed in 0..WALKS {
            walk(&wanted(policy.clone(), SIZE), character, declared, seed);
        }
    }
}

fn walk(wanted: &Wanted, character: Character, declared: &[char], seed: u64) {
    let mut dice = Dice(seed);
    let mut wanted = wanted.clone();
    wanted.revision = revision('a');
    let (mut record, mut world) = at_rest_on('a', character);
    let mut served_by_right = vec![revision('a')];
    let mut now = at(0);
    for number in 0..STEPS {
        happen(&mut world, &mut wanted, declared, number, &mut dice);
        let sight = world.seen(&record, &wanted);
        let decision = step(&wanted, &sight, &record, now);
        let told =
            || format!("seed {seed}, step {number}: {decision:?} in {sight:?} for {wanted:?}");
        if !served_by_right.contains(&decision.select) {
            let others = sight.runs.iter().filter(|(it, _)| **it != decision.select);
            assert!(
                others.into_iter().all(|(_, run)| run.ready == 0),
                "{}",
                told()
            );
            // It is all there is.
            served_by_right.push(decision.select.clone());
        }
        if decision.record != record {
            record = decision.record;
            continue;
        }
        keeps_what_serves_alone(&sight, &decision, &told);
        world.obey(&decision, &wanted);
        now += SignedDuration::from_secs([0, 1, 20][dice.below(3)]);
    }
}

fn keeps_what_serves_alone(sight: &Seen, decision: &Decision, told: &impl Fn() -> String) {
    let mut ready = sight.runs.iter().filter(|(_, run)| run.ready > 0);
    if let (Some((alone, _)), None) = (ready.next(), ready.next())
        && sight.selected.as_ref() == Some(alone)
    {
        assert!(
            decision.run.get(alone).is_some_and(|size| *size > 0),
            "{}",
            told()
        );
    }
}

fn happen(
    world: &mut World,
    wanted: &mut Wanted,
    declared: &[char],
    number: usize,
    dice: &mut Dice,
) {
    let letter = *dice.pick(declared);
    match dice.below(20) {
        0 => wanted.revision = revision(letter),
        1 => world.selected = Some(revision(letter)),
        2 => world.selected = None,
        3 => {
            if let Some(run) = world.runs.get_mut(&revision(letter)) {
                *run = Run { ready: 0, ..*run };
            }
        }
        4 => {
            // Nobody promotes.
            let verb = *dice.pick(&["abort", "pause", "resume"]);
            wanted.command = Some(format!("{verb}@{}#{number}", revision(letter)));
        }
        _ => {}
    }
}

#[test]
fn a_gate_that_nobody_opens_lets_nothing_through() {
    let is_shut = |policy: &Policy| policy.gate == Gate::Manual;
    walks(is_shut, Character::GOOD, &['a', 'b', 'c']);
}

#[test]
fn checks_that_do_not_answer_let_nothing_through() {
    let is_asked = |policy: &Policy| policy.checks_before;
    walks(is_asked, Character::SILENT, &['a', BAD]);
}

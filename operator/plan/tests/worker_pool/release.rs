//! How one revision of workers takes over from another.

use jiff::SignedDuration;
use orlop_crds::{
    Reason,
    release::{CommandOutcome, HoldReason, ReleasePhase},
};
use serde_json::json;

use crate::world::{PASSES_MAX, World};

#[test]
fn workers_that_are_handed_over_from_finish_their_jobs_before_the_release_ends() {
    for mode in ["Handover", "Overlap"] {
        let mut world = World::of(2);
        let old = world.active();
        world.release_by(&json!({"mode": mode}));
        world.linger = true;
        world.declare_another();
        let mut waited = false;
        for _ in 0..PASSES_MAX {
            let sizes = world.sizes();
            let new = sizes.iter().find(|(revision, _)| **revision != old);
            let is_ready = new.is_some_and(|(_, size)| *size == 2);
            assert!(is_ready || sizes[&old] == 2, "{mode}: {sizes:?}");
            world.pass();
            world.deploy();
            if world.phase() == Some(ReleasePhase::Draining) && world.sizes()[&old] == 0 {
                waited = true;
                break;
            }
        }
        assert!(waited, "{mode}: {:?}", world.record());
        world.settle();
        assert_eq!(world.phase(), Some(ReleasePhase::Draining), "{mode}");
        world.linger = false;
        world.deploy();
        world.settle();
        assert_eq!(world.phase(), None, "{mode}");
        assert_ne!(world.active(), old, "{mode}");
        assert_eq!(world.sizes(), [(world.active(), 2)].into(), "{mode}");
        assert_eq!(world.ready(), ("True".to_owned(), Reason::Available));
    }
}

#[test]
fn workers_that_never_end_are_waited_for_no_longer_than_they_may_take() {
    let mut world = World::of(2);
    world.linger = true;
    world.declare_another();
    world.settle();
    assert_eq!(world.phase(), Some(ReleasePhase::Draining));
    let at = world.pass().wake_at.unwrap();
    assert!(at > world.now);
    world.now = at;
    world.settle();
    assert_eq!(world.phase(), None);
}

#[test]
fn a_gate_of_workers_is_before_the_start_or_while_both_take_jobs() {
    for (mode, new_size) in [("Handover", None), ("Overlap", Some(2))] {
        let mut world = World::of(2);
        let old = world.active();
        world.release_by(&json!({"mode": mode, "promote": {"mode": "Manual"}}));
        world.declare_another();
        world.settle();
        assert_eq!(world.ready().1, Reason::AwaitingPromotion, "{mode}");
        let release = world.record().release.unwrap();
        assert_eq!(release.phase, ReleasePhase::Gated, "{mode}");
        assert_eq!(world.sizes().get(&release.to).copied(), new_size, "{mode}");
        assert_eq!(world.sizes()[&old], 2, "{mode}");
        world.command("promote", &release.to);
        world.settle();
        assert_eq!(world.outcome(), CommandOutcome::Done, "{mode}");
        assert_eq!(world.sizes(), [(release.to, 2)].into(), "{mode}");
    }
}

#[test]
fn an_abort_puts_the_old_workers_back() {
    let gated = json!({"mode": "Overlap", "promote": {"mode": "Manual"}});
    for (release, phase) in [
        (gated, ReleasePhase::Gated),
        (json!({}), ReleasePhase::Draining),
    ] {
        let mut world = World::of(2);
        let old = world.active();
        world.release_by(&release);
        world.linger = phase == ReleasePhase::Draining;
        world.declare_another();
        world.settle();
        assert_eq!(world.phase(), Some(phase));
        let new = world.record().release.unwrap().to;
        world.command("abort", &new);
        world.linger = false;
        world.settle();
        assert_eq!(world.outcome(), CommandOutcome::Done, "{phase:?}");
        assert_eq!(world.sizes(), [(old.clone(), 2)].into(), "{phase:?}");
        assert_eq!(world.record().hold.unwrap().reason, HoldReason::Aborted);
        assert_eq!(world.ready().1, Reason::ReleaseHeld);
        world.command("promote-full", &new);
        world.settle();
        assert_eq!(world.sizes(), [(new, 2)].into(), "{phase:?}");
        assert_eq!(world.ready().1, Reason::Available);
    }
}

#[test]
fn workers_that_do_not_start_are_held_back_after_the_deadline() {
    let mut world = World::of(2);
    let old = world.active();
    world.release_by(&json!({"deadline": "1m"}));
    world.declare_another();
    world.pass();
    world.broken.insert(world.record().release.unwrap().to);
    world.settle();
    assert_eq!(world.phase(), Some(ReleasePhase::Starting));
    assert_eq!(world.sizes()[&old], 2);
    world.now += SignedDuration::from_mins(2);
    world.settle();
    let hold = world.record().hold.unwrap();
    assert_eq!(hold.reason, HoldReason::DeadlineExceeded);
    assert_eq!(world.sizes(), [(old, 2)].into());
}

#[test]
fn another_number_of_workers_reaches_every_revision_that_takes_jobs() {
    let mut world = World::of(2);
    let old = world.active();
    world.release_by(&json!({"mode": "Overlap", "promote": {"mode": "Manual"}}));
    world.declare_another();
    world.settle();
    let new = world.record().release.unwrap().to;
    world.resize(5);
    world.settle();
    assert_eq!(world.sizes(), [(old.clone(), 5), (new.clone(), 5)].into());
    world.command("promote", &new);
    world.linger = true;
    world.settle();
    assert_eq!(world.phase(), Some(ReleasePhase::Draining));
    assert_eq!(world.sizes(), [(old.clone(), 0), (new.clone(), 5)].into());
    world.resize(3);
    world.settle();
    assert_eq!(world.sizes(), [(old, 0), (new, 3)].into());
}

#[test]
fn a_release_reaches_its_end_without_a_worker_and_while_the_first_ones_start() {
    for (before, after) in [(0, 0), (0, 3), (3, 0)] {
        let mut world = World::of(before);
        let old = world.active();
        world.declare_another();
        world.pass();
        world.resize(after);
        world.settle();
        assert_ne!(world.active(), old, "{before} to {after}");
        assert_eq!(world.sizes(), [(world.active(), after)].into());
        assert_eq!(world.phase(), None, "{before} to {after}");
    }
}

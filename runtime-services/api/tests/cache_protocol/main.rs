//! The cache's protocol under every interleaving of readers, writers, faults and clocks, in a
//! world small enough to visit all of it; and the script against its specification.

// What cannot be read is a failure here, in helpers too.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cell;
mod script;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::{
    collections::HashSet,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
};

use world::{Faults, Flaw, World};

/// Worlds visited before a search is given up: ten times what the largest one needs.
const WORLDS_MAX: usize = 5_000_000;

/// What a search is about.
#[derive(Clone, Copy)]
struct Scenario {
    flaw: Flaw,
    faults: Faults,
    readers: usize,
    writers: usize,
    /// How often each reader reads.
    reads: u8,
    /// Whether what is committed must not stay hidden even when nobody acknowledged it. A key
    /// that vanishes under an intent whose writer dies is the one case that breaks this.
    converges: bool,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            flaw: Flaw::None,
            faults: Faults::default(),
            readers: 2,
            writers: 2,
            reads: 1,
            converges: true,
        }
    }
}

/// Visits every world that can be reached.
///
/// # Errors
/// The steps that lead to the first broken world.
fn search(scenario: Scenario) -> Result<usize, String> {
    let start = World::new(
        scenario.flaw,
        scenario.faults,
        scenario.readers,
        scenario.writers,
        scenario.reads,
    );
    let mut seen = HashSet::from([fingerprint(&start)]);
    let mut trail = vec![(("world", 0, "begins"), start.steps().into_iter())];
    while let Some((_, steps)) = trail.last_mut() {
        let Some((step, world)) = steps.next() else {
            trail.pop();
            continue;
        };
        if !seen.insert(fingerprint(&world)) {
            continue;
        }
        let hidden = scenario.converges && world.at_rest() && world.serves_old();
        let broken = hidden
            .then_some("a committed version stays hidden")
            .or(world.broken);
        if let Some(broken) = broken {
            let steps: Vec<_> = trail.iter().map(|(step, _)| step).chain([&step]).collect();
            return Err(format!("{broken}: {steps:#?}\n{world:#?}"));
        }
        assert!(seen.len() < WORLDS_MAX, "the world is too large to visit");
        trail.push((step, world.steps().into_iter()));
    }
    Ok(seen.len())
}

/// 64 bits: two of a million worlds share one with a chance of less than one in ten million.
fn fingerprint(world: &World) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(world)
}

fn holds(scenario: Scenario) {
    match search(scenario) {
        Ok(worlds) => println!("{worlds} worlds"),
        Err(trail) => panic!("{trail}"),
    }
}

fn finds(scenario: Scenario) {
    assert!(
        search(scenario).is_err(),
        "the search does not find {:?}",
        scenario.flaw
    );
}

#[test]
fn two_readers_and_two_writers_never_meet_an_old_row() {
    holds(Scenario {
        reads: 2,
        ..Scenario::default()
    });
}

#[test]
fn evictions_hide_nothing_acknowledged() {
    let faults = Faults {
        evictions: 2,
        kills: 1,
        ..Faults::default()
    };
    holds(Scenario {
        faults,
        converges: false,
        ..Scenario::default()
    });
}

#[test]
fn a_restart_that_loses_writes_and_a_kill_hide_nothing() {
    let faults = Faults {
        restarts: 1,
        kills: 1,
        renewals: 1,
        ..Faults::default()
    };
    holds(Scenario {
        faults,
        ..Scenario::default()
    });
}

#[test]
fn commands_without_an_answer_hide_nothing() {
    let faults = Faults {
        timeouts: 1,
        renewals: 1,
        ..Faults::default()
    };
    holds(Scenario {
        faults,
        ..Scenario::default()
    });
}

#[test]
fn a_kill_amid_commands_without_an_answer_hides_nothing() {
    let faults = Faults {
        timeouts: 1,
        kills: 1,
        renewals: 1,
        ..Faults::default()
    };
    holds(Scenario {
        faults,
        writers: 1,
        ..Scenario::default()
    });
}

#[test]
fn a_failover_with_the_old_primary_still_answering_hides_nothing() {
    let faults = Faults {
        failovers: 1,
        kills: 1,
        renewals: 1,
        ..Faults::default()
    };
    holds(Scenario {
        faults,
        writers: 1,
        reads: 2,
        ..Scenario::default()
    });
}

#[test]
fn a_restart_amid_commands_without_an_answer_hides_nothing() {
    let faults = Faults {
        restarts: 1,
        timeouts: 1,
        renewals: 2,
        ..Faults::default()
    };
    holds(Scenario {
        faults,
        writers: 1,
        ..Scenario::default()
    });
}

#[test]
fn readers_of_one_process_that_share_a_load_see_what_was_acknowledged() {
    holds(Scenario {
        readers: 3,
        writers: 1,
        ..Scenario::default()
    });
}

#[test]
fn the_search_finds_every_flaw() {
    let timeouts = Faults {
        timeouts: 1,
        ..Faults::default()
    };
    let restarts = Faults {
        restarts: 1,
        ..Faults::default()
    };
    let kills = Faults {
        kills: 1,
        ..Faults::default()
    };
    let renewals = Faults {
        timeouts: 1,
        renewals: 1,
        ..Faults::default()
    };
    let with = |flaw, faults| Scenario {
        flaw,
        faults,
        ..Scenario::default()
    };
    finds(with(Flaw::FillsWithoutLease, Faults::default()));
    finds(with(Flaw::ForgetsUnnoticed, restarts));
    finds(with(Flaw::WaitsForNobody, timeouts));
    finds(with(
        Flaw::TrustsTimeouts,
        Faults {
            evictions: 1,
            ..timeouts
        },
    ));
    finds(with(Flaw::IntendsNothing, kills));
    finds(with(Flaw::RenewsWithoutLock, renewals));
    finds(Scenario {
        readers: 3,
        ..with(Flaw::JoinsAnyLoad, Faults::default())
    });
    finds(with(Flaw::SettlesForOthers, kills));
}

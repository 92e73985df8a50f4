//! Every state of three revisions, however it came about: a world that does what is decided comes to
//! rest within a bounded number of decisions, and serves what is wanted.

use super::*;

const SIZE: i32 = 2;
/// Decisions until rest, at most: one that is under way is ended or turned around, and then at most
/// one release is made from begin to end.
const DECISIONS_MAX: usize = 8;

fn revision(letter: char) -> Revision {
    Revision::parse(&letter.to_string().repeat(10)).unwrap()
}

fn revisions() -> [Revision; 3] {
    ['a', 'b', 'c'].map(revision)
}

/// The last one is wanted.
fn wanted(replicas: i32) -> Wanted {
    Wanted {
        revision: revision('c'),
        replicas,
        drain: Duration::from_secs(5),
    }
}

fn memories() -> Vec<Memory> {
    let actives = revisions().map(Some).into_iter().chain([None]);
    let mut memories: Vec<_> = actives
        .map(|active| Memory {
            active,
            release: None,
        })
        .collect();
    let phases = [
        ReleasePhase::Starting,
        ReleasePhase::Switching,
        ReleasePhase::Draining,
    ];
    for phase in phases {
        for from in revisions() {
            for to in revisions().into_iter().filter(|to| *to != from) {
                memories.extend([0, SIZE].map(|from_replicas| Memory {
                    active: Some(from.clone()),
                    release: Some(ReleaseStatus {
                        phase,
                        from: from.to_string(),
                        to: to.to_string(),
                        from_replicas,
                        since: Time(Timestamp::UNIX_EPOCH),
                    }),
                }));
            }
        }
    }
    memories
}

/// Absent, only kept, at 0, starting, and running.
fn runs(runs_well: bool) -> Vec<Option<Run>> {
    let run = |replicas, ready| Run {
        replicas: Some(replicas),
        ready,
        settled: true,
        stillborn: ready == 0,
    };
    let mut runs = vec![
        None,
        Some(Run::default()),
        Some(run(0, 0)),
        Some(run(SIZE, 0)),
    ];
    if runs_well {
        runs.push(Some(run(SIZE, SIZE)));
    }
    runs
}

fn worlds(wanted_runs_well: bool) -> Vec<Seen> {
    let [a, b, c] = revisions();
    let mut worlds = Vec::new();
    for selected in [None, Some(a.clone()), Some(b.clone()), Some(c.clone())] {
        for run_a in runs(true) {
            for run_b in runs(true) {
                for run_c in runs(wanted_runs_well) {
                    let all = [(&a, run_a), (&b, run_b), (&c, run_c)];
                    let runs = all
                        .into_iter()
                        .filter_map(|(name, run)| Some((name.clone(), run?)));
                    worlds.push(Seen {
                        selected: selected.clone(),
                        runs: runs.collect(),
                    });
                }
            }
        }
    }
    worlds
}

/// Does what is decided. Pods become ready if their revision runs well, which all but the wanted
/// one always do.
fn obey(seen: &mut Seen, decision: &Decision, wanted_runs_well: bool) {
    seen.selected = Some(decision.select.clone());
    for (revision, run) in &mut seen.runs {
        if !decision.run.contains_key(revision) {
            *run = Run::default();
        }
    }
    for (revision, size) in &decision.run {
        // What has left no template behind cannot be made again, unless it is declared.
        if !seen.runs.contains_key(revision) && *revision != self::revision('c') {
            continue;
        }
        let runs_well = wanted_runs_well || *revision != self::revision('c');
        let ready = if runs_well { *size } else { 0 };
        let run = Run {
            replicas: Some(*size),
            ready,
            settled: true,
            stillborn: !runs_well,
        };
        seen.runs.insert(revision.clone(), run);
    }
}

/// The decision in which a world comes to rest.
fn at_rest_at_last(wanted: &Wanted, memory: &Memory, seen: &Seen, runs_well: bool) -> Decision {
    let (mut memory, mut world) = (memory.clone(), seen.clone());
    let mut now = Timestamp::UNIX_EPOCH;
    let mut decisions = 0;
    loop {
        let decision = step(wanted, &world, &memory, now);
        if decision.memory != memory {
            decisions += 1;
            assert!(
                decisions <= DECISIONS_MAX,
                "no rest from {memory:?} in {world:?}"
            );
            memory = decision.memory;
            continue;
        }
        let before = world.clone();
        obey(&mut world, &decision, runs_well);
        if let Some(wake_at) = decision.wake_at {
            now = wake_at;
        } else if world == before {
            return decision;
        }
    }
}

#[test]
fn from_every_state_the_wanted_revision_is_served_in_the_end() {
    for replicas in [0, SIZE] {
        let wanted = wanted(replicas);
        let worlds = worlds(true);
        for memory in memories() {
            for seen in &worlds {
                let end = at_rest_at_last(&wanted, &memory, seen, true);
                let told = format!("from {memory:?} in {seen:?}");
                assert_eq!(end.select, wanted.revision, "{told}");
                assert_eq!(end.memory.release, None, "{told}");
                assert_eq!(
                    end.run,
                    BTreeMap::from([(wanted.revision.clone(), replicas)]),
                    "{told}"
                );
            }
        }
    }
}

#[test]
fn a_revision_that_never_runs_is_awaited_at_rest() {
    let wanted = wanted(SIZE);
    let worlds = worlds(false);
    for memory in memories() {
        for seen in &worlds {
            let end = at_rest_at_last(&wanted, &memory, seen, false);
            let told = format!("from {memory:?} in {seen:?}");
            assert_eq!(end.run.get(&wanted.revision), Some(&SIZE), "{told}");
            assert_eq!(end.wake_at, None, "{told}");
        }
    }
}

#[test]
fn a_decision_that_is_recorded_is_made_again() {
    let now = Timestamp::UNIX_EPOCH;
    for memory in memories() {
        for seen in &worlds(true) {
            let decided = step(&wanted(SIZE), seen, &memory, now);
            let selected = decided.memory.active.as_ref();
            assert_eq!(
                selected,
                Some(&decided.select),
                "from {memory:?} in {seen:?}"
            );
            assert!(
                decided.run.contains_key(&decided.select),
                "from {memory:?} in {seen:?}"
            );
        }
    }
}

#[test]
fn what_serves_alone_is_never_told_to_stop() {
    let wanted = wanted(SIZE);
    for memory in memories() {
        for seen in &worlds(true) {
            let decision = step(&wanted, seen, &memory, Timestamp::UNIX_EPOCH);
            let ready = |revision: &&Revision| seen.run(revision).ready > 0;
            let selected = seen.selected.as_ref().filter(ready);
            let alone = selected.filter(|one| seen.runs.keys().filter(ready).all(|r| r == *one));
            let recorded = memory.active.as_ref() == seen.selected.as_ref();
            if let Some(alone) = alone.filter(|_| recorded && decision.memory == memory) {
                assert_ne!(
                    decision.run.get(alone),
                    Some(&0),
                    "from {memory:?} in {seen:?}"
                );
                assert!(
                    decision.run.contains_key(alone),
                    "from {memory:?} in {seen:?}"
                );
            }
        }
    }
}

//! What becomes of a job after an attempt.

use std::time::Duration;

use lapin::types::ShortString;
use orlop_contract::queue::DeadReason;

/// What an attempt said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Failed(Failure),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) again: Again,
    /// One line that is the same for every failure of this sort.
    pub(crate) message: String,
    /// What the handler said of this one job, empty if nothing.
    pub(crate) detail: String,
}

/// Whether another attempt may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    Never(DeadReason),
    Soon,
    /// Not before this time has passed, as the handler asked.
    After(Duration),
}

/// What becomes of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate<'a> {
    Done,
    /// It waits in the queue of this name.
    Retry(&'a ShortString),
    Dead(DeadReason, &'a Failure),
}

/// How often a job is tried, and where it waits in between.
#[derive(Clone, Debug)]
pub(crate) struct Ladder {
    pub(crate) attempts: u32,
    /// Shortest delay first.
    pub(crate) rungs: Vec<Rung>,
}

#[derive(Clone, Debug)]
pub(crate) struct Rung {
    pub(crate) queue: ShortString,
    pub(crate) delay: Duration,
}

impl Ladder {
    /// The fate of a job after its attempt number `attempt`, counted from 1.
    pub(crate) fn fate<'a>(&'a self, outcome: &'a Outcome, attempt: u32) -> Fate<'a> {
        let Outcome::Failed(failure) = outcome else {
            return Fate::Done;
        };
        let wait = match failure.again {
            Again::Never(reason) => return Fate::Dead(reason, failure),
            Again::Soon => Duration::ZERO,
            Again::After(wait) => wait,
        };
        match self.rung(attempt, wait) {
            Some(rung) if attempt < self.attempts => Fate::Retry(&rung.queue),
            _ => Fate::Dead(DeadReason::Attempts, failure),
        }
    }

    /// The rung of this attempt; the next one where the handler asks for a longer wait. It gets no
    /// more than that, or a handler could park jobs for the longest time at their first failure.
    fn rung(&self, attempt: u32, wait: Duration) -> Option<&Rung> {
        let failures = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        let last = self.rungs.len().checked_sub(1)?;
        let own = self.rungs.get(failures.min(last))?;
        if wait <= own.delay {
            return Some(own);
        }
        self.rungs.get(failures.saturating_add(1).min(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ladder(attempts: u32, delays: &[u64]) -> Ladder {
        let rungs = delays.iter().zip(1..).map(|(secs, place)| Rung {
            queue: format!("harbour.retry.{place}").into(),
            delay: Duration::from_secs(*secs),
        });
        Ladder {
            attempts,
            rungs: rungs.collect(),
        }
    }

    fn failed(again: Again) -> Outcome {
        Outcome::Failed(Failure {
            again,
            message: "handler answered 500 Internal Server Error".to_owned(),
            detail: String::new(),
        })
    }

    fn queue(fate: Fate<'_>) -> &str {
        match fate {
            Fate::Retry(queue) => queue.as_str(),
            other => panic!("{other:?}"),
        }
    }

    fn grave(fate: Fate<'_>) -> DeadReason {
        match fate {
            Fate::Dead(reason, _) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_job_climbs_the_ladder_stays_at_its_top_and_dies_after_the_last_attempt() {
        let ladder = ladder(5, &[2, 4, 8]);
        let outcome = failed(Again::Soon);
        let waited: Vec<_> = (1..5)
            .map(|attempt| queue(ladder.fate(&outcome, attempt)))
            .collect();
        let expected = [1, 2, 3, 3].map(|place| format!("harbour.retry.{place}"));
        assert_eq!(waited, expected);
        for attempt in [5, 6, u32::MAX] {
            let reason = grave(ladder.fate(&outcome, attempt));
            assert_eq!(reason, DeadReason::Attempts);
        }
    }

    #[test]
    fn what_can_never_succeed_is_dead_at_once() {
        for reason in DeadReason::ALL {
            let outcome = failed(Again::Never(reason));
            assert_eq!(grave(ladder(5, &[2]).fate(&outcome, 1)), reason);
        }
    }

    #[test]
    fn a_longer_wait_is_granted_up_to_the_next_rung() {
        let ladder = ladder(5, &[2, 4, 8]);
        for (secs, place) in [(1, 1), (2, 1), (3, 2), (3600, 2)] {
            let outcome = failed(Again::After(Duration::from_secs(secs)));
            assert_eq!(
                queue(ladder.fate(&outcome, 1)),
                format!("harbour.retry.{place}")
            );
        }
    }

    #[test]
    fn one_attempt_needs_no_ladder() {
        let ladder = ladder(1, &[]);
        assert_eq!(ladder.fate(&Outcome::Done, 1), Fate::Done);
        let outcome = failed(Again::Soon);
        assert_eq!(grave(ladder.fate(&outcome, 1)), DeadReason::Attempts);
    }
}

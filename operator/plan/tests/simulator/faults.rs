//! What goes wrong with requests and processes.

use crate::seed::Dice;

/// What becomes of one write, as its sender sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// Not done: a timeout, 429 or 5xx.
    Lost,
    /// Done, but the answer did not arrive.
    AnswerLost,
    /// The process dies before it sends.
    CrashBefore,
    /// The process dies before it reads the answer.
    CrashAfter,
}

/// Decides the fate of every write.
#[derive(Clone, Debug)]
pub(crate) enum Faults {
    None,
    /// Exactly one write, counted from 0, meets its fate.
    At {
        write: usize,
        fate: Fate,
    },
    /// Each write with these chances in a thousand.
    Random {
        lost: usize,
        answer_lost: usize,
        crash: usize,
    },
}

impl Faults {
    /// The same, counted from a later write.
    pub(crate) fn after(self, writes: usize) -> Self {
        match self {
            Self::At { write, fate } => Self::At {
                write: write + writes,
                fate,
            },
            other => other,
        }
    }

    /// Whether the one write was sent.
    pub(crate) fn reached(&self, writes: usize) -> bool {
        matches!(self, Self::At { write, .. } if *write < writes)
    }

    pub(crate) fn fate(&self, write: usize, dice: &mut Dice) -> Fate {
        match *self {
            Self::None => Fate::Answered,
            Self::At { write: at, fate } => {
                if write == at {
                    fate
                } else {
                    Fate::Answered
                }
            }
            Self::Random {
                lost,
                answer_lost,
                crash,
            } => {
                let roll = dice.below(1000);
                let half = crash / 2;
                match roll {
                    _ if roll < lost => Fate::Lost,
                    _ if roll < lost + answer_lost => Fate::AnswerLost,
                    _ if roll < lost + answer_lost + half => Fate::CrashBefore,
                    _ if roll < lost + answer_lost + crash => Fate::CrashAfter,
                    _ => Fate::Answered,
                }
            }
        }
    }
}

//! What one key of the cache can hold and how it changes: the specification of the script, which
//! `script.rs` holds against the script itself.

use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Content {
    Row(u8),
    Lease(u8),
    Intents(BTreeSet<u8>),
}

/// A key that does not exist is `None`.
pub(crate) type Cell = Option<(u8, Content)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Hit(u8),
    Granted,
    Held(u8),
    Written,
}

pub(crate) fn ask(cell: &mut Cell, epoch: u8, token: u8) -> Asked {
    match cell {
        Some((of, Content::Row(version))) if *of == epoch => Asked::Hit(*version),
        Some((of, Content::Lease(holder))) if *of == epoch => Asked::Held(*holder),
        Some((of, Content::Intents(_))) if *of == epoch => Asked::Written,
        _ => {
            *cell = Some((epoch, Content::Lease(token)));
            Asked::Granted
        }
    }
}

pub(crate) fn fill(cell: &mut Cell, epoch: u8, token: u8, version: u8) -> bool {
    let leased = *cell == Some((epoch, Content::Lease(token)));
    if leased {
        *cell = Some((epoch, Content::Row(version)));
    }
    leased
}

pub(crate) fn intend(cell: &mut Cell, epoch: u8, token: u8) {
    match cell {
        Some((of, Content::Intents(tokens))) if *of == epoch => {
            tokens.insert(token);
        }
        _ => *cell = Some((epoch, Content::Intents(BTreeSet::from([token])))),
    }
}

pub(crate) fn settle(cell: &mut Cell, epoch: u8, token: u8) {
    match cell {
        // Of an older epoch, which nobody reads any more, or of a newer one, which is not ours.
        Some((of, _)) if *of != epoch => {}
        Some((_, Content::Intents(tokens))) => {
            tokens.remove(&token);
            if tokens.is_empty() {
                *cell = None;
            }
        }
        _ => *cell = None,
    }
}

//! What a writer does next: the decisions of the protocol, without IO.
//!
//! The module's documentation tells the protocol; `tests/cache_protocol` drives these functions
//! through every interleaving of a small world.

use std::fmt;

/// One period in which the cache was trusted without interruption. Random, so that neither a
/// restored database nor a second one ever uses the same value again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The one of a new database, in which nothing was ever trusted.
    pub const NEVER: Self = Self(0);
}

/// Fingerprint of which types are cached under which keys. Processes that differ in it (two
/// revisions during a release) cannot invalidate each other's keys, so they never trust together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout(pub u64);

/// The row of `orlop.cache_trust`: whether cached rows may be served, and under which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Trust {
    pub epoch: Epoch,
    pub on: bool,
    pub layout: Layout,
}

/// What comes next inside the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Inside {
    /// Place an intent at each key that the transaction changes.
    Intend(Epoch),
    /// Turn the trust off in this very transaction: it is off if and only if the change commits.
    Revoke(Epoch),
    /// Go on, and pay the debt once committed.
    Commit(Debt),
}

/// What is owed between the commit and the acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Debt {
    /// Nothing: nobody has ever trusted a cache.
    Nothing,
    /// Remove what is cached under the keys, and the intents.
    Settle(Epoch),
    /// Wait until whoever trusted the epoch has stopped to.
    Wait(Since),
}

/// From when a wait counts: no process can have begun to trust after this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Since {
    /// When this process first saw the epoch turned off.
    SeenOff(Epoch),
    /// Now.
    Now(Epoch),
}

/// What comes next after the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outside {
    Acknowledge,
    /// Turn the trust off by a statement of its own.
    Revoke(Epoch),
    Wait(Since),
}

/// The writer has taken the shared lock and read the trust after it. `usable` is whether this
/// process can speak to the cache at all.
pub fn trust_read(trust: Trust, layout: Layout, usable: bool) -> Inside {
    if trust.epoch == Epoch::NEVER {
        return Inside::Commit(Debt::Nothing);
    }
    if !trust.on {
        return Inside::Commit(Debt::Wait(Since::SeenOff(trust.epoch)));
    }
    if usable && trust.layout == layout {
        Inside::Intend(trust.epoch)
    } else {
        Inside::Revoke(trust.epoch)
    }
}

/// `confirmed` is whether the cache has confirmed the intents of all keys. One that was not
/// confirmed may be there all the same: it keeps a row from being cached until it expires.
pub fn intended(epoch: Epoch, confirmed: bool) -> Inside {
    if confirmed {
        Inside::Commit(Debt::Settle(epoch))
    } else {
        Inside::Revoke(epoch)
    }
}

/// The transaction holds the row of the trust, turned off.
pub fn revoked_inside(epoch: Epoch) -> Inside {
    Inside::Commit(Debt::Wait(Since::Now(epoch)))
}

/// `confirmed` is whether the cache has confirmed the removal of all keys.
pub fn settled(epoch: Epoch, confirmed: bool) -> Outside {
    if confirmed {
        Outside::Acknowledge
    } else {
        Outside::Revoke(epoch)
    }
}

/// `now` is the trust as it stands after the writer turned `epoch` off, or found it off.
///
/// A newer epoch owes nothing: it began under the exclusive lock, thus after this commit, and
/// when all that trusted the older one had stopped to.
pub fn revoked_outside(epoch: Epoch, now: Trust) -> Outside {
    if now.epoch == epoch {
        Outside::Wait(Since::Now(epoch))
    } else {
        Outside::Acknowledge
    }
}

impl fmt::Display for Epoch {
    /// 16 hexadecimal digits: cells and scripts rely on the length.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

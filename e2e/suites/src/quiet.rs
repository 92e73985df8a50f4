//! Who may disturb whom, among the tests of one binary.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static OPERATOR: RwLock<()> = RwLock::const_new(());

/// While it is held by any test, no other restarts the operator.
pub struct Quiet {
    _held: RwLockReadGuard<'static, ()>,
}

impl Quiet {
    /// For a stretch in which seconds are counted.
    pub async fn keep() -> Self {
        Self {
            _held: OPERATOR.read().await,
        }
    }

    /// Waits until nobody counts seconds, and holds others back while the operator is restarted.
    pub async fn disturb() -> RwLockWriteGuard<'static, ()> {
        OPERATOR.write().await
    }
}

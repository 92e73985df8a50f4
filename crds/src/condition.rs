//! Condition types, shared by all kinds.

use std::fmt;

/// What a condition speaks of. `Ready` is the summary; `Reconciling` and `Stalled` follow kstatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// Everything declared runs and answers. Its message names the root cause when it does not.
    Ready,
    /// Orlop is on its way to the declared state.
    Reconciling,
    /// Only a change from outside (of the spec, a quota, a Secret, an image) can lead further.
    Stalled,
    /// The declared revision is the one that is served.
    Released,
}

impl ConditionType {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Released => "Released",
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

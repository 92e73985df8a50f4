//! Trace ids.

use std::fmt;

/// Id of one piece of work, in the form of the W3C Trace Context: 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(u128);

impl TraceId {
    /// A new id, unique for all practical purposes.
    #[must_use]
    pub fn random() -> Self {
        // The specification forbids an id of only zeros.
        Self(rand::random::<u128>().max(1))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_32_hexadecimal_digits_and_never_the_same_twice() {
        let (first, second) = (TraceId::random(), TraceId::random());
        assert_ne!(first, second);
        let text = first.to_string();
        assert_eq!(text.len(), 32);
        assert!(
            text.chars()
                .all(|digit| digit.is_ascii_hexdigit() && !digit.is_ascii_uppercase())
        );
    }
}

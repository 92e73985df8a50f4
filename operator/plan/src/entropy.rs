//! Randomness, which is an argument like the clock.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// 32 random bytes, fresh in every pass. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Entropy([u8; 32]);

/// 62 symbols that need no escaping in a URL, a shell or a configuration file.
const SYMBOLS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// 32 of 62 symbols are 190 bits.
const PASSWORD_CHARS: usize = 32;
/// The largest multiple of 62 in a byte: what lies beyond would favour the first symbols.
const FAIR: u8 = 248;

impl Entropy {
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A password for one purpose. Different purposes give independent passwords.
    pub(crate) fn password(&self, purpose: &str) -> String {
        let blocks = (0_u32..).flat_map(|block| {
            Sha256::new()
                .chain_update(self.0)
                .chain_update(block.to_be_bytes())
                .chain_update(purpose.as_bytes())
                .finalize()
        });
        blocks
            .filter(|byte| *byte < FAIR)
            .map(|byte| char::from(SYMBOLS[usize::from(byte % 62)]))
            .take(PASSWORD_CHARS)
            .collect()
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_and_each_pass_has_its_own_password() {
        let (one, other) = (Entropy::new([1; 32]), Entropy::new([2; 32]));
        let passwords = [
            one.password("app"),
            one.password("admin"),
            other.password("app"),
        ];
        assert!(passwords.iter().all(|password| {
            password.len() == PASSWORD_CHARS && password.bytes().all(|byte| SYMBOLS.contains(&byte))
        }));
        assert_ne!(passwords[0], passwords[1]);
        assert_ne!(passwords[0], passwords[2]);
        assert_eq!(passwords[0], one.password("app"));
    }
}

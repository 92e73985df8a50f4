//! Entity tags and the conditions made of them (RFC 9110 section 13).

use sha2::{Digest as _, Sha256};

/// Versions that one header may name.
const TAGS_MAX: usize = 16;

/// The tag of one thing: `"<version>-<fingerprint>"`. The version says which row, the fingerprint
/// which representation of it: another revision of the API may answer with other members.
pub(crate) fn of_one(version: i64, fingerprint: &str) -> String {
    format!("\"{version}-{fingerprint}\"")
}

/// The tag of what is answered as a whole, by its bytes.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    format!("\"{}\"", fingerprint(bytes))
}

/// 16 hexadecimal digits.
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    format!("{:016x}", hash(bytes))
}

/// The first eight bytes of the SHA-256.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    Sha256::digest(bytes)[..8]
        .iter()
        .fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// Whether an `If-None-Match` names the tag: the client has it already. Weak comparison.
pub(crate) fn is_known(if_none_match: &str, tag: &str) -> bool {
    if_none_match
        .split(',')
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// What an `If-Match` asks of the row that is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// `*`: that it exists.
    Exists,
    /// That it has one of these versions; none of ours, if it is empty.
    Version(Vec<i64>),
}

impl Condition {
    /// Reads the header. The condition is about the row, so the fingerprint does not count; weak
    /// tags never match (RFC 9110 section 13.1.1).
    pub(crate) fn parse(if_match: &str) -> Option<Self> {
        if if_match.trim() == "*" {
            return Some(Self::Exists);
        }
        let tags: Vec<_> = if_match.split(',').map(str::trim).collect();
        if tags.len() > TAGS_MAX {
            return None;
        }
        let mut versions = Vec::with_capacity(tags.len());
        for tag in tags {
            let opaque = tag
                .strip_prefix("W/")
                .unwrap_or(tag)
                .strip_prefix('"')?
                .strip_suffix('"')?;
            let version = opaque
                .split_once('-')
                .and_then(|(version, _)| version.parse().ok());
            if let Some(version) = version.filter(|_| !tag.starts_with("W/")) {
                versions.push(version);
            }
        }
        Some(Self::Version(versions))
    }

    pub(crate) fn holds(&self, version: i64) -> bool {
        match self {
            Self::Exists => true,
            Self::Version(versions) => versions.contains(&version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_about_the_version_alone() {
        let condition = Condition::parse("\"3-00ff\", \"4-11aa\"").unwrap();
        assert!(condition.holds(3) && condition.holds(4) && !condition.holds(5));
        assert!(Condition::parse("*").unwrap().holds(9));
    }

    #[test]
    fn a_weak_or_foreign_tag_matches_nothing() {
        for text in ["W/\"3-00ff\"", "\"abc\"", "\"\""] {
            assert_eq!(
                Condition::parse(text),
                Some(Condition::Version(Vec::new())),
                "{text}"
            );
        }
        for text in ["", "3", "\"3"] {
            assert_eq!(Condition::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_tag_that_the_client_has_is_known() {
        let tag = of_one(3, "00ff");
        assert!(is_known("\"x\", W/\"3-00ff\"", &tag));
        assert!(is_known("*", &tag));
        assert!(!is_known("\"3-00fe\"", &tag));
    }
}

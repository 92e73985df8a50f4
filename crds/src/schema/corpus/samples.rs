//! Texts that do and do not match the patterns of the kinds.

use regex::Regex;

/// A text of `length` code points that matches, or the longest one at hand below that.
pub(super) fn matching(pattern: Option<&Regex>, length: usize) -> Option<String> {
    let Some(pattern) = pattern else {
        // Two bytes each: lengths are counted in code points.
        return Some("ä".repeat(length));
    };
    let candidates = [
        "a".repeat(length),
        "A".repeat(length),
        format!("/{}", "a".repeat(length.saturating_sub(1))),
        format!(
            "{}/{}",
            "a".repeat(length.saturating_sub(64)),
            "b".repeat(63)
        ),
        "1".repeat(length),
        "99999ms".repeat(4),
        format!("http://{}", "a".repeat(length.saturating_sub(7))),
        format!("{}.{}", "1".repeat(12), "1".repeat(6)),
    ];
    candidates
        .into_iter()
        .filter(|candidate| candidate.chars().count() <= length)
        .find(|candidate| pattern.is_match(candidate))
}

/// Texts that do not match: characters that no pattern allows, and ends that some forbid.
pub(super) fn mismatching(pattern: &Regex, max_length: usize) -> Vec<String> {
    [
        "a b", "a\n", "é", "-", "a-", ".", "..a", "a..b", "A", "0", "_", "a/b/c",
    ]
    .into_iter()
    .filter(|text| text.chars().count() <= max_length && !pattern.is_match(text))
    .map(str::to_owned)
    .collect()
}

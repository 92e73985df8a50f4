//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header).

/// Bytes of a key; clients send UUIDs.
const KEY_MAX: usize = 200;

/// Reads the header: a string of a structured field, `"..."`. Bare tokens are taken too, because
/// most clients send them.
pub(crate) fn key(header: &str) -> Option<String> {
    let header = header.trim();
    let key = match header.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => header,
    };
    let is_plain = key
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"\\,;".contains(&byte));
    (!key.is_empty() && key.len() <= KEY_MAX && is_plain).then(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_quoted_or_a_bare_token() {
        assert_eq!(key("\"a-1\"").as_deref(), Some("a-1"));
        assert_eq!(key(" a-1 ").as_deref(), Some("a-1"));
        for text in ["", "\"\"", "\"a", "a b", "a,b", "ä"] {
            assert_eq!(key(text), None, "{text}");
        }
        assert_eq!(key(&"k".repeat(201)), None);
    }
}

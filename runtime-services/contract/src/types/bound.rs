//! The bounds that the schema states, for readers of configuration that no API server has checked.

/// `^[A-Z][A-Za-z0-9]*$`, at most `max` long.
pub(super) fn is_type_name(text: &str, max: usize) -> bool {
    text.len() <= max
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// `^[a-z][A-Za-z0-9]*$`, at most `max` long.
pub(super) fn is_name(text: &str, max: usize) -> bool {
    text.len() <= max
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// `^[a-z][a-z0-9_]*$`, at most `max` long.
pub(super) fn is_column_name(text: &str, max: usize) -> bool {
    text.len() <= max
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// `^[a-z]([-a-z0-9]*[a-z0-9])?$`, at most `max` long.
pub(crate) fn is_label(text: &str, max: usize) -> bool {
    text.len() <= max
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// `^[A-Za-z0-9][A-Za-z0-9._-]*$`, at most `max` long.
pub(super) fn is_enum_value(text: &str, max: usize) -> bool {
    text.len() <= max
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

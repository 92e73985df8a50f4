//! Names made from names.

/// `OrderItem` and `orderItem` become `order_item`.
pub(super) fn snake(name: &str) -> String {
    join_words(name, '_')
}

/// Path of a type's collection: `OrderItem` becomes `order-items`.
pub(super) fn collection(name: &str) -> String {
    plural(&join_words(name, '-'))
}

/// `OrderItem` becomes `orderItem`.
pub(super) fn lower_first(name: &str) -> String {
    let mut letters = name.chars();
    letters
        .next()
        .map(|first| first.to_ascii_lowercase())
        .into_iter()
        .chain(letters)
        .collect()
}

fn join_words(name: &str, separator: char) -> String {
    let mut joined = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !joined.is_empty() {
            joined.push(separator);
        }
        joined.push(letter.to_ascii_lowercase());
    }
    joined
}

/// The regular English plural.
fn plural(word: &str) -> String {
    if let Some(stem) = word.strip_suffix('y')
        && !stem.ends_with(['a', 'e', 'i', 'o', 'u'])
    {
        return format!("{stem}ies");
    }
    if ["s", "x", "z", "ch", "sh"]
        .iter()
        .any(|end| word.ends_with(end))
    {
        return format!("{word}es");
    }
    format!("{word}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_served_under_its_plural() {
        for (name, path) in [
            ("Product", "products"),
            ("OrderItem", "order-items"),
            ("Category", "categories"),
            ("Day", "days"),
            ("Box", "boxes"),
        ] {
            assert_eq!(collection(name), path);
        }
    }

    #[test]
    fn columns_are_in_lower_case_with_underscores() {
        assert_eq!(snake("unitPrice"), "unit_price");
        assert_eq!(snake("OrderItem"), "order_item");
    }
}

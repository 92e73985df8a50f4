//! Where a list goes on: opaque to clients, checked when it comes back.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Values by which the last answered thing was sorted, its id last, as text. A cursor is not
/// signed: all it can do is to say where a list begins, which a filter can do too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The sort that the values belong to.
    pub(crate) sort: String,
    pub(crate) values: Vec<Option<String>>,
}

impl Cursor {
    pub(crate) fn encode(&self) -> String {
        let json = serde_json::json!([self.sort, self.values]);
        URL_SAFE_NO_PAD.encode(json.to_string())
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
        let json = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (sort, values) = serde_json::from_slice(&json).ok()?;
        Some(Self { sort, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let cursor = Cursor {
            sort: "-price,id".into(),
            values: vec![Some("1.5".into()), None],
        };
        assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        for text in ["", "!", "bm8", "W10"] {
            assert_eq!(Cursor::decode(text), None, "{text}");
        }
    }
}

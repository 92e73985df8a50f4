//! Errors with what caused them.

use std::{error::Error, fmt};

/// Shows an error and its causes, the outermost first. A cause that the text before it already
/// quotes, as several libraries do, is not said again.
pub(crate) struct Causes<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !last.contains(&text) {
                write!(f, ": {text}")?;
                last = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Link>>);

    #[test]
    fn causes_are_told_in_order_and_once() {
        let root = Link("connection refused", None);
        let quoting = Link("request failed: connection refused", Some(Box::new(root)));
        let outer = Link("failed to apply Service/mast", Some(Box::new(quoting)));
        assert_eq!(
            Causes(&outer).to_string(),
            "failed to apply Service/mast: request failed: connection refused"
        );
    }
}

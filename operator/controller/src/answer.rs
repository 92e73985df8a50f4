//! What an error of a call means for a write.

use crate::client::CallError;

/// Longest piece of a server's message that is told on.
const QUOTED_CHARS: usize = 512;

/// What an error of a call means for a write.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The object has changed since it was observed, or its fields are somebody else's.
    Conflict,
    NotFound(CallError),
    /// The namespace is being deleted, and with it the object that is reconciled.
    Terminating,
    /// The server would answer the same again: its message, shortened.
    Refused {
        message: String,
        error: CallError,
    },
    /// No answer, or one that may be another the next time.
    Unclear(CallError),
}

pub(crate) fn classify(error: CallError) -> Answer {
    let CallError::Answered(status) = &error else {
        return Answer::Unclear(error);
    };
    match status.code {
        409 => Answer::Conflict,
        404 => Answer::NotFound(error),
        403 if error.is_terminating() => Answer::Terminating,
        400 | 403 | 405 | 413 | 422 => Answer::Refused {
            message: shortened(&status.message),
            error,
        },
        _ => Answer::Unclear(error),
    }
}

fn shortened(message: &str) -> String {
    match message.char_indices().nth(QUOTED_CHARS - 1) {
        Some((end, _)) if message.chars().count() > QUOTED_CHARS => format!("{}…", &message[..end]),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    fn answer(code: u16) -> Answer {
        let status = Status::failure("no", "Because").with_code(code);
        classify(CallError::Answered(status.boxed()))
    }

    #[test]
    fn what_would_be_answered_again_is_refused_and_all_else_is_tried_again() {
        for code in [400, 403, 422] {
            let Answer::Refused { message, .. } = answer(code) else {
                panic!("{code}")
            };
            assert_eq!(message, "no");
        }
        for code in [401, 429, 500, 503, 504] {
            assert!(matches!(answer(code), Answer::Unclear(_)), "{code}");
        }
        assert!(matches!(answer(409), Answer::Conflict));
        assert!(matches!(answer(404), Answer::NotFound(_)));
    }

    #[test]
    fn a_namespace_that_goes_is_nothing_to_tell() {
        let cause = json!({"reason": "NamespaceTerminating", "message": "it goes", "field": "f"});
        let status = json!({"code": 403, "reason": "Forbidden", "details": {"causes": [cause]}});
        let status: Status = serde_json::from_value(status).unwrap();
        let answer = classify(CallError::Answered(status.boxed()));
        assert!(matches!(answer, Answer::Terminating), "{answer:?}");
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let cut = shortened(&"ö".repeat(600));
        assert_eq!(cut.chars().count(), QUOTED_CHARS);
        assert!(cut.ends_with("ö…"));
        let whole = "ö".repeat(QUOTED_CHARS);
        assert_eq!(shortened(&whole), whole);
    }
}

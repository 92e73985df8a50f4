//! What a container said before it ended, fit to be quoted: one line, without what changes from one
//! end to the next.

use serde_json::{Map, Value};

use crate::condition::shorten;

/// Longest quotation: a sentence or two.
const WORDS_CHARS_MAX: usize = 240;

/// How far into a line a logger may have put the time.
const TIME_WITHIN_BYTES: usize = 40;
/// Letters before it: those of a month and a mark. More of them are a sentence.
const LETTERS_BEFORE_TIME_MAX: usize = 4;

/// The last line of a container's output that says something.
pub(crate) fn last_words(output: &str) -> Option<String> {
    let plain = without_controls(output);
    let line = plain
        .lines()
        .map(str::trim)
        .rfind(|line| says_something(line))?;
    let said = of_json(line).unwrap_or_else(|| without_time(line).to_owned());
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    (!said.is_empty()).then(|| shorten(&said, WORDS_CHARS_MAX))
}

/// Neither punctuation alone nor what runtimes print after the error itself: frames of a stack, and
/// hints.
fn says_something(line: &str) -> bool {
    const TAILS: [&str; 3] = ["at ", "Node.js v", "note: run with `RUST_BACKTRACE"];
    line.chars().any(char::is_alphanumeric) && !TAILS.iter().any(|tail| line.starts_with(tail))
}

/// Line ends stay; colours of terminals go whole.
fn without_controls(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if char == '\u{1b}' && chars.next_if_eq(&'[').is_some() {
            // ECMA-48, 5.4: parameters, then one final byte.
            while chars.next_if(|char| !('@'..='~').contains(char)).is_some() {}
            chars.next();
        } else if char == '\t' {
            plain.push(' ');
        } else if char == '\n' || !char.is_control() {
            plain.push(char);
        }
    }
    plain
}

/// The message and the error of a line for collectors.
fn of_json(line: &str) -> Option<String> {
    let object: Map<String, Value> = serde_json::from_str(line).ok()?;
    // Where tracing's fields are nested.
    let nested = object.get("fields").and_then(Value::as_object);
    let object = nested.unwrap_or(&object);
    let text = |names: [&str; 3]| {
        names.iter().find_map(|name| {
            let value = object.get(*name)?;
            value
                .as_str()
                .or_else(|| value.get("message")?.as_str())
                .map(str::to_owned)
        })
    };
    let said = [
        text(["message", "msg", "event"]),
        text(["error", "err", "exception"]),
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    (!said.is_empty()).then(|| said.join(": "))
}

/// What follows the time of day, if the line begins with one: it would be another at each end.
fn without_time(line: &str) -> &str {
    let start = &line.as_bytes()[..line.len().min(TIME_WITHIN_BYTES)];
    let Some(time) = start.windows(8).position(is_time_of_day) else {
        return line;
    };
    let (before, from_time) = line.split_at(time);
    let letters = before.chars().filter(|char| char.is_alphabetic()).count();
    let Some((_, mut rest)) = from_time.split_once(' ') else {
        return line;
    };
    if letters > LETTERS_BEFORE_TIME_MAX {
        return line;
    }
    // The zone, and marks and numbers of processes.
    while let Some((word, after)) = rest.trim_start().split_once(' ') {
        if word != "UTC" && word.chars().any(char::is_alphabetic) {
            break;
        }
        rest = after;
    }
    rest.trim_start()
}

/// `12:34:56`
fn is_time_of_day(bytes: &[u8]) -> bool {
    bytes.iter().enumerate().all(|(index, byte)| match index {
        2 | 5 => *byte == b':',
        _ => byte.is_ascii_digit(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_says_something_is_quoted() {
        for (output, words) in [
            ("one\ntwo\n\n  \n", Some("two")),
            ("no line end", Some("no line end")),
            (
                "Error: the mast is gone\n}\n\nNode.js v22.1.0\n",
                Some("Error: the mast is gone"),
            ),
            (
                "Error: sunk\n    at Object.<anonymous> (/srv/a.js:1:7)\n",
                Some("Error: sunk"),
            ),
            (
                "thread 'main' panicked at a.rs:1:1:\nsunk\nnote: run with `RUST_BACKTRACE=1` environment variable\n",
                Some("sunk"),
            ),
            ("", None),
            ("\n---\n", None),
        ] {
            assert_eq!(last_words(output).as_deref(), words, "{output}");
        }
    }

    #[test]
    fn control_characters_and_colours_are_left_out() {
        let words = last_words("\u{1b}[1;31merror\u{1b}[0m:\tno\u{7} oil\u{0}\r\n");
        assert_eq!(words.as_deref(), Some("error: no oil"));
        assert_eq!(last_words("adrift\u{1b}").as_deref(), Some("adrift"));
        assert_eq!(last_words("adrift\u{1b}[").as_deref(), Some("adrift"));
    }

    #[test]
    fn a_time_is_left_out_since_it_is_another_at_each_end() {
        for line in [
            "2026-11-22 12:34:56.789 UTC [41] no oil left",
            "2026-11-22T12:34:56.789012Z no oil left",
            "2026/11/22 12:34:56 no oil left",
            "[2026-11-22 12:34:56] no oil left",
            "1:M 22 Nov 2026 12:34:56.789 # no oil left",
        ] {
            assert_eq!(last_words(line).as_deref(), Some("no oil left"), "{line}");
        }
        for line in [
            "it is 12:34:56",
            "schéma à 12 noeuds",
            "adrift since 12:34:56 today",
        ] {
            assert_eq!(last_words(line).as_deref(), Some(line));
        }
    }

    #[test]
    fn of_a_line_for_collectors_the_message_and_the_error_are_quoted() {
        for (line, words) in [
            (
                r#"{"timestamp":"2026-11-22T12:34:56Z","level":"ERROR","message":"ended","error":"no oil"}"#,
                "ended: no oil",
            ),
            (
                r#"{"level":60,"time":1,"msg":"sunk","err":{"message":"a leak"}}"#,
                "sunk: a leak",
            ),
            (r#"{"fields":{"message":"sunk"},"target":"keel"}"#, "sunk"),
            (r#"{"depth":3}"#, r#"{"depth":3}"#),
        ] {
            assert_eq!(last_words(line).as_deref(), Some(words), "{line}");
        }
    }

    #[test]
    fn a_quotation_is_bounded() {
        let words = last_words(&"é".repeat(9_999)).unwrap();
        assert_eq!(words.chars().count(), WORDS_CHARS_MAX);
    }
}

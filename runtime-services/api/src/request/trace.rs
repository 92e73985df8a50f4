//! W3C Trace Context.

use std::fmt;

/// Where a request stands in its trace; written as a `traceparent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    id: String,
    span: u64,
    flags: u8,
}

impl Trace {
    /// Goes on with the trace of a `traceparent`, or begins one where there is none that can be
    /// understood.
    pub(crate) fn from_header(header: Option<&str>) -> Self {
        let span = rand::random::<u64>().max(1);
        match header.and_then(parse) {
            Some((id, flags)) => Self { id, span, flags },
            None => Self {
                id: orlop_telemetry::trace::TraceId::random().to_string(),
                span,
                flags: 0,
            },
        }
    }

    /// 32 hexadecimal digits.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{:016x}-{:02x}", self.id, self.span, self.flags)
    }
}

/// Trace id and flags. Later versions may say more behind these (section 3.2.4).
fn parse(header: &str) -> Option<(String, u8)> {
    let mut parts = header.trim().split('-');
    let version = hexadecimal(parts.next()?, 2)?;
    let id = hexadecimal(parts.next()?, 32)?;
    let parent = hexadecimal(parts.next()?, 16)?;
    let flags = hexadecimal(parts.next()?, 2)?;
    let is_zero = |text: &str| text.bytes().all(|byte| byte == b'0');
    if version == "ff" || is_zero(id) || is_zero(parent) {
        return None;
    }
    if version == "00" && parts.next().is_some() {
        return None;
    }
    Some((id.to_owned(), u8::from_str_radix(flags, 16).ok()?))
}

fn hexadecimal(text: &str, digits: usize) -> Option<&str> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == digits && text.bytes().all(is_digit)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_trace_goes_on_under_a_new_span() {
        let header = format!("00-{ID}-00f067aa0ba902b7-01");
        let trace = Trace::from_header(Some(&header));
        assert_eq!(trace.id(), ID);
        let written = trace.to_string();
        assert!(written.starts_with(&format!("00-{ID}-")) && written.ends_with("-01"));
        assert_ne!(written, header);
    }

    #[test]
    fn a_header_that_means_nothing_begins_a_new_trace() {
        for header in [
            "",
            "00-xyz-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            let trace = Trace::from_header(Some(header));
            assert_eq!(trace.id().len(), 32, "{header}");
            assert_ne!(trace.id(), ID, "{header}");
        }
    }
}

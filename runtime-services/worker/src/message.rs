//! A job as it comes from the broker, and the copies of it that go back.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use orlop_contract::queue::{
    ATTEMPT_HEADER, DEAD_ERROR_HEADER, DEAD_ERROR_MAX, DEAD_QUEUE_HEADER, DEAD_REASON_HEADER,
    DeadReason,
};

use crate::retry::Failure;

/// How often this quorum queue has delivered the message before, which the broker counts.
const DELIVERIES_HEADER: &str = "x-delivery-count";

/// Headers that describe where a message was. In a copy they would describe where the original was:
/// the broker would take a ladder for a cycle, or route by `CC` a second time.
const HEADERS_OF_THE_WAY: [&str; 11] = [
    "BCC",
    "CC",
    "x-acquired-count",
    DELIVERIES_HEADER,
    "x-death",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-last-death-exchange",
    "x-last-death-queue",
    "x-last-death-reason",
];

/// Survives a restart of the broker.
const PERSISTENT: u8 = 2;

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) tag: u64,
    pub(crate) body: Bytes,
    properties: BasicProperties,
}

impl From<Delivery> for Message {
    fn from(delivery: Delivery) -> Self {
        Self {
            tag: delivery.delivery_tag,
            body: delivery.data.into(),
            properties: delivery.properties,
        }
    }
}

impl Message {
    /// Number of the attempt that this delivery is, counted from 1: after those that failed, and
    /// those that no worker lived to judge.
    pub(crate) fn attempt(&self) -> u32 {
        let failed = self.number(ATTEMPT_HEADER);
        failed.saturating_add(self.deliveries()).saturating_add(1)
    }

    /// How often the broker had delivered it before without its being settled.
    pub(crate) fn deliveries(&self) -> u32 {
        self.number(DELIVERIES_HEADER)
    }

    pub(crate) fn content_type(&self) -> Option<&str> {
        self.properties
            .content_type()
            .as_ref()
            .map(ShortString::as_str)
    }

    pub(crate) fn id(&self) -> Option<&str> {
        self.properties
            .message_id()
            .as_ref()
            .map(ShortString::as_str)
    }

    /// A header of text, as the publisher gave it.
    pub(crate) fn text(&self, name: &str) -> Option<&[u8]> {
        match self.header(name)? {
            AMQPValue::LongString(text) => Some(text.as_bytes()),
            AMQPValue::ShortString(text) => Some(text.as_str().as_bytes()),
            _ => None,
        }
    }

    /// The trace that the job belongs to, from a `traceparent` header of the W3C Trace Context.
    pub(crate) fn trace_id(&self) -> Option<&str> {
        let text = std::str::from_utf8(self.text("traceparent")?).ok()?;
        text.split('-').nth(1)
    }

    /// Properties of the copy that waits for the attempt after `attempt`.
    pub(crate) fn for_retry(&self, attempt: u32) -> BasicProperties {
        self.copy([(ATTEMPT_HEADER, AMQPValue::LongLongInt(attempt.into()))])
    }

    /// Properties of the dead letter after `attempts` attempts.
    pub(crate) fn for_grave(
        &self,
        queue: &str,
        reason: DeadReason,
        attempts: u32,
        failure: &Failure,
    ) -> BasicProperties {
        let error = match failure.detail.as_str() {
            "" => failure.message.clone(),
            detail => format!("{}: {detail}", failure.message),
        };
        let text = |text: &str| AMQPValue::LongString(LongString::from(text));
        self.copy([
            (ATTEMPT_HEADER, AMQPValue::LongLongInt(attempts.into())),
            (DEAD_QUEUE_HEADER, text(queue)),
            (DEAD_REASON_HEADER, text(reason.as_str())),
            (DEAD_ERROR_HEADER, text(clipped(&error, DEAD_ERROR_MAX))),
        ])
    }

    /// What the publisher said of the message, and `headers`. Its own time to live has ended with
    /// the queue it was meant for, and a user id must be that of whoever publishes the copy.
    fn copy<const N: usize>(&self, headers: [(&str, AMQPValue); N]) -> BasicProperties {
        let mut copied: BTreeMap<ShortString, AMQPValue> = self
            .headers()
            .filter(|(name, _)| !HEADERS_OF_THE_WAY.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        copied.extend(headers.map(|(name, value)| (name.into(), value)));
        let said = &self.properties;
        let mut copy = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_headers(FieldTable::from(copied));
        let with = BasicProperties::with_content_type;
        copy = apply(copy, said.content_type().as_ref(), with);
        let with = BasicProperties::with_content_encoding;
        copy = apply(copy, said.content_encoding().as_ref(), with);
        let with = BasicProperties::with_correlation_id;
        copy = apply(copy, said.correlation_id().as_ref(), with);
        let with = BasicProperties::with_priority;
        copy = apply(copy, said.priority().as_ref(), with);
        let with = BasicProperties::with_reply_to;
        copy = apply(copy, said.reply_to().as_ref(), with);
        let with = BasicProperties::with_message_id;
        copy = apply(copy, said.message_id().as_ref(), with);
        let with = BasicProperties::with_timestamp;
        copy = apply(copy, said.timestamp().as_ref(), with);
        let with = BasicProperties::with_type;
        copy = apply(copy, said.kind().as_ref(), with);
        let with = BasicProperties::with_app_id;
        apply(copy, said.app_id().as_ref(), with)
    }

    /// A header that is a number, 0 where it is absent or no count.
    fn number(&self, name: &str) -> u32 {
        let number = match self.header(name) {
            Some(AMQPValue::ShortShortInt(number)) => i64::from(*number),
            Some(AMQPValue::ShortShortUInt(number)) => i64::from(*number),
            Some(AMQPValue::ShortInt(number)) => i64::from(*number),
            Some(AMQPValue::ShortUInt(number)) => i64::from(*number),
            Some(AMQPValue::LongInt(number)) => i64::from(*number),
            Some(AMQPValue::LongUInt(number)) => i64::from(*number),
            Some(AMQPValue::LongLongInt(number)) => *number,
            _ => 0,
        };
        u32::try_from(number.max(0)).unwrap_or(u32::MAX)
    }

    fn header(&self, name: &str) -> Option<&AMQPValue> {
        self.properties.headers().as_ref()?.inner().get(name)
    }

    fn headers(&self) -> impl Iterator<Item = (&ShortString, &AMQPValue)> {
        self.properties.headers().iter().flat_map(FieldTable::inner)
    }
}

fn apply<T: Clone>(
    copy: BasicProperties,
    said: Option<&T>,
    set: fn(BasicProperties, T) -> BasicProperties,
) -> BasicProperties {
    match said {
        Some(said) => set(copy, said.clone()),
        None => copy,
    }
}

/// The beginning of a text, no longer than so many bytes.
pub(crate) fn clipped(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use crate::retry::Again;

    use super::*;

    fn message(headers: &[(&str, AMQPValue)]) -> Message {
        let headers: BTreeMap<ShortString, AMQPValue> = headers
            .iter()
            .map(|(name, value)| ((*name).into(), value.clone()))
            .collect();
        let mut delivery = Delivery::mock(7, "".into(), "harbour".into(), false, b"{}".to_vec());
        delivery.properties = BasicProperties::default()
            .with_message_id("lantern-1".into())
            .with_expiration("1000".into())
            .with_user_id("someone".into())
            .with_headers(FieldTable::from(headers));
        delivery.into()
    }

    fn names(properties: &BasicProperties) -> Vec<String> {
        let headers = properties.headers().as_ref().unwrap();
        headers
            .inner()
            .keys()
            .map(|name| name.as_str().to_owned())
            .collect()
    }

    #[test]
    fn attempts_are_those_that_failed_and_those_that_nobody_judged() {
        assert_eq!(message(&[]).attempt(), 1);
        let failed = (ATTEMPT_HEADER, AMQPValue::LongLongInt(2));
        let delivered = (DELIVERIES_HEADER, AMQPValue::ShortShortInt(3));
        assert_eq!(message(&[failed, delivered]).attempt(), 6);
        let absurd = (ATTEMPT_HEADER, AMQPValue::LongLongInt(-4));
        assert_eq!(message(&[absurd]).attempt(), 1);
    }

    #[test]
    fn a_copy_keeps_what_the_publisher_said_and_not_the_way_of_the_original() {
        let message = message(&[
            ("tenant", AMQPValue::Boolean(true)),
            ("x-death", AMQPValue::Void),
            (DELIVERIES_HEADER, AMQPValue::LongLongInt(1)),
        ]);
        let copy = message.for_retry(2);
        assert_eq!(names(&copy), ["tenant", ATTEMPT_HEADER]);
        assert_eq!(copy.message_id().as_ref().unwrap().as_str(), "lantern-1");
        assert_eq!(copy.delivery_mode(), &Some(PERSISTENT));
        assert_eq!((copy.expiration(), copy.user_id()), (&None, &None));
    }

    #[test]
    fn a_dead_letter_says_why_in_a_bounded_text() {
        let failure = Failure {
            again: Again::Never(DeadReason::Refused),
            message: "handler answered 422 Unprocessable Entity".to_owned(),
            detail: "ö".repeat(DEAD_ERROR_MAX),
        };
        let copy = message(&[]).for_grave("harbour", DeadReason::Refused, 1, &failure);
        assert_eq!(
            names(&copy),
            [
                ATTEMPT_HEADER,
                DEAD_ERROR_HEADER,
                DEAD_QUEUE_HEADER,
                DEAD_REASON_HEADER
            ]
        );
        let headers = copy.headers().as_ref().unwrap().inner();
        let AMQPValue::LongString(error) = &headers[DEAD_ERROR_HEADER] else {
            panic!("{headers:?}");
        };
        assert!(error.len() <= DEAD_ERROR_MAX);
        assert!(
            error
                .to_string()
                .starts_with("handler answered 422 Unprocessable Entity: öö")
        );
    }
}

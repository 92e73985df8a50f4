//! Conditions: set by type, keeping the time of the last change of status.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use orlop_crds::{ConditionType, Reason};

use crate::{Notice, NoticeLevel};

/// Longest message kept. Kubernetes allows 32768; what a person reads in one line is far less.
const MESSAGE_CHARS_MAX: usize = 1024;

/// One verdict, not yet dated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) kind: ConditionType,
    pub(crate) status: bool,
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

/// Conditions from verdicts. The transition time is the recorded one where the status is the same.
pub(crate) fn conditions(
    recorded: &[Condition],
    verdicts: Vec<Verdict>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    verdicts
        .into_iter()
        .map(|verdict| {
            let status = if verdict.status { "True" } else { "False" };
            let since = find(recorded, verdict.kind)
                .filter(|condition| condition.status == status)
                .map_or(Time(whole_second(now)), |condition| {
                    condition.last_transition_time.clone()
                });
            Condition {
                type_: verdict.kind.as_str().to_owned(),
                status: status.to_owned(),
                reason: verdict.reason.as_str().to_owned(),
                message: shorten(&verdict.message, MESSAGE_CHARS_MAX),
                observed_generation: generation,
                last_transition_time: since,
            }
        })
        .collect()
}

pub(crate) fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == kind.as_str())
}

/// `Ready`, `Reconciling` and `Stalled` from one cause; kstatus reads the latter two.
pub(crate) fn summary(reason: Reason, message: &str) -> Vec<Verdict> {
    let verdict = |kind, status| Verdict {
        kind,
        status,
        reason,
        message: message.to_owned(),
    };
    let ready = reason == Reason::Available;
    vec![
        verdict(ConditionType::Ready, ready),
        verdict(ConditionType::Reconciling, !ready && reason.is_transient()),
        verdict(ConditionType::Stalled, !reason.is_transient()),
    ]
}

/// What to tell when `Ready` has another reason than before.
pub(crate) fn ready_changed(before: &[Condition], after: &[Condition]) -> Option<Notice> {
    let after = find(after, ConditionType::Ready)?;
    let before = find(before, ConditionType::Ready).map(|condition| condition.reason.as_str());
    let reason = Reason::ALL
        .into_iter()
        .find(|reason| reason.as_str() == after.reason)?;
    (before != Some(after.reason.as_str())).then(|| Notice {
        level: if reason.is_transient() {
            NoticeLevel::Normal
        } else {
            NoticeLevel::Warning
        },
        reason,
        action: "Reconcile",
        message: after.message.clone(),
    })
}

/// API times carry whole seconds; anything finer would differ after a round trip.
pub(crate) fn whole_second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// At most `chars` characters, with an ellipsis for what was cut.
pub(crate) fn shorten(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    text.chars()
        .take(chars.saturating_sub(3))
        .chain("...".chars())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_time_of_a_condition_is_that_of_its_last_change_of_status() {
        let first = conditions(&[], summary(Reason::Starting, "a"), Some(1), at(10));
        let second = conditions(&first, summary(Reason::CrashLooping, "b"), Some(1), at(20));
        let third = conditions(&second, summary(Reason::Available, "c"), Some(1), at(30));
        let since = |list: &[Condition], kind| find(list, kind).unwrap().last_transition_time.0;
        assert_eq!(since(&second, ConditionType::Ready), at(10));
        assert_eq!(since(&second, ConditionType::Stalled), at(20));
        assert_eq!(since(&third, ConditionType::Ready), at(30));
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        assert_eq!(shorten("ääääää", 5), "ää...");
    }
}

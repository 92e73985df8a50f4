//! What a step of a release is worth to those who look at graphs.

use jiff::Timestamp;
use orlop_crds::release::{ReleasePhase, ReleaseRecord, ReleaseStatus};

/// Something that ended with a status that was written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ended {
    /// A whole release, how, and after how many seconds.
    Release { outcome: Outcome, seconds: f64 },
    /// The way of requests, or of jobs, from the old revision to the new one, in seconds.
    Switch { seconds: f64 },
}

/// How a release ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Served,
    Held,
    Superseded,
}

impl Outcome {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Held => "held",
            Self::Superseded => "superseded",
        }
    }
}

/// What has ended between two records.
pub(crate) fn ended(
    before: &ReleaseRecord,
    after: &ReleaseRecord,
    now: Timestamp,
) -> impl Iterator<Item = Ended> {
    let switch = switched(before, after).map(|decided| Ended::Switch {
        seconds: seconds(decided, now),
    });
    let release = before.release.as_ref().and_then(|release| {
        let begun = release.begun.as_ref();
        Some(Ended::Release {
            outcome: outcome(release, before, after)?,
            seconds: seconds(begun.map_or(release.since.0, |begun| begun.0), now),
        })
    });
    switch.into_iter().chain(release)
}

/// When the switch was decided that is complete now.
fn switched(before: &ReleaseRecord, after: &ReleaseRecord) -> Option<Timestamp> {
    let (before, after) = (before.release.as_ref()?, after.release.as_ref()?);
    let is_same = before.to == after.to;
    let is_switched = |release: &ReleaseStatus| {
        matches!(
            release.phase,
            ReleasePhase::Draining | ReleasePhase::Keeping
        )
    };
    let decided = after.decided.as_ref()?.0;
    (is_same && !is_switched(before) && is_switched(after)).then_some(decided)
}

fn outcome(
    release: &ReleaseStatus,
    before: &ReleaseRecord,
    after: &ReleaseRecord,
) -> Option<Outcome> {
    let goes_on = after.release.as_ref().is_some_and(|it| it.to == release.to);
    if goes_on {
        return None;
    }
    let held = after.hold.as_ref().map(|hold| &hold.revision) == Some(&release.to);
    Some(if held && before.hold != after.hold {
        Outcome::Held
    } else if after.active_revision.as_ref() == Some(&release.to) {
        Outcome::Served
    } else {
        Outcome::Superseded
    })
}

/// A clock that was set back makes no time negative.
fn seconds(since: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(since).as_secs_f64().max(0.0)
}

#[cfg(test)]
mod tests {
    use orlop_crds::release::{Hold, HoldReason};
    use serde_json::json;

    use super::*;

    fn record(active: &str, release: Option<(&str, &str)>) -> ReleaseRecord {
        let release = release.map(|(phase, to)| {
            json!({
                "phase": phase, "from": "old", "to": to, "fromReplicas": 1,
                "since": "2026-01-01T00:00:00Z",
                "begun": "2026-01-01T00:00:00.000000Z",
                "decided": "2026-01-01T00:00:07.500000Z",
            })
        });
        serde_json::from_value(json!({"activeRevision": active, "release": release})).unwrap()
    }

    fn all(before: &ReleaseRecord, after: &ReleaseRecord) -> Vec<Ended> {
        let now = "2026-01-01T00:00:08Z".parse().unwrap();
        ended(before, after, now).collect()
    }

    fn release(outcome: Outcome) -> Vec<Ended> {
        vec![Ended::Release {
            outcome,
            seconds: 8.0,
        }]
    }

    #[test]
    fn a_switch_is_counted_from_its_decision_to_its_proof() {
        let before = record("new", Some(("Verifying", "new")));
        let after = record("new", Some(("Draining", "new")));
        assert_eq!(all(&before, &after), [Ended::Switch { seconds: 0.5 }]);
        assert_eq!(all(&after, &record("new", Some(("Keeping", "new")))), []);
    }

    #[test]
    fn a_release_ends_once_and_with_one_outcome() {
        let under_way = record("old", Some(("Starting", "new")));
        assert_eq!(all(&under_way, &under_way), []);
        let kept = record("new", Some(("Keeping", "new")));
        assert_eq!(all(&kept, &record("new", None)), release(Outcome::Served));
        let superseded = record("old", Some(("Starting", "third")));
        assert_eq!(all(&under_way, &superseded), release(Outcome::Superseded));
        let mut held = record("old", None);
        held.hold = Some(Hold {
            revision: "new".to_owned(),
            instead: "old".to_owned(),
            reason: HoldReason::Aborted,
            message: "said so".to_owned(),
            since: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH),
        });
        assert_eq!(all(&under_way, &held), release(Outcome::Held));
        assert_eq!(all(&held, &held), []);
    }
}

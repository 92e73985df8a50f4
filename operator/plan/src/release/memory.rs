//! What stands in the status, as far as it can be read.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use orlop_crds::release::{
    CommandOutcome, CommandStatus, Hold, HoldReason, Promotion, ReleasePhase, ReleaseRecord,
    ReleaseStatus,
};

use crate::revision::Revision;

/// Whatever cannot be read of the record is taken as never written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Memory {
    pub(super) active: Option<Revision>,
    pub(super) previous: Option<Revision>,
    pub(super) release: Option<Release>,
    pub(super) hold: Option<HeldBack>,
    pub(super) command: Option<CommandStatus>,
}

/// A release whose recorded revisions are readable.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Release {
    pub(super) phase: ReleasePhase,
    pub(super) from: Revision,
    pub(super) to: Revision,
    pub(super) from_replicas: i32,
    pub(super) since: Timestamp,
    pub(super) begun: Timestamp,
    pub(super) decided: Option<Timestamp>,
    pub(super) promoted: Option<Promotion>,
    pub(super) paused_since: Option<Timestamp>,
    pub(super) deaths: i32,
}

/// The declared revision is not to be released.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HeldBack {
    pub(super) revision: Revision,
    pub(super) instead: Revision,
    pub(super) reason: HoldReason,
    pub(super) message: String,
    pub(super) since: Timestamp,
}

impl Memory {
    pub(super) fn read(record: &ReleaseRecord) -> Self {
        let ReleaseRecord {
            active_revision,
            previous_revision,
            release,
            hold,
            command,
        } = record;
        Self {
            active: active_revision.as_deref().and_then(Revision::parse),
            previous: previous_revision.as_deref().and_then(Revision::parse),
            release: release.as_ref().and_then(Release::read),
            hold: hold.as_ref().and_then(HeldBack::read),
            command: command.clone(),
        }
    }

    pub(super) fn into_record(self) -> ReleaseRecord {
        let Self {
            active,
            previous,
            release,
            hold,
            command,
        } = self;
        ReleaseRecord {
            active_revision: active.as_ref().map(Revision::to_string),
            previous_revision: previous.as_ref().map(Revision::to_string),
            release: release.map(Release::into_status),
            hold: hold.map(HeldBack::into_status),
            command,
        }
    }

    pub(super) fn answer(
        &mut self,
        command: &str,
        outcome: CommandOutcome,
        message: String,
        now: Timestamp,
    ) {
        self.command = Some(CommandStatus {
            command: command.to_owned(),
            outcome,
            message,
            at: Time(whole_second_from(now)),
        });
    }
}

impl Release {
    fn read(status: &ReleaseStatus) -> Option<Self> {
        let ReleaseStatus {
            phase,
            from,
            to,
            from_replicas,
            since,
            begun,
            decided,
            promoted,
            paused_since,
            deaths,
            waits_for: _,
            next: _,
        } = status;
        let (from, to) = (Revision::parse(from)?, Revision::parse(to)?);
        (from != to).then_some(Self {
            phase: *phase,
            from,
            to,
            from_replicas: *from_replicas,
            since: since.0,
            begun: begun.as_ref().map_or(since.0, |begun| begun.0),
            decided: decided.as_ref().map(|time| time.0),
            promoted: *promoted,
            paused_since: paused_since.as_ref().map(|time| time.0),
            deaths: deaths.unwrap_or(0),
        })
    }

    fn into_status(self) -> ReleaseStatus {
        let Self {
            phase,
            from,
            to,
            from_replicas,
            since,
            begun,
            decided,
            promoted,
            paused_since,
            deaths,
        } = self;
        ReleaseStatus {
            phase,
            from: from.to_string(),
            to: to.to_string(),
            from_replicas,
            since: Time(whole_second_from(since)),
            begun: Some(MicroTime(begun)),
            decided: decided.map(MicroTime),
            promoted,
            paused_since: paused_since.map(|since| Time(whole_second_from(since))),
            deaths: (deaths > 0).then_some(deaths),
            waits_for: None,
            next: None,
        }
    }
}

impl HeldBack {
    fn read(status: &Hold) -> Option<Self> {
        let Hold {
            revision,
            instead,
            reason,
            message,
            since,
        } = status;
        let (revision, instead) = (Revision::parse(revision)?, Revision::parse(instead)?);
        (revision != instead).then(|| Self {
            revision,
            instead,
            reason: *reason,
            message: message.clone(),
            since: since.0,
        })
    }

    fn into_status(self) -> Hold {
        let Self {
            revision,
            instead,
            reason,
            message,
            since,
        } = self;
        Hold {
            revision: revision.to_string(),
            instead: instead.to_string(),
            reason,
            message,
            since: Time(whole_second_from(since)),
        }
    }
}

/// The record without the words that are told with it, which decide nothing.
pub(crate) fn forget_words(record: &ReleaseRecord) -> ReleaseRecord {
    let mut record = record.clone();
    if let Some(release) = &mut record.release {
        (release.waits_for, release.next) = (None, None);
    }
    record
}

/// The phase of the release under way, with its revisions and when it began.
pub(crate) fn under_way(
    record: &ReleaseRecord,
) -> Option<(ReleasePhase, Revision, Revision, Timestamp)> {
    let release = Release::read(record.release.as_ref()?)?;
    Some((release.phase, release.from, release.to, release.since))
}

/// The revision that was served before.
pub(crate) fn previous(record: &ReleaseRecord) -> Option<Revision> {
    Revision::parse(record.previous_revision.as_deref()?)
}

/// API times carry whole seconds. Rounding down would end a drain before its time.
pub(super) fn whole_second_from(time: Timestamp) -> Timestamp {
    time.round(
        TimestampRound::new()
            .smallest(Unit::Second)
            .mode(RoundMode::Ceil),
    )
    .unwrap_or(time)
}

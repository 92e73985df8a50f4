//! Releases: how a new revision takes over, what is remembered of it, and what people may command.

use std::{fmt, str::FromStr};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, rules};

/// Annotation on an AppService or a WorkerPool that commands its release: see [`Command`].
pub const COMMAND: &str = "release.orlop.dev/command";

/// How a new revision of a service takes over from the one that is served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    #[serde(flatten)]
    pub pace: Pace,

    /// What is asked of a new revision before requests reach it, or while the previous one can
    /// still take them back. One check that fails holds the revision back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub checks: Vec<Check>,
}

/// The steps of a release and their times. Of an application: what applies where a component says
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pace {
    /// What lets requests reach a revision that is ready. Default `{mode: Automatic}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote: Option<Promote>,

    /// The new revision until it is promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,

    /// How many of the wanted replicas must be ready before requests are switched, in percent.
    /// Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub ready_at_least: Option<i32>,

    /// How long one step may take, waiting for promotion not counted, before the new revision is
    /// held back and the previous one goes on. Default 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::duration_between("1s", "24h")))]
    pub deadline: Option<Duration>,

    /// How long the previous revision goes on after new requests reach the new one, so that open
    /// requests finish. Default 20s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Duration>,

    /// How long the previous revision stays warm after the drain, in fresh pods without old
    /// connections, so that going back to it needs no start. Default 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::duration_between("0s", "24h")))]
    pub keep_old: Option<Duration>,

    /// How many revisions can be gone back to. Default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub history: Option<i32>,
}

impl Pace {
    pub const DEFAULT_READY_AT_LEAST: i32 = 100;
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(600);
    pub const DEFAULT_DRAIN: Duration = Duration::from_secs(20);
    pub const DEFAULT_KEEP_OLD: Duration = Duration::from_secs(60);
    pub const DEFAULT_HISTORY: i32 = 10;

    #[must_use]
    pub fn ready_at_least(&self) -> i32 {
        self.ready_at_least.unwrap_or(Self::DEFAULT_READY_AT_LEAST)
    }

    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.deadline.unwrap_or(Self::DEFAULT_DEADLINE)
    }

    #[must_use]
    pub fn drain(&self) -> Duration {
        self.drain.unwrap_or(Self::DEFAULT_DRAIN)
    }

    #[must_use]
    pub fn keep_old(&self) -> Duration {
        self.keep_old.unwrap_or(Self::DEFAULT_KEEP_OLD)
    }

    #[must_use]
    pub fn history(&self) -> i32 {
        self.history.unwrap_or(Self::DEFAULT_HISTORY)
    }

    /// With what the application says where this says nothing.
    #[must_use]
    pub fn or(&self, application: &Self) -> Self {
        let Self {
            promote,
            preview,
            ready_at_least,
            deadline,
            drain,
            keep_old,
            history,
        } = self.clone();
        Self {
            promote: promote.or_else(|| application.promote.clone()),
            preview: preview.or_else(|| application.preview.clone()),
            ready_at_least: ready_at_least.or(application.ready_at_least),
            deadline: deadline.or(application.deadline),
            drain: drain.or(application.drain),
            keep_old: keep_old.or(application.keep_old),
            history: history.or(application.history),
        }
    }
}

/// What lets requests reach a revision that is ready.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.after) || !has(self.mode) || self.mode == 'Automatic'",
    "message": "`after` must not be set with `mode: Manual`"
}]))]
pub struct Promote {
    /// `Automatic`: nobody is asked. `Manual`: somebody must promote it. Default `Automatic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PromoteMode>,
    /// How long the new revision waits, ready and checked, before it is promoted by itself.
    /// Default 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::duration_between("0s", "24h")))]
    pub after: Option<Duration>,
}

/// Who promotes a revision that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum PromoteMode {
    Automatic,
    Manual,
}

/// The new revision until it is promoted: it answers at `<service>-preview`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// How many replicas run until then. Default: as many as are to run afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: Option<i32>,
}

/// One question asked again and again: exactly one of `http`, `prometheus`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.http) != has(self.prometheus)",
    "message": "exactly one of `http`, `prometheus` must be set"
}]))]
pub struct Check {
    /// Unique in the service.
    #[schemars(length(min = 1, max = 40), regex(pattern = rules::LABEL))]
    pub name: String,
    /// Default `BeforeSwitch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<CheckTime>,
    /// A request to the new revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// A number that Prometheus knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusCheck>,
    /// Pause between two questions. Default 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::duration_between("1s", "1h")))]
    pub interval: Option<Duration>,
    /// It passes after so many good answers. Default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub count: Option<i32>,
    /// It fails with so many bad answers. Default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub failures: Option<i32>,
}

impl Check {
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
    pub const DEFAULT_COUNT: i32 = 3;
    pub const DEFAULT_FAILURES: i32 = 3;

    #[must_use]
    pub fn when(&self) -> CheckTime {
        self.when.unwrap_or(CheckTime::BeforeSwitch)
    }

    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval.unwrap_or(Self::DEFAULT_INTERVAL)
    }

    #[must_use]
    pub fn count(&self) -> i32 {
        self.count.unwrap_or(Self::DEFAULT_COUNT)
    }

    #[must_use]
    pub fn failures(&self) -> i32 {
        self.failures.unwrap_or(Self::DEFAULT_FAILURES)
    }
}

/// When a check is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum CheckTime {
    /// Through the preview, before requests reach the new revision.
    BeforeSwitch,
    /// While the previous revision drains: what fails brings it back.
    AfterSwitch,
}

/// A request to the new revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpCheck {
    /// Absolute path.
    #[schemars(length(min = 1, max = 256), regex(pattern = rules::URL_PATH))]
    pub path: String,
    /// Status of a good answer. Default 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100, max = 599))]
    pub status: Option<i32>,
    /// Text that stands in the first 64 KiB of a good answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub body: Option<String>,
}

impl HttpCheck {
    pub const DEFAULT_STATUS: i32 = 200;

    #[must_use]
    pub fn status(&self) -> i32 {
        self.status.unwrap_or(Self::DEFAULT_STATUS)
    }
}

/// A number that Prometheus knows. Without `min` and `max` any number is a good answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusCheck {
    /// Where Prometheus answers inside the cluster: `http://prometheus.monitoring:9090`.
    #[schemars(length(min = 8, max = 256), regex(pattern = rules::HTTP_ADDRESS))]
    pub url: String,
    /// PromQL that gives one number. `{{revision}}` stands for the new revision.
    #[schemars(length(min = 1, max = 1024))]
    pub query: String,
    /// A good answer is at least this decimal number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20), regex(pattern = rules::DECIMAL))]
    pub min: Option<String>,
    /// A good answer is at most this decimal number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20), regex(pattern = rules::DECIMAL))]
    pub max: Option<String>,
}

/// How a new revision of workers takes over the queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerRelease {
    /// `Handover`: the previous workers take no more jobs once the new ones are ready. `Overlap`:
    /// both take jobs until the new revision is promoted. Default `Handover`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<HandoverMode>,
    /// What lets the new revision take jobs (`Handover`), or ends the previous one's (`Overlap`).
    /// Default `{mode: Automatic}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote: Option<Promote>,
    /// How long one step may take, waiting for promotion not counted, before the new revision is
    /// held back and the previous one goes on. Default 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules::duration_between("1s", "24h")))]
    pub deadline: Option<Duration>,
    /// How many revisions can be gone back to. Default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub history: Option<i32>,
}

/// Whether two revisions take jobs at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum HandoverMode {
    Handover,
    Overlap,
}

/// All that is remembered of releases: nothing else decides what comes next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseRecord {
    /// Revision that is served; of workers, that takes jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_revision: Option<String>,
    /// Revision that was served before: what `undo` goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_revision: Option<String>,
    /// The release under way, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseStatus>,
    /// Why the declared revision is not released, if it is held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// The last command that was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandStatus>,
}

/// A release under way: the memory of its state machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseStatus {
    /// Where the release stands.
    pub phase: ReleasePhase,
    /// Revision that was served when the release began.
    pub from: String,
    /// Revision that is to be served.
    pub to: String,
    /// Size of `from` when the release began; it keeps it until the release ends.
    pub from_replicas: i32,
    /// When this phase began.
    pub since: Time,
    /// When the release began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<MicroTime>,
    /// When it was decided that requests go to `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<MicroTime>,
    /// Whether somebody has promoted `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<Promotion>,
    /// Since when nobody wants it to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_since: Option<Time>,
    /// How often all replicas of `to` were lost after the switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deaths: Option<i32>,
    /// What this phase waits for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// What comes next and when, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Where a release stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ReleasePhase {
    /// The new revision's pods are being started; requests reach the old one.
    Starting,
    /// The new revision is asked through its preview.
    Checking,
    /// The new revision waits to be promoted.
    Gated,
    /// The new revision grows from its preview to its full size.
    Scaling,
    /// The decision to switch is made: requests reach the old or the new one, both ready.
    Switching,
    /// The Service selects the new one; that it answers, and the old one is not addressed any more,
    /// is being made sure of.
    Verifying,
    /// Requests reach the new one; the old one finishes what it has.
    Draining,
    /// The old one is kept warm in fresh pods.
    Keeping,
}

impl ReleasePhase {
    pub const ALL: [Self; 8] = [
        Self::Starting,
        Self::Checking,
        Self::Gated,
        Self::Scaling,
        Self::Switching,
        Self::Verifying,
        Self::Draining,
        Self::Keeping,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "Starting",
            Self::Checking => "Checking",
            Self::Gated => "Gated",
            Self::Scaling => "Scaling",
            Self::Switching => "Switching",
            Self::Verifying => "Verifying",
            Self::Draining => "Draining",
            Self::Keeping => "Keeping",
        }
    }

    /// Whether requests still reach the old revision.
    #[must_use]
    pub const fn is_before_switch(self) -> bool {
        matches!(
            self,
            Self::Starting | Self::Checking | Self::Gated | Self::Scaling
        )
    }
}

/// How far somebody has promoted a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Promotion {
    /// Past the gate.
    Gate,
    /// Past the gate and the checks.
    Full,
}

/// Why the declared revision is not released. Another declared revision, or promoting this one,
/// ends it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// The declared revision, which is held back.
    pub revision: String,
    /// The revision that is served instead.
    pub instead: String,
    /// Why.
    pub reason: HoldReason,
    /// Why, in words.
    pub message: String,
    /// Since when.
    pub since: Time,
}

/// Why a revision is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum HoldReason {
    /// Somebody aborted its release.
    Aborted,
    /// Somebody went back to another revision.
    Undone,
    /// A step took longer than `deadline`.
    DeadlineExceeded,
    /// A check failed.
    CheckFailed,
    /// It died again and again after requests had reached it.
    Died,
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandStatus {
    /// The command as it stands in the annotation.
    pub command: String,
    /// What became of it.
    pub outcome: CommandOutcome,
    /// What was done, or why not.
    pub message: String,
    /// When it was answered.
    pub at: Time,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum CommandOutcome {
    Done,
    Refused,
}

/// A command that names its revision, so that one that is late does nothing:
/// `<verb>@<revision>`, and `#<anything>` after it to say it once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub verb: Verb,
    pub revision: String,
    pub nonce: Option<String>,
}

/// What can be commanded of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Lets the revision pass the gate.
    Promote,
    /// Lets the revision pass the gate and the checks.
    PromoteFull,
    /// Holds the revision back and goes on with the previous one.
    Abort,
    /// Goes back to the revision.
    Undo,
    /// Stops the revision's release before its next step.
    Pause,
    /// Lets the revision's release go on.
    Resume,
}

impl Verb {
    pub const ALL: [Self; 6] = [
        Self::Promote,
        Self::PromoteFull,
        Self::Abort,
        Self::Undo,
        Self::Pause,
        Self::Resume,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::PromoteFull => "promote-full",
            Self::Abort => "abort",
            Self::Undo => "undo",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

/// Text that is no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be <verb>@<revision> with a verb of promote, promote-full, abort, undo, pause, resume, such as promote@0a1b2c3d4e"
)]
pub struct InvalidCommand;

impl FromStr for Command {
    type Err = InvalidCommand;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (command, nonce) = match text.split_once('#') {
            Some((command, nonce)) => (command, Some(nonce.to_owned())),
            None => (text, None),
        };
        let (verb, revision) = command.split_once('@').ok_or(InvalidCommand)?;
        let verb = Verb::ALL.into_iter().find(|it| it.as_str() == verb);
        Ok(Self {
            verb: verb.ok_or(InvalidCommand)?,
            revision: revision.to_owned(),
            nonce,
        })
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.verb.as_str(), self.revision)?;
        match &self.nonce {
            Some(nonce) => write!(f, "#{nonce}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_as_it_is_written() {
        for verb in Verb::ALL {
            for nonce in [None, Some("2".to_owned())] {
                let command = Command {
                    verb,
                    revision: "0a1b2c3d4e".to_owned(),
                    nonce,
                };
                assert_eq!(command.to_string().parse(), Ok(command));
            }
        }
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for text in ["", "promote", "Promote@a", "delete@a", "@a", "#promote@a"] {
            assert_eq!(text.parse::<Command>(), Err(InvalidCommand), "{text}");
        }
    }

    #[test]
    fn what_a_component_says_wins_over_the_application() {
        let mine = Pace {
            drain: Some(Duration::from_secs(1)),
            ..Pace::default()
        };
        let application = Pace {
            drain: Some(Duration::from_secs(2)),
            history: Some(3),
            ..Pace::default()
        };
        let both = mine.or(&application);
        assert_eq!((both.drain(), both.history()), (Duration::from_secs(1), 3));
    }
}

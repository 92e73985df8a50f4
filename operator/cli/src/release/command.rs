//! `orlop release promote`, `abort`, `undo`, `pause`, `resume`: choose the revision, write the
//! command, and wait for its answer.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use orlop_crds::release::{
    COMMAND, Command, CommandOutcome, CommandStatus, ReleasePhase, ReleaseRecord, Verb,
};
use serde_json::json;

use super::{
    history::{self, Kept},
    print,
    released::{self, Released},
};
use crate::{Failure, apply::FIELD_MANAGER, args::Subject, cluster::Cluster};

/// The operator answers within a second; longer is not worth a person's waiting.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How often the answer is looked for.
const REFRESH: Duration = Duration::from_millis(250);
/// From here on a person wants to know what is going on.
const QUIET_FOR: Duration = Duration::from_secs(2);
/// The status changes a few times a second at most, and each change is in the way only once.
const CONFLICTS_MAX: u32 = 10;

/// What a person asks for, before it is known of which revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Promote { full: bool },
    Abort,
    Undo { to: Option<String> },
    Pause,
    Resume,
}

pub(super) async fn run(
    asked: &Asked,
    subject: &Subject,
    cluster: &Cluster,
) -> Result<(), Failure> {
    let released = released::find(&subject.name, cluster).await?;
    let title = released.title();
    let command = give(asked, released.clone(), cluster).await?;
    let answer = answer(&command, &released, cluster).await?;
    match answer.outcome {
        CommandOutcome::Done => Ok(print(&format!("{title}: {}\n", answer.message))?),
        CommandOutcome::Refused => Err(Failure::Error(anyhow!(
            "{title}: '{command}' is refused: {}",
            answer.message
        ))),
    }
}

/// Writes the command, as chosen from the state that it is written over; returns its text.
async fn give(asked: &Asked, mut released: Released, cluster: &Cluster) -> Result<String, Failure> {
    let resource = crate::cluster::resource(released.kind);
    let api: Api<DynamicObject> =
        Api::namespaced_with(cluster.client(), cluster.namespace(), &resource);
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let kept = match asked {
        Asked::Undo { to: Some(_) } => history::kept(&released, cluster).await?,
        _ => Vec::new(),
    };
    let mut conflicts = 0;
    loop {
        let command = unsaid(choose(asked, &released, &kept)?, &released).to_string();
        let patch = json!({"metadata": {
            "resourceVersion": released.metadata.resource_version,
            "annotations": {COMMAND: command},
        }});
        match api
            .patch(released.name(), &params, &Patch::Merge(&patch))
            .await
        {
            Ok(_) => return Ok(command),
            Err(kube::Error::Api(status)) if status.is_conflict() && conflicts < CONFLICTS_MAX => {
                conflicts += 1;
                released = released.again(cluster).await?;
            }
            Err(error) => {
                let failed = format!("failed to write '{command}' to {}", released.title());
                return Err(anyhow::Error::new(error).context(failed).into());
            }
        }
    }
}

/// The command that fits the state; what there is instead where none does.
fn choose(asked: &Asked, released: &Released, kept: &[Kept]) -> Result<Command, Failure> {
    let ReleaseRecord {
        previous_revision,
        release,
        hold,
        ..
    } = &released.record;
    let coming = release.as_ref().map(|release| &release.to);
    let (verb, revision) = match asked {
        Asked::Promote { full } => {
            let gated = release
                .as_ref()
                .filter(|release| release.phase == ReleasePhase::Gated)
                .map(|release| &release.to);
            let held = hold.as_ref().map(|hold| &hold.revision);
            let verb = if *full {
                Verb::PromoteFull
            } else {
                Verb::Promote
            };
            // While another revision takes the place of the one held back, the latter is meant.
            (verb, gated.or(held).or(coming).cloned())
        }
        Asked::Abort => (Verb::Abort, coming.cloned()),
        Asked::Undo { to: Some(said) } => (Verb::Undo, Some(history::meant(said, released, kept)?)),
        Asked::Undo { to: None } => {
            let from = release.as_ref().map(|release| &release.from);
            (Verb::Undo, from.or(previous_revision.as_ref()).cloned())
        }
        Asked::Pause => (Verb::Pause, coming.cloned()),
        Asked::Resume => (Verb::Resume, coming.cloned()),
    };
    match revision {
        Some(revision) => Ok(Command {
            verb,
            revision,
            nonce: None,
        }),
        None => Err(Failure::Unfit(format!(
            "there is nothing to {}: {}",
            verb.as_str().trim_end_matches("-full"),
            told(released)
        ))),
    }
}

/// What there is, where a command has nothing to speak of.
fn told(released: &Released) -> String {
    let title = released.title();
    let record = &released.record;
    let served = match (&record.release, &record.active_revision) {
        (Some(release), _) => format!(
            "{title} goes from revision {} to {}",
            release.from, release.to
        ),
        (None, Some(active)) => format!("{title} serves revision {active} and releases no other"),
        (None, None) => format!("no revision of {title} is served yet"),
    };
    let held = record.hold.as_ref();
    let held = held.map(|hold| format!("revision {} is held back", hold.revision));
    let unseen = "the operator has not looked at its present spec yet";
    let unseen = (!released.is_seen).then(|| unseen.to_owned());
    let told: Vec<_> = [Some(served), held, unseen].into_iter().flatten().collect();
    told.join("; ")
}

/// As a text that is not the last one: the same text would not be answered again.
fn unsaid(command: Command, released: &Released) -> Command {
    let answered = released.record.command.as_ref();
    let said = released
        .commanded()
        .into_iter()
        .chain(answered.map(|answer| answer.command.as_str()))
        .filter_map(|text| text.parse::<Command>().ok())
        .filter(|said| said.verb == command.verb && said.revision == command.revision)
        .map(|said| said.nonce.and_then(|nonce| nonce.parse().ok()).unwrap_or(1))
        .max();
    Command {
        nonce: said.map(|times: u32| times.saturating_add(1).to_string()),
        ..command
    }
}

/// Waits until the operator has answered the command.
async fn answer(
    command: &str,
    released: &Released,
    cluster: &Cluster,
) -> anyhow::Result<CommandStatus> {
    let began = Instant::now();
    let mut is_told = false;
    loop {
        let late = began.elapsed() >= ANSWER_WITHIN;
        match released.again(cluster).await {
            Ok(now) => {
                if let Some(answer) = answered(command, &now)? {
                    return Ok(answer);
                }
                if late {
                    return Err(unanswered(command, &now));
                }
            }
            Err(error) if late => {
                return Err(error.context(format!(
                    "'{command}' is given, but its answer cannot be read"
                )));
            }
            // An API server that is restarted right now may still give the answer.
            Err(_) => {}
        }
        if !is_told && began.elapsed() >= QUIET_FOR {
            is_told = true;
            eprintln!("'{command}' is given; waiting for the operator to answer");
        }
        tokio::time::sleep(REFRESH).await;
    }
}

/// The answer, if there is one; an error once there can be none any more.
fn answered(command: &str, now: &Released) -> anyhow::Result<Option<CommandStatus>> {
    let answer = now.record.command.as_ref();
    if let Some(answer) = answer.filter(|answer| answer.command == command) {
        return Ok(Some(answer.clone()));
    }
    match now.commanded() {
        Some(standing) if standing == command => Ok(None),
        Some(other) => Err(anyhow!(
            "somebody else commanded '{other}' of {} before the answer to '{command}' was seen",
            now.title()
        )),
        None => Err(anyhow!(
            "somebody took '{command}' away from {} before its answer was seen",
            now.title()
        )),
    }
}

fn unanswered(command: &str, now: &Released) -> anyhow::Error {
    let namespace = now.metadata.namespace.as_deref().unwrap_or_default();
    anyhow!(
        "the operator did not answer within {} s: '{command}' stands in the annotation {COMMAND} of {} and is obeyed as soon as it does. Look whether it runs: `kubectl get pods -A -l app.kubernetes.io/name=orlop-operator`; to take the command back: `kubectl annotate {} {} -n {namespace} {COMMAND}-`",
        ANSWER_WITHIN.as_secs(),
        now.title(),
        now.kind.to_lowercase(),
        now.name(),
    )
}

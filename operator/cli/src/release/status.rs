//! `orlop release status`: what is served, where the release stands, what it waits for, what comes
//! next.

use std::time::Duration;

use jiff::Timestamp;
use orlop_crds::release::{CommandOutcome, Promotion, ReleasePhase, ReleaseRecord, ReleaseStatus};
use serde::Serialize;

use super::{
    print, print_value,
    released::{self, Released},
};
use crate::{
    Failure,
    args::{self, Format},
    cluster::Cluster,
    status::age,
    terminal::{Mood, Style},
};

/// How often a watched release is read again.
const REFRESH: Duration = Duration::from_millis(500);
/// Half a minute in which an API server may be restarted.
const FAILED_READS_MAX: u32 = 60;

pub(super) async fn run(args: &args::ReleaseStatus, cluster: &Cluster) -> Result<(), Failure> {
    let released = released::find(&args.subject.name, cluster).await?;
    if let Some(format) = args.output {
        return Ok(print_stored(&released, format)?);
    }
    if args.watch {
        return watch(released, cluster).await;
    }
    let style = Style::of(&std::io::stdout());
    Ok(print(&joined(&lines(&released, style, Timestamp::now())))?)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stored<'a> {
    kind: &'a str,
    namespace: Option<&'a str>,
    name: &'a str,
    /// Whether the operator has seen the spec as it stands now.
    observed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    declared_revision: Option<&'a str>,
    #[serde(flatten)]
    record: &'a ReleaseRecord,
}

fn print_stored(released: &Released, format: Format) -> anyhow::Result<()> {
    let stored = Stored {
        kind: released.kind,
        namespace: released.metadata.namespace.as_deref(),
        name: released.name(),
        observed: released.is_seen,
        declared_revision: released.declared(),
        record: &released.record,
    };
    print_value(&stored, format)
}

/// Prints what changes until the release has ended.
async fn watch(mut released: Released, cluster: &Cluster) -> Result<(), Failure> {
    let style = Style::of(&std::io::stdout());
    let mut before: Option<(Released, Vec<String>)> = None;
    let mut failed_reads = 0;
    loop {
        let shown = before.as_ref().map(|(released, _)| told_of(released));
        if shown != Some(told_of(&released)) {
            let lines = lines(&released, style, Timestamp::now());
            let known = before.as_ref().map_or(&[][..], |(_, lines)| lines);
            let new: Vec<_> = lines.iter().filter(|line| !known.contains(line)).collect();
            print(&joined(&new))?;
            before = Some((released.clone(), lines));
        }
        if let Some(ended) = ended(&released) {
            return ended;
        }
        tokio::time::sleep(REFRESH).await;
        match released.again(cluster).await {
            Ok(now) => {
                released = now;
                failed_reads = 0;
            }
            Err(error) => {
                failed_reads += 1;
                if failed_reads >= FAILED_READS_MAX || is_final(&error) {
                    return Err(error.into());
                }
            }
        }
    }
}

/// What a watcher is told of; ages and counters outside of it say nothing new.
fn told_of(released: &Released) -> (&ReleaseRecord, bool, &str) {
    (&released.record, released.is_seen, &released.summary)
}

/// Whether asking again gives the same: the object is gone, or may not be read.
fn is_final(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => (400..500).contains(&status.code) && status.code != 429,
        Some(_) => false,
        None => true,
    }
}

/// How it ended, once it has.
fn ended(released: &Released) -> Option<Result<(), Failure>> {
    let record = &released.record;
    if !released.is_seen || record.release.is_some() {
        return None;
    }
    match (&record.hold, &record.active_revision) {
        (Some(hold), _) => Some(Err(Failure::NotReady(format!(
            "{}: revision {} is held back, {} is served: {}",
            released.title(),
            hold.revision,
            hold.instead,
            hold.message
        )))),
        (None, Some(_)) => Some(Ok(())),
        (None, None) => None,
    }
}

fn joined<T: AsRef<str>>(lines: &[T]) -> String {
    let lines = lines.iter();
    lines.flat_map(|line| [line.as_ref(), "\n"]).collect()
}

fn lines(released: &Released, style: Style, now: Timestamp) -> Vec<String> {
    let ReleaseRecord {
        active_revision,
        previous_revision,
        release,
        hold,
        command,
    } = &released.record;
    let served = match active_revision {
        Some(revision) => format!("revision {revision} is served, {} ready", released.summary),
        None => "no revision is served yet".to_owned(),
    };
    let mut lines = vec![format!("{}: {served}", released.title())];
    let mut say = |name: &str, text: &str| lines.push(format!("  {name:<10}{text}"));
    if !released.is_seen {
        say("spec", "the operator has not looked at it yet");
    }
    match release {
        Some(release) => say_release(release, &released.phases, style, now, &mut say),
        None => say("release", "none is under way"),
    }
    if let Some(hold) = hold {
        let held = format!("revision {} is held back", hold.revision);
        say("hold", &style.paint(&held, Mood::Bad));
        say("because", &hold.message);
        say("since", &since(hold.since.0, now));
        say(
            "to end it",
            &format!("{}, or declare another", released.verb("promote")),
        );
    } else if let (None, Some(previous)) = (release, previous_revision) {
        say(
            "before",
            &format!("revision {previous}; back to it: {}", released.verb("undo")),
        );
    }
    if let Some(answer) = command {
        let outcome = match answer.outcome {
            CommandOutcome::Done => style.paint("done", Mood::Good),
            CommandOutcome::Refused => style.paint("refused", Mood::Bad),
        };
        let ago = age(answer.at.0, now);
        say(
            "command",
            &format!(
                "{}, {ago} ago: {outcome}: {}",
                answer.command, answer.message
            ),
        );
    }
    let answered = command.as_ref().map(|answer| answer.command.as_str());
    if let Some(open) = released.commanded().filter(|open| Some(*open) != answered) {
        say("command", &format!("{open}: not answered yet"));
    }
    lines
}

fn say_release(
    release: &ReleaseStatus,
    phases: &[ReleasePhase],
    style: Style,
    now: Timestamp,
    say: &mut impl FnMut(&str, &str),
) {
    let ReleaseStatus {
        phase,
        from,
        to,
        from_replicas: _,
        since: phase_since,
        begun,
        decided: _,
        promoted,
        paused_since,
        deaths,
        waits_for,
        next,
    } = release;
    let begun = begun.as_ref().map_or(phase_since.0, |begun| begun.0);
    let ago = age(begun, now);
    say("release", &format!("{from} -> {to}, begun {ago} ago"));
    say("phase", &picture(*phase, phases, style));
    say("since", &since(phase_since.0, now));
    if let Some(paused) = paused_since {
        let paused = format!("since {}", since(paused.0, now));
        say("paused", &style.paint(&paused, Mood::Waiting));
    }
    match promoted {
        Some(Promotion::Gate) => say("promoted", "past the gate"),
        Some(Promotion::Full) => say("promoted", "past the gate and the checks"),
        None => {}
    }
    if let Some(deaths @ 1..) = *deaths {
        let times = if deaths == 1 { "once" } else { "again" };
        let died = format!("all replicas of {to} were lost {times} after the switch");
        say("deaths", &style.paint(&died, Mood::Bad));
    }
    if let Some(waits_for) = waits_for {
        say("waits for", waits_for);
    }
    if let Some(next) = next {
        say("next", next);
    }
}

/// The phases in a row: what is over, where it stands in brackets, what may come.
fn picture(phase: ReleasePhase, phases: &[ReleasePhase], style: Style) -> String {
    let Some(here) = phases.iter().position(|it| *it == phase) else {
        return style.paint(&format!("[{}]", phase.as_str()), Mood::Waiting);
    };
    let words: Vec<_> = phases
        .iter()
        .enumerate()
        .map(|(position, phase)| match position.cmp(&here) {
            std::cmp::Ordering::Less => style.paint(phase.as_str(), Mood::Good),
            std::cmp::Ordering::Equal => {
                style.paint(&format!("[{}]", phase.as_str()), Mood::Waiting)
            }
            std::cmp::Ordering::Greater => phase.as_str().to_owned(),
        })
        .collect();
    words.join(" > ")
}

fn since(then: Timestamp, now: Timestamp) -> String {
    format!("{then} ({})", age(then, now))
}

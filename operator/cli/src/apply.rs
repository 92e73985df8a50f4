//! `orlop apply`: judge, give to the cluster, and wait.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
};
use orlop_crds::Reason;

use crate::{
    Failure,
    args::{Apply, Connection},
    cluster::{self, Cluster},
    manifest::{self, Manifest, Source},
    report::Report,
    terminal::{Mood, Style},
    why,
};

pub(crate) const FIELD_MANAGER: &str = "orlop-cli";
/// How often the status is read while waiting.
const REFRESH: Duration = Duration::from_millis(500);
/// A stall shorter than this may heal without its author: a Secret that is applied right after.
const STALL_PATIENCE: Duration = Duration::from_secs(15);

pub(crate) async fn run(args: &Apply, connection: &Connection) -> Result<(), Failure> {
    let judged = manifest::read(&args.files.files)?;
    let cluster = Cluster::connect(connection).await?;
    let mut applied = Vec::new();
    for manifest in &judged.manifests {
        let namespace = connection.namespace.as_deref().or(manifest.namespace());
        let namespace = namespace.unwrap_or(cluster.namespace()).to_owned();
        apply(
            &cluster.client(),
            manifest,
            &namespace,
            args.force_conflicts,
        )
        .await?;
        applied.push(Applied {
            manifest,
            namespace,
        });
    }
    if !args.wait {
        return Ok(());
    }
    match wait(&cluster, &applied, args.timeout).await? {
        Ended::Ready => Ok(()),
        Ended::Stalled(reports) => {
            let why = explain(&cluster, &reports, &judged.sources).await?;
            Err(Failure::NotReady(why))
        }
        Ended::Undecided(reports) => {
            let why = explain(&cluster, &reports, &judged.sources).await?;
            let undecided = format!("{why}\nnothing goes on by itself: it waits for your decision");
            Err(Failure::NotReady(undecided))
        }
        Ended::Late(reports) => {
            let why = explain(&cluster, &reports, &judged.sources).await?;
            let late = format!("{why}\nnot ready within {} s", args.timeout.as_secs());
            Err(Failure::NotReady(late))
        }
    }
}

struct Applied<'a> {
    manifest: &'a Manifest,
    namespace: String,
}

async fn apply(
    client: &Client,
    manifest: &Manifest,
    namespace: &str,
    force: bool,
) -> anyhow::Result<()> {
    let kind = manifest.declared.kind();
    let resource = cluster::resource(kind);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let mut params = PatchParams::apply(FIELD_MANAGER).validation_strict();
    params.force = force;
    let mut object = manifest.value.clone();
    object["metadata"]["namespace"] = namespace.into();
    let name = manifest.name();
    api.patch(name, &params, &Patch::Apply(&object))
        .await
        .with_context(|| format!("failed to apply {kind}/{name} in {namespace}"))?;
    println!("{kind}/{name} applied in {namespace}");
    Ok(())
}

/// How waiting ends.
enum Ended {
    Ready,
    /// Something stays stalled: waiting longer would not help.
    Stalled(Vec<Report>),
    /// All that is not ready waits for somebody to promote it, or is held back.
    Undecided(Vec<Report>),
    Late(Vec<Report>),
}

async fn wait(
    cluster: &Cluster,
    applied: &[Applied<'_>],
    timeout: Duration,
) -> anyhow::Result<Ended> {
    let deadline = Instant::now() + timeout;
    let mut progress = Progress::new();
    let mut stalled_since: Option<Instant> = None;
    loop {
        let mut reports = Vec::new();
        for object in applied {
            reports.push(read(cluster, object).await?);
        }
        progress.show(&reports)?;
        if reports.iter().all(|report| report.ready) {
            return Ok(Ended::Ready);
        }
        if is_undecided(&reports) && !goes_on_by_itself(cluster, &reports).await? {
            return Ok(Ended::Undecided(reports));
        }
        if reports.iter().any(|report| report.stalled) {
            stalled_since.get_or_insert_with(Instant::now);
        } else {
            stalled_since = None;
        }
        if stalled_since.is_some_and(|since| since.elapsed() >= STALL_PATIENCE) {
            return Ok(Ended::Stalled(reports));
        }
        if Instant::now() >= deadline {
            return Ok(Ended::Late(reports));
        }
        tokio::time::sleep(REFRESH).await;
    }
}

/// Whether whatever is not ready is a matter of a person's decision on a release. What else is on
/// its way still gets its time.
fn is_undecided(reports: &[Report]) -> bool {
    let is_matter_of_release =
        |reason: Reason| matches!(reason, Reason::AwaitingPromotion | Reason::ReleaseHeld);
    let mut waiting = reports.iter().filter(|report| !report.ready);
    waiting.all(|report| {
        let mut parts = report.components.iter().filter(|part| !part.ready);
        let is_decided_by_release = report.known_reason().is_some_and(is_matter_of_release)
            && parts.all(|part| is_matter_of_release(part.reason));
        is_decided_by_release || report.serving.is_paused()
    })
}

/// Whether a revision that waits to be promoted is promoted by itself when its time has come.
async fn goes_on_by_itself(cluster: &Cluster, reports: &[Report]) -> anyhow::Result<bool> {
    for report in reports.iter().filter(|report| !report.ready) {
        let waiting = |part: &Report| {
            let is_part = part.name == report.name && part.kind == report.kind
                || part.application.as_ref() == Some(&report.name) && report.kind == "AppPlatform";
            let waits = part.known_reason() == Some(Reason::AwaitingPromotion);
            is_part && waits && !part.serving.asks && !part.serving.is_paused()
        };
        let parts = cluster.released(&report.namespace).await?;
        if parts.iter().any(waiting) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn read(cluster: &Cluster, applied: &Applied<'_>) -> anyhow::Result<Report> {
    let (name, namespace) = (applied.manifest.name(), &applied.namespace);
    let kind = applied.manifest.declared.kind();
    let found = cluster.get(kind, name, namespace).await?;
    let found = found.with_context(|| format!("{kind}/{name} was deleted in {namespace}"))?;
    Ok(found.report())
}

async fn explain(
    cluster: &Cluster,
    reports: &[Report],
    sources: &[Source],
) -> anyhow::Result<String> {
    let style = Style::of(&std::io::stderr());
    let mut explained = Vec::new();
    for report in reports.iter().filter(|report| !report.ready) {
        let parts = cluster.released(&report.namespace).await?;
        explained.push(why::explain(report, &parts, sources, style));
    }
    Ok(explained.join("\n"))
}

/// One line a part, drawn again in place on a terminal and printed on change elsewhere.
struct Progress {
    style: Style,
    is_live: bool,
    shown: Vec<String>,
}

impl Progress {
    fn new() -> Self {
        let out = std::io::stdout();
        Self {
            style: Style::of(&out),
            is_live: std::io::IsTerminal::is_terminal(&out),
            shown: Vec::new(),
        }
    }

    fn show(&mut self, reports: &[Report]) -> anyhow::Result<()> {
        let lines: Vec<_> = reports
            .iter()
            .flat_map(|report| lines(report, self.style))
            .collect();
        if lines == self.shown {
            return Ok(());
        }
        let text = if self.is_live {
            redrawn(self.shown.len(), &lines)
        } else {
            let changed = lines.iter().filter(|line| !self.shown.contains(line));
            changed.flat_map(|line| [line, "\n"]).collect()
        };
        self.shown = lines;
        let written = std::io::stdout().lock().write_all(text.as_bytes());
        written.context("failed to write to standard output")
    }
}

/// Goes up over what was drawn before, and draws each line on a cleared one.
fn redrawn(before: usize, lines: &[String]) -> String {
    let up = match before {
        0 => String::new(),
        lines => format!("\x1b[{lines}A"),
    };
    let cleared: String = lines
        .iter()
        .flat_map(|line| ["\x1b[2K", line, "\n"])
        .collect();
    format!("{up}{cleared}\x1b[J")
}

/// An application and each of its components, or a service.
fn lines(report: &Report, style: Style) -> Vec<String> {
    let line = |name: &str, ready: bool, stalled: bool, reason: &str, count: &str| {
        let mood = match (ready, stalled) {
            (true, _) => Mood::Good,
            (false, false) => Mood::Waiting,
            (false, true) => Mood::Bad,
        };
        format!("{name}: {} {count}", style.paint(reason, mood))
            .trim_end()
            .to_owned()
    };
    let mut lines: Vec<_> = report
        .components
        .iter()
        .map(|part| {
            let name = format!("  {}/{}", report.name, part.name);
            let count = part.replicas.as_deref().unwrap_or_default();
            let stalled = !part.reason.is_transient();
            line(&name, part.ready, stalled, part.reason.as_str(), count)
        })
        .collect();
    lines.push(line(
        &report.title(),
        report.ready,
        report.stalled,
        &report.reason,
        &report.summary,
    ));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_drawn_over_and_left_without_remains() {
        let lines = ["a: Starting".to_owned(), "b: Available 1/1".to_owned()];
        assert_eq!(
            redrawn(2, &lines),
            "\x1b[2A\x1b[2Ka: Starting\n\x1b[2Kb: Available 1/1\n\x1b[J"
        );
        assert!(redrawn(0, &lines).starts_with("\x1b[2Ka"));
    }
}

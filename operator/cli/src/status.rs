//! `orlop status`: what there is, and whether it is ready.

use std::{io::Write as _, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use orlop_crds::Reason;
use serde_json::Value;

use crate::{
    Failure,
    args::{Connection, Format, Status, StatusFormat},
    cluster::{Cluster, Found, Scope},
    declared::Declared,
    render,
    report::Report,
    terminal::{Cell, Mood, Style},
};

/// How often a watched status is read again.
const REFRESH: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: &Status, connection: &Connection) -> Result<(), Failure> {
    let cluster = Cluster::connect(connection).await?;
    match args.output {
        Some(StatusFormat::Json) => print_stored(&find(args, &cluster).await?, Format::Json)?,
        Some(StatusFormat::Yaml) => print_stored(&find(args, &cluster).await?, Format::Yaml)?,
        _ if args.watch => watch(args, &cluster).await?,
        _ => print(&table(
            args,
            &find(args, &cluster).await?.reports(),
            Timestamp::now(),
        ))?,
    }
    Ok(())
}

async fn find(args: &Status, cluster: &Cluster) -> anyhow::Result<Found> {
    match &args.name {
        Some(name) => cluster.named(name).await,
        None if args.all_namespaces => cluster.find(Scope::All).await,
        None => cluster.find(Scope::Namespace).await,
    }
}

/// Prints the table again whenever something else than an age has changed, until it is ended.
async fn watch(args: &Status, cluster: &Cluster) -> anyhow::Result<()> {
    let mut shown = None;
    loop {
        let reports = find(args, cluster).await?.reports();
        if shown.as_ref() != Some(&reports) {
            print(&table(args, &reports, Timestamp::now()))?;
            shown = Some(reports);
        }
        tokio::time::sleep(REFRESH).await;
    }
}

fn print_stored(found: &Found, format: Format) -> anyhow::Result<()> {
    let objects = found
        .objects
        .iter()
        .map(Declared::to_value)
        .collect::<Result<Vec<Value>, _>>()?;
    render::print(&objects, format)
}

fn print(text: &str) -> anyhow::Result<()> {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.context("failed to write to standard output")
}

fn table(args: &Status, reports: &[Report], now: Timestamp) -> String {
    let style = Style::of(&std::io::stdout());
    let columns = Columns {
        namespaces: args.all_namespaces,
        wide: args.output == Some(StatusFormat::Wide),
    };
    match (&args.name, reports) {
        (Some(_), [report]) => one(report, style),
        _ => all(reports, columns, style, now),
    }
}

#[derive(Clone, Copy)]
struct Columns {
    namespaces: bool,
    wide: bool,
}

/// One line an object. Components of applications are left out unless asked for: their application
/// tells of them.
fn all(reports: &[Report], columns: Columns, style: Style, now: Timestamp) -> String {
    let mut head = vec!["KIND", "NAME", "READY", "REASON", "SUMMARY", "AGE"];
    if columns.namespaces {
        head.insert(0, "NAMESPACE");
    }
    if columns.wide {
        head.extend(["ENDPOINT", "MESSAGE"]);
    }
    let shown = reports
        .iter()
        .filter(|report| columns.wide || report.application.is_none());
    let rows: Vec<_> = shown.map(|report| row(report, columns, now)).collect();
    if rows.is_empty() {
        return "nothing is declared here; `orlop init` writes a first manifest\n".to_owned();
    }
    style.table(&head, &rows)
}

fn row(report: &Report, columns: Columns, now: Timestamp) -> Vec<Cell> {
    let mood = mood(report.ready, report.stalled);
    let mut row = vec![
        Cell::plain(report.kind),
        Cell::plain(&report.name),
        Cell::new(yes_no(report.ready), mood),
        Cell::new(&report.reason, mood),
        Cell::plain(&report.summary),
        Cell::plain(
            report
                .created
                .map_or_else(String::new, |then| age(then, now)),
        ),
    ];
    if columns.namespaces {
        row.insert(0, Cell::plain(&report.namespace));
    }
    if columns.wide {
        row.extend([Cell::plain(&report.endpoint), Cell::plain(&report.message)]);
    }
    row
}

/// One object with its components.
fn one(report: &Report, style: Style) -> String {
    let verdict = style.paint(&report.reason, mood(report.ready, report.stalled));
    let mut lines = vec![format!("{}  {verdict}  {}", report.title(), report.summary)];
    if !report.endpoint.is_empty() {
        lines.push(report.endpoint.clone());
    }
    if !report.ready {
        lines.push(report.message.clone());
    }
    if let Some(revision) = &report.serving.revision {
        lines.push(format!("revision {revision} is served"));
    }
    lines.extend(release(report));
    lines.push(String::new());
    if !report.components.is_empty() {
        let rows: Vec<_> = report.components.iter().map(component).collect();
        let head = [
            "COMPONENT",
            "READY",
            "REASON",
            "REVISION",
            "REPLICAS",
            "ENDPOINT",
        ];
        lines.push(style.table(&head, &rows));
    }
    lines.join("\n")
}

/// What is under way or held back, for which `orlop release status` has more words.
fn release(report: &Report) -> impl Iterator<Item = String> {
    let under_way = report.serving.release.as_ref().map(|release| {
        let paused = match release.paused_since {
            Some(_) => ", paused",
            None => "",
        };
        let phase = release.phase.as_str();
        format!(
            "release {} -> {}: {phase}{paused}",
            release.from, release.to
        )
    });
    // Where the hold is the reason, the message has told of it.
    let held = report.serving.hold.as_ref();
    let held = held
        .filter(|_| report.known_reason() != Some(Reason::ReleaseHeld))
        .map(|hold| format!("revision {} is held back: {}", hold.revision, hold.message));
    under_way.into_iter().chain(held)
}

fn component(component: &orlop_crds::app_platform::ComponentStatus) -> Vec<Cell> {
    let stalled = !component.reason.is_transient();
    let mood = mood(component.ready, stalled);
    let text = |value: &Option<String>| Cell::plain(value.clone().unwrap_or_default());
    vec![
        Cell::plain(&component.name),
        Cell::new(yes_no(component.ready), mood),
        Cell::new(component.reason.as_str(), mood),
        text(&component.revision),
        text(&component.replicas),
        text(&component.endpoint),
    ]
}

fn mood(ready: bool, stalled: bool) -> Mood {
    match (ready, stalled) {
        (true, _) => Mood::Good,
        (false, false) => Mood::Waiting,
        (false, true) => Mood::Bad,
    }
}

fn yes_no(ready: bool) -> &'static str {
    if ready { "True" } else { "False" }
}

/// As kubectl tells ages, with one unit: `45s`, `12m`, `7h`, `3d`.
pub(crate) fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use orlop_crds::{AppPlatform, AppService};
    use serde_json::json;

    use super::*;

    fn platform() -> Report {
        let object: AppPlatform = serde_json::from_value(json!({
            "apiVersion": "orlop.dev/v1alpha1",
            "kind": "AppPlatform",
            "metadata": {"name": "shop", "namespace": "lantern", "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {},
            "status": {
                "summary": "1/2",
                "endpoint": "http://shop-edge.lantern.svc.cluster.local",
                "conditions": [
                    {"type": "Ready", "status": "False", "reason": "ImagePullFailed", "observedGeneration": 3,
                     "message": "web/Pod/shop-web-1: the image cannot be fetched; correct `image`", "lastTransitionTime": "2026-01-01T00:01:00Z"},
                    {"type": "Stalled", "status": "True", "reason": "ImagePullFailed", "observedGeneration": 3,
                     "message": "", "lastTransitionTime": "2026-01-01T00:01:00Z"},
                ],
                "components": [
                    {"name": "web", "kind": "AppService", "ready": false, "reason": "ImagePullFailed", "replicas": "0/2"},
                    {"name": "edge", "kind": "Deployment", "ready": true, "reason": "Available", "replicas": "2/2"},
                ],
            },
        }))
        .unwrap();
        Report::from(&object)
    }

    fn service() -> Report {
        let object: AppService = serde_json::from_value(json!({
            "apiVersion": "orlop.dev/v1alpha1",
            "kind": "AppService",
            "metadata": {"name": "shop-web", "namespace": "lantern", "generation": 2,
                "labels": {"orlop.dev/owner-kind": "AppPlatform", "orlop.dev/owner-name": "shop"}},
            "spec": {"image": "web", "port": 80},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "reason": "Available", "observedGeneration": 1, "message": "", "lastTransitionTime": "2026-01-01T00:01:00Z"},
            ]},
        }))
        .unwrap();
        Report::from(&object)
    }

    #[test]
    fn the_table_tells_of_applications_and_of_their_services_only_when_wide() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let reports = [platform(), service()];
        let columns = |namespaces, wide| Columns { namespaces, wide };
        assert_eq!(
            all(&reports, columns(false, false), Style::PLAIN, now),
            "\
KIND         NAME  READY  REASON           SUMMARY  AGE
AppPlatform  shop  False  ImagePullFailed  1/2      10m
"
        );
        let wide = all(&reports, columns(true, true), Style::PLAIN, now);
        assert!(wide.starts_with("NAMESPACE  KIND"), "{wide}");
        assert!(wide.contains("AppService   shop-web"), "{wide}");
        assert!(wide.contains("the image cannot be fetched"), "{wide}");
    }

    #[test]
    fn one_application_is_told_with_its_components() {
        assert_eq!(
            one(&platform(), Style::PLAIN),
            "\
AppPlatform/shop  ImagePullFailed  1/2
http://shop-edge.lantern.svc.cluster.local
web/Pod/shop-web-1: the image cannot be fetched; correct `image`

COMPONENT  READY  REASON           REVISION  REPLICAS  ENDPOINT
web        False  ImagePullFailed            0/2
edge       True   Available                  2/2
"
        );
    }

    #[test]
    fn one_service_is_told_with_its_release_and_what_is_held_back() {
        let object: AppService = serde_json::from_value(json!({
            "apiVersion": "orlop.dev/v1alpha1",
            "kind": "AppService",
            "metadata": {"name": "shop-web", "namespace": "lantern", "generation": 2},
            "spec": {"image": "web", "port": 80},
            "status": {
                "summary": "2/2",
                "activeRevision": "0a0a0a0a0a",
                "release": {"phase": "Starting", "from": "0a0a0a0a0a", "to": "0b0b0b0b0b",
                    "fromReplicas": 2, "begun": "2026-01-01T00:00:00.000000Z",
                    "since": "2026-01-01T00:00:00Z", "pausedSince": "2026-01-01T00:00:01Z"},
                "hold": {"revision": "0c0c0c0c0c", "instead": "0b0b0b0b0b", "reason": "Undone",
                    "message": "somebody went back", "since": "2026-01-01T00:00:00Z"},
                "conditions": [
                    {"type": "Ready", "status": "False", "reason": "Starting", "observedGeneration": 2,
                     "message": "0 of 2 replicas are ready", "lastTransitionTime": "2026-01-01T00:01:00Z"},
                ],
            },
        }))
        .unwrap();
        assert_eq!(
            one(&Report::from(&object), Style::PLAIN),
            "\
AppService/shop-web  Starting  2/2
0 of 2 replicas are ready
revision 0a0a0a0a0a is served
release 0a0a0a0a0a -> 0b0b0b0b0b: Starting, paused
revision 0c0c0c0c0c is held back: somebody went back
"
        );
    }

    #[test]
    fn a_verdict_on_an_older_spec_counts_for_nothing() {
        let service = service();
        assert!(!service.ready);
        assert_eq!(service.reason, "Progressing");
    }

    #[test]
    fn ages_are_told_in_one_unit() {
        let then = Timestamp::UNIX_EPOCH;
        for (seconds, text) in [(5, "5s"), (300, "5m"), (10_800, "3h"), (259_200, "3d")] {
            let now = Timestamp::from_second(seconds).unwrap();
            assert_eq!(age(then, now), text);
        }
    }
}

//! `orlop why`: cause, fix, place, what users notice, how to undo.

use std::io::Write as _;

use anyhow::Context as _;
use orlop_crds::{Reason, release::ReleasePhase};
use serde_json::Value;

use crate::{
    Failure,
    args::{Connection, Why},
    cluster::{Cluster, Scope},
    declared::Declared,
    manifest::Source,
    report::{Report, Serving},
    terminal::{Mood, Style},
};

pub(crate) async fn run(args: &Why, connection: &Connection) -> Result<(), Failure> {
    let source = args.file.as_deref().map(Source::read).transpose()?;
    let sources: Vec<_> = source.into_iter().collect();
    let cluster = Cluster::connect(connection).await?;
    let found = match &args.name {
        Some(name) => cluster.named(name).await?,
        None if args.all_namespaces => cluster.find(Scope::All).await?,
        None => cluster.find(Scope::Namespace).await?,
    };
    // An application speaks for its parts: which revision of them serves is theirs to tell.
    let parts = match &args.name {
        Some(_) => cluster.released(cluster.namespace()).await?,
        None => found.reports(),
    };
    let reports = found.reports();
    let asked: Vec<_> = reports
        .iter()
        .filter(|report| args.name.is_some() || report.application.is_none())
        .collect();
    let style = Style::of(&std::io::stdout());
    let explained: Vec<_> = asked
        .iter()
        .filter(|report| !report.ready)
        .map(|report| explain(report, &parts, &sources, style))
        .collect();
    let text = match (asked.as_slice(), explained.is_empty()) {
        ([], _) => "nothing is declared here\n".to_owned(),
        ([report], true) => format!("{} is ready: {}\n", report.title(), report.message),
        (all, true) => format!("all {} are ready\n", all.len()),
        (_, false) => explained.join("\n") + "\n",
    };
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.context("failed to write to standard output")?;
    if explained.is_empty() {
        Ok(())
    } else {
        let names: Vec<_> = asked
            .iter()
            .filter(|report| !report.ready)
            .map(|report| report.title())
            .collect();
        Err(Failure::NotReady(format!(
            "not ready: {}",
            names.join(", ")
        )))
    }
}

/// Everything that is to be said of one object that is not ready.
pub(crate) fn explain(
    report: &Report,
    parts: &[Report],
    sources: &[Source],
    style: Style,
) -> String {
    let reason = report.known_reason();
    let mood = if report.stalled {
        Mood::Bad
    } else {
        Mood::Waiting
    };
    let cause = Cause::read(&report.message, reason);
    let part = affected(report, &cause, parts);
    let mut lines = vec![format!(
        "{} is not ready: {}",
        report.title(),
        style.paint(&report.reason, mood)
    )];
    let mut say = |name: &str, text: &str| lines.push(format!("  {name:<6} {text}"));
    say("cause", &cause.text);
    if let Some(reason) = reason {
        say("fix", &fix(reason, part));
    }
    let in_source = |source| place(source, report, &cause, reason);
    if let Some(place) = sources.iter().find_map(in_source) {
        say("place", &place);
    }
    say("users", &noticed(report, &cause, part));
    say("undo", &undo(report, part));
    lines.join("\n")
}

/// The message of the `Ready` condition, taken apart.
struct Cause {
    /// Component that it speaks of; empty where it speaks of none.
    component: String,
    /// Without the fix, which is said by itself.
    text: String,
}

impl Cause {
    /// The grammar is `<component>/<Kind>/<name>: <cause>; <fix>`, which may go on.
    fn read(message: &str, reason: Option<Reason>) -> Self {
        let component = match message.split_once(": ") {
            Some((subject, _)) if subject.matches('/').count() == 2 => subject.split('/').next(),
            _ => None,
        };
        let fix = reason.map_or_else(String::new, |reason| format!("; {}", reason.fix()));
        Self {
            component: component.unwrap_or_default().to_owned(),
            text: message.replacen(&fix, "", 1),
        }
    }
}

/// What the cause is about and is released by revisions: the object itself, or a part of the
/// application.
fn affected<'a>(report: &'a Report, cause: &Cause, parts: &'a [Report]) -> Option<&'a Report> {
    if Declared::RELEASED.contains(&report.kind) {
        return Some(report);
    }
    let name = format!("{}-{}", report.name, cause.component);
    parts
        .iter()
        .filter(|part| Declared::RELEASED.contains(&part.kind))
        .find(|part| part.name == name && part.namespace == report.namespace)
}

/// The fix of the reason; what is to be decided of a release as the very command.
fn fix(reason: Reason, part: Option<&Report>) -> String {
    let Some(part) = part else {
        return reason.fix().to_owned();
    };
    match reason {
        Reason::AwaitingPromotion => format!(
            "{}, or {}",
            part.release_verb("promote"),
            part.release_verb("abort")
        ),
        Reason::ReleaseHeld => format!(
            "declare another revision, or let this one through: {}",
            part.release_verb("promote")
        ),
        _ if part.serving.is_paused() => format!(
            "{}; the release is paused: {}",
            reason.fix(),
            part.release_verb("resume")
        ),
        _ => reason.fix().to_owned(),
    }
}

fn noticed(report: &Report, cause: &Cause, part: Option<&Report>) -> String {
    match part {
        Some(part) if part.kind == "AppService" => noticed_of_service(&part.serving),
        Some(part) => noticed_of_workers(part).unwrap_or_else(|| noticed_of_other(report, cause)),
        None => noticed_of_other(report, cause),
    }
}

fn noticed_of_service(serving: &Serving) -> String {
    let held = serving.hold.as_ref().map(|hold| hold.revision.as_str());
    match (&serving.revision, serving.coming(), held) {
        (Some(old), _, Some(held)) if serving.ready_replicas > 0 => {
            format!("nothing: revision {old} answers, {held} is held back")
        }
        (Some(old), Some(new), _) if serving.ready_replicas > 0 => match &serving.release {
            Some(release) if release.phase == ReleasePhase::Gated => {
                format!(
                    "nothing: revision {old} answers, {new} is not served before it is promoted"
                )
            }
            _ => format!("nothing: revision {old} answers, {new} is not served before it is ready"),
        },
        (Some(revision), ..) if serving.ready_replicas > 0 => {
            format!(
                "requests are answered by {} of revision {revision}",
                replicas(serving.ready_replicas)
            )
        }
        _ => "requests are not answered: no replica is ready".to_owned(),
    }
}

/// While another revision than the declared one takes the jobs.
fn noticed_of_workers(pool: &Report) -> Option<String> {
    let serving = &pool.serving;
    let old = serving.revision.as_ref()?;
    let held = serving.hold.as_ref().map(|hold| hold.revision.as_str());
    match (held, serving.coming()) {
        (Some(held), _) => Some(format!(
            "nothing: workers of revision {old} take the jobs, {held} is held back"
        )),
        (None, Some(new)) => Some(format!(
            "nothing: workers of revision {old} take the jobs, {new} is on its way"
        )),
        (None, None) => None,
    }
}

fn noticed_of_other(report: &Report, cause: &Cause) -> String {
    let part = report
        .components
        .iter()
        .find(|part| part.name == cause.component);
    let (kind, name, count) = match part {
        Some(part) => (part.kind.as_str(), &part.name, part.replicas.as_deref()),
        None => (report.kind, &report.name, Some(report.summary.as_str())),
    };
    match (kind, count.filter(|count| !count.is_empty())) {
        ("WorkerPool", Some(count)) => {
            format!("{count} workers of {name} are ready; jobs wait in the queue, none is lost")
        }
        ("DatabaseTier" | "CacheTier" | "BrokerTier", Some(count)) => {
            format!("{count} nodes of {name} are ready; who uses it waits, or goes on without")
        }
        ("Deployment", Some(count)) => format!("{count} replicas of {name} are ready"),
        _ => "nothing of it answers yet".to_owned(),
    }
}

fn replicas(count: i32) -> String {
    match count {
        1 => "1 replica".to_owned(),
        count => format!("{count} replicas"),
    }
}

fn undo(report: &Report, part: Option<&Report>) -> String {
    const AS_BEFORE: &str = "apply the manifest as it was before";
    let Some(part) = part else {
        return match report.kind {
            "AppPlatform" => "nothing was served before: there is nothing to go back to",
            _ => AS_BEFORE,
        }
        .to_owned();
    };
    let serving = &part.serving;
    match (&serving.revision, serving.coming(), &serving.hold) {
        (Some(served), _, Some(_)) => {
            format!("{AS_BEFORE}: revision {served} is served, and goes on")
        }
        (Some(old), Some(_), None) => {
            format!("{AS_BEFORE}: revision {old} still runs, and is served on")
        }
        (Some(_), None, None) => AS_BEFORE.to_owned(),
        (None, ..) => "nothing was served before: there is nothing to go back to".to_owned(),
    }
}

/// Line and field of the manifest that the cause is about.
fn place(
    source: &Source,
    report: &Report,
    cause: &Cause,
    reason: Option<Reason>,
) -> Option<String> {
    let (document, value) = source
        .documents
        .iter()
        .map(|document| (document, document.to_value()))
        .find(|(_, value)| {
            value["kind"] == report.kind && value["metadata"]["name"] == report.name.as_str()
        })?;
    let spec = &value["spec"];
    let path = match report.kind {
        "AppPlatform" => component(spec, &cause.component).unwrap_or("spec.edge".to_owned()),
        _ => "spec".to_owned(),
    };
    let pointer = format!("/{}", path.replace(['.', '['], "/").replace(']', ""));
    let said = value.pointer(&pointer).unwrap_or(spec);
    // A name that the cause quotes and the manifest has is the place; else the field of the reason.
    let quoted = quoted(&cause.text)
        .find_map(|name| document.find_text_below(&path, name))
        .filter(|_| reason == Some(Reason::ConfigMissing));
    let field = quoted.unwrap_or_else(|| format!("{path}{}", field(said, reason)));
    Some(format!(
        "{}:{} ({field})",
        source.name,
        document.line(&field)
    ))
}

/// Where the component of an application is declared.
fn component(spec: &Value, name: &str) -> Option<String> {
    const LISTS: [&str; 6] = [
        "databases",
        "caches",
        "brokers",
        "apis",
        "services",
        "workers",
    ];
    LISTS.into_iter().find_map(|list| {
        let mut components = spec[list].as_array()?.iter();
        let index = components.position(|component| component["name"] == name)?;
        Some(format!("spec.{list}[{index}]"))
    })
}

/// Field of what is declared that a reason is mostly about.
fn field(said: &Value, reason: Option<Reason>) -> String {
    const ENGINES: [&str; 3] = ["postgres", "valkey", "rabbitmq"];
    let engine = ENGINES
        .into_iter()
        .find(|engine| said.get(engine).is_some());
    let of_engine = |field: &str| match engine {
        Some(engine) => format!(".{engine}{field}"),
        None => field.to_owned(),
    };
    match reason {
        Some(Reason::ImagePullFailed | Reason::CrashLooping) => of_engine(".image"),
        Some(Reason::ConfigMissing) if said.get("external").is_some() => {
            ".external.secretName".to_owned()
        }
        Some(Reason::ConfigMissing) => ".env".to_owned(),
        Some(Reason::Unschedulable) => of_engine(".resources.requests"),
        Some(Reason::OutOfMemory) => of_engine(".resources.limits.memory"),
        Some(Reason::VolumePending | Reason::DiskFull) => of_engine(".storage"),
        Some(Reason::MemoryFull) => of_engine(".memory"),
        Some(Reason::TooFewZones) => of_engine(".shards"),
        Some(Reason::ProbeFailing) => ".probes".to_owned(),
        Some(Reason::DependencyMissing | Reason::BindingMissing) => ".uses".to_owned(),
        Some(Reason::QueueMissing) => ".source.rabbitmq.queue".to_owned(),
        Some(Reason::HandlerFailing) => ".handler".to_owned(),
        Some(Reason::QuotaExceeded) => ".replicas".to_owned(),
        _ => String::new(),
    }
}

/// Words of the text in single, double or back quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\'', '"', '`']).skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use orlop_crds::{AppPlatform, AppService};
    use serde_json::json;

    use super::*;

    const MANIFEST: &str = "\
apiVersion: orlop.dev/v1alpha1
kind: AppPlatform
metadata: {name: shop}
spec:
  services:
  - name: api
    image: api
    port: 80
  - name: web
    image: acme/nope:1
    port: 3000
    env:
    - name: TOKEN
      secretKeyRef: {name: tokens, key: web}
";

    fn conditions(reason: &str, message: &str) -> Value {
        json!([{
            "type": "Ready", "status": "False", "reason": reason, "message": message,
            "observedGeneration": 2, "lastTransitionTime": "2026-01-01T00:00:00Z",
        }, {
            "type": "Stalled", "status": "True", "reason": reason, "message": message,
            "observedGeneration": 2, "lastTransitionTime": "2026-01-01T00:00:00Z",
        }])
    }

    fn platform(reason: &str, message: &str) -> Report {
        let object: AppPlatform = serde_json::from_value(json!({
            "apiVersion": "orlop.dev/v1alpha1",
            "kind": "AppPlatform",
            "metadata": {"name": "shop", "namespace": "lantern", "generation": 2},
            "spec": {},
            "status": {"conditions": conditions(reason, message)},
        }))
        .unwrap();
        Report::from(&object)
    }

    fn service(status: &Value) -> Report {
        let object: AppService = serde_json::from_value(json!({
            "apiVersion": "orlop.dev/v1alpha1",
            "kind": "AppService",
            "metadata": {"name": "shop-web", "namespace": "lantern", "generation": 2},
            "spec": {"image": "acme/nope:1", "port": 3000},
            "status": status,
        }))
        .unwrap();
        Report::from(&object)
    }

    fn source() -> Source {
        Source {
            name: "app.yaml".to_owned(),
            documents: serde_saphyr::from_multiple(MANIFEST).unwrap(),
        }
    }

    #[test]
    fn a_failed_release_is_told_with_its_place_and_who_answers_meanwhile() {
        let report = platform(
            "ImagePullFailed",
            "web/Deployment/shop-web-2: image 'acme/nope:1' cannot be fetched; correct `image`, or `imagePullSecrets` for a private registry; revision 1 goes on being served",
        );
        let web = service(&json!({
            "activeRevision": "1",
            "readyReplicas": 2,
            "release": {"phase": "Starting", "from": "1", "to": "2", "fromReplicas": 2,
                "begun": "2026-01-01T00:00:00.000000Z", "since": "2026-01-01T00:00:00Z"},
        }));
        assert_eq!(
            explain(&report, &[web], &[source()], Style::PLAIN),
            "\
AppPlatform/shop is not ready: ImagePullFailed
  cause  web/Deployment/shop-web-2: image 'acme/nope:1' cannot be fetched; revision 1 goes on being served
  fix    correct `image`, or `imagePullSecrets` for a private registry
  place  app.yaml:10 (spec.services[1].image)
  users  nothing: revision 1 answers, 2 is not served before it is ready
  undo   apply the manifest as it was before: revision 1 still runs, and is served on"
        );
    }

    #[test]
    fn what_waits_for_a_person_is_told_with_the_commands_that_decide_it() {
        let report = platform(
            "AwaitingPromotion",
            "web/Deployment/shop-web-0b: it is ready and waits to be promoted",
        );
        let web = service(&json!({
            "activeRevision": "0a",
            "readyReplicas": 2,
            "release": {"phase": "Gated", "from": "0a", "to": "0b", "fromReplicas": 2,
                "begun": "2026-01-01T00:00:00.000000Z", "since": "2026-01-01T00:00:00Z"},
        }));
        assert_eq!(
            explain(&report, &[web], &[], Style::PLAIN),
            "\
AppPlatform/shop is not ready: AwaitingPromotion
  cause  web/Deployment/shop-web-0b: it is ready and waits to be promoted
  fix    `orlop release promote shop-web -n lantern`, or `orlop release abort shop-web -n lantern`
  users  nothing: revision 0a answers, 0b is not served before it is promoted
  undo   apply the manifest as it was before: revision 0a still runs, and is served on"
        );
    }

    #[test]
    fn a_revision_that_is_held_back_is_told_with_the_one_that_answers() {
        let message = format!(
            "web/AppService/shop-web: revision 0b is held back, because its release was aborted; revision 0a is served; {}",
            Reason::ReleaseHeld.fix()
        );
        let web = service(&json!({
            "activeRevision": "0a",
            "readyReplicas": 2,
            "hold": {"revision": "0b", "instead": "0a", "reason": "Aborted",
                "message": "its release was aborted", "since": "2026-01-01T00:00:00Z"},
        }));
        assert_eq!(
            explain(&platform("ReleaseHeld", &message), &[web], &[], Style::PLAIN),
            "\
AppPlatform/shop is not ready: ReleaseHeld
  cause  web/AppService/shop-web: revision 0b is held back, because its release was aborted; revision 0a is served
  fix    declare another revision, or let this one through: `orlop release promote shop-web -n lantern`
  users  nothing: revision 0a answers, 0b is held back
  undo   apply the manifest as it was before: revision 0a is served, and goes on"
        );
    }

    #[test]
    fn a_missing_secret_is_pointed_at_where_it_is_named() {
        let report = platform(
            "ConfigMissing",
            "web/Deployment/shop-web-1: secret \"tokens\" not found; create what is named, or correct the reference in `env` or `envFrom`",
        );
        let told = explain(&report, &[service(&json!({}))], &[source()], Style::PLAIN);
        assert!(
            told.contains("place  app.yaml:14 (spec.services[1].env[0].secretKeyRef.name)"),
            "{told}"
        );
        assert!(told.contains("users  requests are not answered"), "{told}");
        assert!(told.contains("undo   nothing was served before"), "{told}");
    }

    #[test]
    fn a_reason_of_another_version_is_told_as_it_came() {
        let report = platform("SomethingNew", "web/Pod/x: it is new; do this");
        let told = explain(&report, &[], &[], Style::PLAIN);
        assert!(told.contains("SomethingNew"), "{told}");
        assert!(
            told.contains("cause  web/Pod/x: it is new; do this"),
            "{told}"
        );
    }
}

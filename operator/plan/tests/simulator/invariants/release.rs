//! What must hold of releases.

use orlop_crds::{
    AppService,
    release::{
        CheckTime, Hold, Pace, PromoteMode, Promotion, Release, ReleasePhase, ReleaseRecord,
        ReleaseStatus,
    },
};
use orlop_plan::{Object, labels};

use super::{APP_SERVICES, Done, Verdict, declared, observed_ready, replicas};
use crate::world::Status;

/// Requests go back to the old revision only from a new one that was seen without a ready pod, or
/// because the old one was declared again.
pub(super) fn returns_only_from_the_dead(done: &Done<'_>, status: &Status) -> Verdict {
    let Status::AppService(after) = status else {
        return Ok(());
    };
    let before = record(done).and_then(|record| record.release.as_ref());
    let (Some(before), Some(after)) = (before, &after.record.release) else {
        return Ok(());
    };
    let returns = !before.phase.is_before_switch()
        && after.phase.is_before_switch()
        && (&before.from, &before.to) == (&after.from, &after.to);
    let name = &done.pass.key.name;
    if returns && observed_ready(done.pass, name, &before.to) {
        return Err(format!(
            "{name}: requests go back from {}, which has ready pods",
            before.to
        ));
    }
    Ok(())
}

/// A switch is decided on only where nobody has to promote the revision, or somebody has, and where
/// it was asked for answers if there are checks: unless nothing else was seen ready.
pub(super) fn switches_only_to_what_was_let_through(done: &Done<'_>, status: &Status) -> Verdict {
    let Status::AppService(after) = status else {
        return Ok(());
    };
    let Some(after) = &after.record.release else {
        return Ok(());
    };
    let before = record(done).and_then(|record| record.release.as_ref());
    let is_same = |before: &&ReleaseStatus| before.to == after.to;
    let before = before.filter(is_same).map(|before| before.phase);
    let is_decided =
        after.phase == ReleasePhase::Switching && before.is_none_or(ReleasePhase::is_before_switch);
    let name = &done.pass.key.name;
    if !is_decided || !observed_ready(done.pass, name, &after.from) || declared(done) == Some(0) {
        return Ok(());
    }
    let promote = pace(done).promote.unwrap_or_default();
    let is_gated = promote.mode == Some(PromoteMode::Manual);
    if is_gated && after.promoted.is_none() {
        return Err(format!("{name}: nobody has promoted {}", after.to));
    }
    let mut checks = release(done).checks.into_iter();
    let is_asked = checks.any(|check| check.when() == CheckTime::BeforeSwitch);
    let was_asked = matches!(
        before,
        Some(ReleasePhase::Checking | ReleasePhase::Gated | ReleasePhase::Scaling)
    );
    if is_asked && !was_asked && after.promoted != Some(Promotion::Full) {
        return Err(format!("{name}: {} was not checked", after.to));
    }
    Ok(())
}

/// Requests go where the pass saw it recorded: to no revision that is held back, or not let through
/// yet.
pub(super) fn selects_what_is_recorded(done: &Done<'_>, applied: &Object) -> Verdict {
    let name = &done.pass.key.name;
    let Object::Service(service) = applied else {
        return Ok(());
    };
    if done.pass.key.resource != APP_SERVICES || applied.name().name != *name {
        return Ok(());
    }
    let selector = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref());
    let selected = selector.and_then(|selector| selector.get(labels::REVISION));
    let record = record(done).ok_or("a Service is written, but nothing is recorded")?;
    if selected != record.active_revision.as_ref() {
        return Err(format!(
            "Service/{name} is pointed at {selected:?}, recorded is {:?}",
            record.active_revision
        ));
    }
    let release = record.release.as_ref();
    let waiting = release.filter(|release| release.phase.is_before_switch());
    if waiting.is_some_and(|release| Some(&release.to) == selected) {
        return Err(format!(
            "Service/{name} is pointed at what is not let through"
        ));
    }
    let is_held = |hold: &Hold| Some(&hold.revision) == selected;
    if release.is_none() && record.hold.as_ref().is_some_and(is_held) {
        return Err(format!("Service/{name} is pointed at what is held back"));
    }
    Ok(())
}

/// From the switch to the end of the drain the old revision is not made smaller.
pub(super) fn keeps_the_size_of_what_drains(done: &Done<'_>, applied: &Object) -> Verdict {
    let before = done.before.as_ref();
    let before = before.and_then(|stored| stored.body.deployment());
    let record = record(done).filter(|_| done.pass.key.resource == APP_SERVICES);
    let release = record.and_then(|record| record.release.as_ref());
    let (Some(before), Some(release), Object::Deployment(after)) = (before, release, applied)
    else {
        return Ok(());
    };
    let drains = [
        ReleasePhase::Switching,
        ReleasePhase::Verifying,
        ReleasePhase::Draining,
    ];
    let name = format!("{}-{}", done.pass.key.name, release.from);
    let is_old = after.metadata.name.as_ref() == Some(&name);
    if !is_old || !drains.contains(&release.phase) || release.from_replicas == 0 {
        return Ok(());
    }
    let (from, to) = (replicas(before), replicas(after));
    if to < from {
        return Err(format!(
            "Deployment/{name} drains and is scaled from {from} to {to}"
        ));
    }
    Ok(())
}

fn service<'a>(done: &'a Done<'_>) -> Option<&'a AppService> {
    done.pass.main.body.app_service()
}

/// What the pass saw remembered of releases.
fn record<'a>(done: &'a Done<'_>) -> Option<&'a ReleaseRecord> {
    Some(&service(done)?.status.as_ref()?.record)
}

fn release(done: &Done<'_>) -> Release {
    let said = service(done).and_then(|service| service.spec.template.release.clone());
    said.unwrap_or_default()
}

pub(super) fn pace(done: &Done<'_>) -> Pace {
    release(done).pace
}

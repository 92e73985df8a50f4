//! What a release asks of the new revision, and what the answers mean.

use std::{net::IpAddr, time::Duration};

use orlop_crds::release::{Check, CheckTime, ReleasePhase, ReleaseRecord};

use super::{build, validate::ValidatedService};
use crate::{
    Observed, QuestionsSource,
    question::{self, Address, Ask, Question, Tally},
    release::{self, Verdict},
};

/// Name of the question whether the Service leads to the new revision. No check can have it.
const REACHED: &str = "Service";
/// New connections in a row that must be answered.
const REACHED_TIMES: u32 = 3;
/// Between two attempts to reach it: the old revision cannot drain before.
const REACHED_EVERY: Duration = Duration::from_millis(250);

/// What is to be asked in the recorded phase.
pub(super) fn questions(
    service: &ValidatedService,
    record: &ReleaseRecord,
    observed: &Observed,
) -> Option<QuestionsSource> {
    let (phase, _, to, since) = release::under_way(record)?;
    let questions: Vec<Question> = match phase {
        ReleasePhase::Checking => {
            let at = address(service, observed, &build::preview_name(&service.name));
            let checks = of_time(service, CheckTime::BeforeSwitch);
            checks
                .filter_map(|check| question::of_check(check, at.clone(), to.as_str(), since))
                .collect()
        }
        ReleasePhase::Verifying => {
            let at = address(service, observed, &service.name)?;
            vec![Question {
                name: REACHED.to_owned(),
                since,
                every: REACHED_EVERY,
                ask: Ask::Reach {
                    at,
                    times: REACHED_TIMES,
                },
            }]
        }
        ReleasePhase::Draining => {
            let at = address(service, observed, &service.name);
            let checks = of_time(service, CheckTime::AfterSwitch);
            checks
                .filter_map(|check| question::of_check(check, at.clone(), to.as_str(), since))
                .collect()
        }
        _ => return None,
    };
    (!questions.is_empty()).then_some(QuestionsSource { questions })
}

pub(super) fn of_time(service: &ValidatedService, time: CheckTime) -> impl Iterator<Item = &Check> {
    let checks = service.release.checks.iter();
    checks.filter(move |check| check.when() == time)
}

/// Whether the Service has led to an answer since it was switched.
pub(super) fn is_reached(service: &ValidatedService, observed: &Observed) -> bool {
    let Some((ReleasePhase::Verifying, _, _, since)) = release::under_way(&service.record) else {
        return false;
    };
    let tally = reading(observed).and_then(|reading| reading.of(REACHED, since));
    tally.is_some_and(|tally| tally.good > 0)
}

pub(super) fn before_switch(service: &ValidatedService, observed: &Observed) -> Verdict {
    verdict(
        service,
        observed,
        CheckTime::BeforeSwitch,
        ReleasePhase::Checking,
    )
}

pub(super) fn after_switch(service: &ValidatedService, observed: &Observed) -> Verdict {
    verdict(
        service,
        observed,
        CheckTime::AfterSwitch,
        ReleasePhase::Draining,
    )
}

/// One that fails outweighs all that pass.
fn verdict(
    service: &ValidatedService,
    observed: &Observed,
    time: CheckTime,
    during: ReleasePhase,
) -> Verdict {
    let since = match release::under_way(&service.record) {
        Some((phase, _, _, since)) if phase == during => since,
        _ => return Verdict::Pending,
    };
    let reading = reading(observed);
    let tally = |check: &Check| reading.and_then(|reading| reading.of(&check.name, since));
    let mut all_passed = true;
    for check in of_time(service, time) {
        match tally(check) {
            Some(tally) if reaches(tally.bad, check.failures()) => {
                return Verdict::Failed(failure(check, tally));
            }
            Some(tally) if reaches(tally.good, check.count()) => (),
            _ => all_passed = false,
        }
    }
    if all_passed {
        Verdict::Passed
    } else {
        Verdict::Pending
    }
}

fn reaches(number: u32, bound: i32) -> bool {
    i64::from(number) >= i64::from(bound)
}

fn failure(check: &Check, tally: &Tally) -> String {
    let why = tally.last_bad.as_deref().unwrap_or("no answer");
    let times = if tally.bad == 1 { "time" } else { "times" };
    format!("check '{}' failed {} {times}: {why}", check.name, tally.bad)
}

fn reading(observed: &Observed) -> Option<&question::Reading> {
    let snapshot = observed.snapshots.questions.as_ref()?;
    Some(&snapshot.answer.as_ref()?.value)
}

/// Of a Service, once it has one. By its address: a name that was asked for before it existed is
/// remembered as unknown for a while.
fn address(service: &ValidatedService, observed: &Observed, name: &str) -> Option<Address> {
    let spec = observed.service(name)?.spec.as_ref()?;
    let ip: IpAddr = spec.cluster_ip.as_deref()?.parse().ok()?;
    Some(Address {
        ip,
        port: build::SERVICE_PORT.unsigned_abs().try_into().ok()?,
        host: build::host(name, &service.namespace, &service.cluster_domain),
        path: service.ready_path.clone(),
    })
}

//! How many workers a queue asks for.
//!
//! ```text
//! workers = ceil((arrivals x S / utilisation + backlog x S / drainWithin) / concurrency)
//! ```
//!
//! The first part keeps up with what comes in (Little's law), the second finishes in time what
//! waits; `S` is the time that a job takes. More workers are jumped to in one step from a single
//! sample. Fewer ask for a window of statistics that has been whole for [`STABLE_FOR`], during all
//! of which fewer would have done, so that nothing which is not known, or not known any more, takes
//! a worker away. What is not known is never taken for zero.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use orlop_crds::worker_pool::{ScalingDecision, ScalingReason, ServiceTimeSource};

use super::window::{Now, STALE_AFTER, Sample, Window};
use crate::condition::whole_second;

/// Arrivals are counted over so long. Shorter, and chance rules the number; longer, and a rise is
/// told late. A burst does not wait for it: it is in the backlog at once.
pub const ARRIVALS_OVER: SignedDuration = SignedDuration::from_secs(20);
/// Fewer workers, none among them, must have been enough for so long before any is taken away.
pub const STABLE_FOR: SignedDuration = SignedDuration::from_secs(60);
/// As many are left as the busiest moment of the last so long asked for, and the next reduction
/// waits as long: a queue that empties takes few steps down, not one a second.
pub const RECENT: SignedDuration = SignedDuration::from_secs(30);
/// How often it is seen whether fewer workers would do: the statistics are no fresher.
const TICK: SignedDuration = SignedDuration::from_secs(1);

/// Part of the workers' time that arrivals may fill, in percent: the rest absorbs chance.
pub const UTILISATION_PERCENT: u32 = 80;
/// The same for those that are left when workers are taken away. What lies between the two is what
/// the load may vary by without changing their number.
pub const UTILISATION_AFTER_PERCENT: u32 = 72;

/// What is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub min: u32,
    pub max: u32,
    /// Jobs that each worker does at once, at least 1.
    pub concurrency: u32,
    pub drain_within: Duration,
    /// How long a job takes, until it has been measured.
    pub expected_service_time: Duration,
}

/// What is known now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen<'a> {
    pub window: Option<&'a Window>,
    /// How long a job takes, as the workers measured it.
    pub service_time: Option<Duration>,
    /// Jobs that the workers say they are doing.
    pub in_flight: Option<u64>,
    /// Workers that the Deployment asks for.
    pub replicas: Option<u32>,
}

/// How many workers are to run, and from what that was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// To be recorded before it is acted on; the recorded one as it was, unless the number changes.
    pub record: ScalingDecision,
    pub sight: Sight,
    pub wake_at: Option<Timestamp>,
}

/// What the statistics are worth now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    Clear,
    /// Nothing was read since the operator started: no reason to tell anything else than before.
    Unread,
    /// The broker does not tell how many messages there are.
    Missing,
    /// The last statistics are too old.
    Stale,
    /// Messages have disappeared that nobody took.
    Contradictory,
}

/// Decides. The same number as before gives the same record as before.
#[must_use]
pub fn decide(
    policy: &Policy,
    recorded: Option<&ScalingDecision>,
    seen: &Seen<'_>,
    now: Timestamp,
) -> Decision {
    let nothing = Window::default();
    let window = seen.window.unwrap_or(&nothing);
    let scaler = Scaler {
        policy,
        window,
        service_time: service_time(policy, recorded, seen),
        seen,
        recorded,
        now,
    };
    let (sight, record) = match window.now(now) {
        Now::Known(newest) if window.contradicts_itself() => {
            (Sight::Contradictory, scaler.with_sight(newest))
        }
        Now::Known(newest) => (Sight::Clear, scaler.with_sight(newest)),
        Now::Unread => (Sight::Unread, scaler.blind()),
        Now::Missing => (Sight::Missing, scaler.blind()),
        Now::Stale => (Sight::Stale, scaler.blind()),
    };
    // More workers are asked for by news; fewer, and what is too old, only by time.
    let wait = match sight {
        Sight::Unread | Sight::Missing | Sight::Stale => None,
        Sight::Clear | Sight::Contradictory if count(record.desired) > policy.min => Some(TICK),
        Sight::Clear | Sight::Contradictory => Some(STALE_AFTER + TICK),
    };
    Decision {
        record,
        sight,
        wake_at: wait.and_then(|wait| now.checked_add(wait).ok()),
    }
}

/// Workers for a load: `arrivals` each second and `backlog` waiting, of jobs that take
/// `service_time`. Some for every load but none.
#[must_use]
pub fn workers(
    policy: &Policy,
    arrivals: f64,
    backlog: u64,
    service_time: Duration,
    utilisation_percent: u32,
) -> u32 {
    let service_time = service_time.as_secs_f64();
    let drain_within = policy.drain_within.as_secs_f64().max(0.001);
    let keeping_up = arrivals * service_time * 100.0 / f64::from(utilisation_percent.max(1));
    let catching_up = as_f64(backlog) * service_time / drain_within;
    let busy = (keeping_up + catching_up) / f64::from(policy.concurrency.max(1));
    let any = arrivals > 0.0 || backlog > 0;
    // What is a whole number but for the rounding of the floats is that number.
    ceil(busy - 1e-9).max(u32::from(any))
}

struct Scaler<'a> {
    policy: &'a Policy,
    window: &'a Window,
    service_time: (Duration, ServiceTimeSource),
    seen: &'a Seen<'a>,
    recorded: Option<&'a ScalingDecision>,
    now: Timestamp,
}

/// What one sample asks for.
#[derive(Clone, Copy)]
struct Demand {
    sample: Sample,
    /// Tenths of a message a second.
    arrivals: u64,
    backlog: u64,
    utilisation_percent: u32,
    workers: u32,
}

impl Scaler<'_> {
    /// Nothing is known: whatever runs goes on.
    fn blind(&self) -> ScalingDecision {
        let held = self.held();
        let desired = self.within(held.max(self.running(held)));
        self.record(desired, ScalingReason::StatisticsMissing, None)
    }

    fn with_sight(&self, newest: &Sample) -> ScalingDecision {
        let held = self.held();
        let running = self.running(held);
        // A reduction is acted on only by who still sees why: after a crash between the decision
        // and the act the world may have become another.
        let is_void = running > held && !self.confirms(newest, held);
        let running = if is_void { running } else { held };

        let demand = self.demand(newest, UTILISATION_PERCENT, self.running(held));
        let wanted = self.within(demand.workers);
        if wanted > running {
            return self.record(wanted, self.rule(demand.workers), Some(&demand));
        }
        if running > held {
            return self.record(running, ScalingReason::Settling, Some(&demand));
        }
        if self.may_reduce(newest, held)
            && let Some((demand, workers)) = self.fewest(newest, held - 1)
            && self.within(workers) < held
        {
            let reason = if workers > demand.workers {
                ScalingReason::InFlight
            } else {
                self.rule(demand.workers)
            };
            return self.record(self.within(workers), reason, Some(&demand));
        }
        self.record(held, self.rule(demand.workers), Some(&demand))
    }

    fn confirms(&self, newest: &Sample, held: u32) -> bool {
        self.fewest(newest, held)
            .is_some_and(|(_, workers)| self.within(workers) <= held)
    }

    /// The number that holds until another is decided.
    fn held(&self) -> u32 {
        let recorded = self.recorded.map(|recorded| count(recorded.desired));
        self.within(recorded.or(self.seen.replicas).unwrap_or(self.policy.min))
    }

    fn running(&self, otherwise: u32) -> u32 {
        self.within(self.seen.replicas.unwrap_or(otherwise))
    }

    /// What was declared is the last word.
    fn within(&self, workers: u32) -> u32 {
        workers.min(self.policy.max).max(self.policy.min)
    }

    /// The fewest workers that the window allows: what its busiest recent moment asks for, and never
    /// fewer than the jobs that are being done occupy. None while it has not been whole for long
    /// enough.
    fn fewest(&self, newest: &Sample, staying: u32) -> Option<(Demand, u32)> {
        if !self.window.is_whole_for(STABLE_FOR) {
            return None;
        }
        let peak = self
            .demands(newest, RECENT, staying)
            .max_by_key(|demand| demand.workers)?;
        let calm = self
            .demands(newest, STABLE_FOR, staying)
            .all(|demand| demand.workers == 0);
        let in_flight = self
            .window
            .unacknowledged_at_most(newest, STALE_AFTER)
            .max(self.seen.in_flight.unwrap_or_default());
        let occupied = in_flight.div_ceil(u64::from(self.policy.concurrency.max(1)));
        let least = u32::try_from(occupied)
            .unwrap_or(u32::MAX)
            .max(u32::from(!calm));
        Some((peak, peak.workers.max(least)))
    }

    /// Whether fewer would have done all the time, and the last change is long enough ago.
    fn may_reduce(&self, newest: &Sample, held: u32) -> bool {
        let rested = self
            .recorded
            .is_none_or(|recorded| self.now.duration_since(recorded.decided_at.0) >= RECENT);
        rested
            && held > self.policy.min
            && self
                .demands(newest, STABLE_FOR, held - 1)
                .all(|demand| self.within(demand.workers) < held)
    }

    /// What would have to remain, at each moment of the time before a sample, the newest first, if
    /// not more than `staying` did.
    fn demands(
        &self,
        newest: &Sample,
        during: SignedDuration,
        staying: u32,
    ) -> impl Iterator<Item = Demand> {
        let from = newest.at.checked_sub(during).unwrap_or(Timestamp::MIN);
        self.window
            .since(from)
            .rev()
            .map(move |sample| self.demand(sample, UTILISATION_AFTER_PERCENT, staying))
    }

    fn demand(&self, sample: &Sample, utilisation_percent: u32, running: u32) -> Demand {
        // Of what workers have taken, they do as many jobs as they are meant to do at once; those
        // are accounted for by the arrivals. The rest waits in their hands as well as in the queue.
        let at_once = u64::from(running) * u64::from(self.policy.concurrency);
        let backlog = sample
            .ready
            .saturating_add(sample.unacknowledged.saturating_sub(at_once));
        let arrivals = self.window.arrivals(sample, ARRIVALS_OVER);
        let waiting_or_taken = u32::from(sample.depth() > 0);
        let workers = workers(
            self.policy,
            as_f64(arrivals) / 10.0,
            backlog,
            self.service_time.0,
            utilisation_percent,
        );
        Demand {
            sample: *sample,
            arrivals,
            backlog,
            utilisation_percent,
            workers: workers.max(waiting_or_taken),
        }
    }

    fn rule(&self, workers: u32) -> ScalingReason {
        if workers > self.policy.max {
            ScalingReason::Maximum
        } else if workers < self.policy.min {
            ScalingReason::Minimum
        } else {
            ScalingReason::Load
        }
    }

    fn record(
        &self,
        desired: u32,
        reason: ScalingReason,
        demand: Option<&Demand>,
    ) -> ScalingDecision {
        let desired = i32::try_from(desired).unwrap_or(i32::MAX);
        if let Some(recorded) = self.recorded
            && recorded.desired == desired
            && recorded.reason != ScalingReason::Fixed
        {
            return recorded.clone();
        }
        let (service_time, service_time_from) = self.service_time;
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        ScalingDecision {
            desired,
            reason,
            ready: demand.map(|demand| number(demand.sample.ready)),
            unacknowledged: demand.map(|demand| number(demand.sample.unacknowledged)),
            backlog: demand.map(|demand| number(demand.backlog)),
            arrivals_per_second: demand
                .map(|demand| format!("{}.{}", demand.arrivals / 10, demand.arrivals % 10)),
            utilisation_percent: demand
                .and_then(|demand| i32::try_from(demand.utilisation_percent).ok()),
            drain_within: Some(orlop_crds::Duration::from_millis(millis(
                self.policy.drain_within,
            ))),
            service_time: Some(orlop_crds::Duration::from_millis(millis(service_time))),
            service_time_from: Some(service_time_from),
            concurrency: i32::try_from(self.policy.concurrency).unwrap_or(i32::MAX),
            decided_at: Time(whole_second(self.now)),
        }
    }
}

/// Measured now, else measured when the last decision was made, else as declared: in whole
/// milliseconds, as it is told, so that whoever reads the status comes to the same number.
fn service_time(
    policy: &Policy,
    recorded: Option<&ScalingDecision>,
    seen: &Seen<'_>,
) -> (Duration, ServiceTimeSource) {
    let remembered = recorded
        .filter(|recorded| recorded.service_time_from == Some(ServiceTimeSource::Measured))
        .and_then(|recorded| recorded.service_time)
        .map(|time| Duration::from_millis(time.as_millis()));
    let (time, source) = match seen.service_time.or(remembered) {
        Some(measured) => (measured, ServiceTimeSource::Measured),
        None => (policy.expected_service_time, ServiceTimeSource::Expected),
    };
    (Duration::from_millis(millis(time).max(1)), source)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

fn count(replicas: i32) -> u32 {
    u32::try_from(replicas).unwrap_or(0)
}

/// Counts of messages stay far below 2^53.
#[allow(clippy::cast_precision_loss)]
fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Floats beyond the range become its ends: that is what `as` does.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn ceil(number: f64) -> u32 {
    number.ceil() as u32
}

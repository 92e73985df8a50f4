//! What was seen of a queue lately: a sliding window of samples.
//!
//! A window is a measurement and lives in memory. Losing it costs time and nothing else: what would
//! take workers away asks for a window that has been whole for a while.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use crate::broker::{QueueStatistics, reading::Queue};

/// Statistics older than this say nothing of now: several of the polls, one to two seconds apart,
/// have failed.
pub const STALE_AFTER: SignedDuration = SignedDuration::from_secs(10);
/// Polls are no further apart, unless one fails.
const POLL_AT_LATEST: SignedDuration = SignedDuration::from_secs(3);
/// Samples are kept so long: what [`STABLE_FOR`](super::scaler::STABLE_FOR) asks for, and the time
/// over which the first of them measures arrivals.
const KEPT_FOR: SignedDuration = SignedDuration::from_secs(90);
/// At two polls a second the window is as long as it should be; faster ones make it shorter.
const SAMPLES_MAX: usize = 180;
/// What a broker declares is bounded far below this.
const QUEUES_MAX: usize = 1024;
/// Messages that left a queue without having been acknowledged. The broker refreshes depths and
/// counters at different moments, so the counter is given so long to catch up; what has not been
/// explained by then (a purge) is accepted as it is.
const EXPLAINED_WITHIN: SignedDuration = SignedDuration::from_secs(30);
/// A difference this small is a matter of moments, whatever the depth.
const UNEXPLAINED_MIN: u64 = 10;

/// A queue at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub at: Timestamp,
    pub ready: u64,
    pub unacknowledged: u64,
    /// Messages that came in since the window began, as far as it can be known.
    arrived: u64,
    /// Workers' settlements and losses, as the broker has counted them since its start. None while
    /// it has counted none, or does not tell.
    left: Option<u64>,
}

impl Sample {
    /// Messages that are there.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.ready.saturating_add(self.unacknowledged)
    }
}

/// The last samples of one queue, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    samples: VecDeque<Sample>,
    /// Since when samples have followed each other without a gap, a reset or a contradiction.
    unbroken_since: Option<Timestamp>,
    /// Messages that went without a known reason, and since when there are any.
    unexplained: Option<(Timestamp, u64)>,
    /// Whether the newest statistics lacked a count that is needed.
    incomplete: bool,
    /// Whether the broker has ever told how many messages were settled.
    has_counted: bool,
}

/// What a window says of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Now<'a> {
    /// Nothing was read yet.
    Unread,
    /// The broker does not tell how many messages there are.
    Missing,
    /// The last statistics are too old.
    Stale,
    Known(&'a Sample),
}

impl Window {
    /// Takes in what the broker said at a moment. What comes late, after something newer, is dropped.
    pub fn push(&mut self, at: Timestamp, statistics: &QueueStatistics) {
        if let Some(last) = self.samples.back() {
            if at + STALE_AFTER < last.at {
                // The clock was set back: nothing here can be compared with what comes now.
                *self = Self::default();
            } else if at <= last.at {
                return;
            }
        }
        self.incomplete = false;
        let (Some(ready), Some(unacknowledged)) = (statistics.ready, statistics.unacknowledged)
        else {
            self.incomplete = true;
            return;
        };
        let mut sample = Sample {
            at,
            ready,
            unacknowledged,
            arrived: 0,
            left: left(statistics),
        };
        if let Some(last) = self.samples.back().copied() {
            sample.arrived = last.arrived + self.came(&last, &sample);
        } else {
            self.unbroken_since = Some(at);
            self.has_counted = sample.left.is_some();
        }
        self.samples.push_back(sample);
        let oldest = at.checked_sub(KEPT_FOR).unwrap_or(Timestamp::MIN);
        while self.samples.len() > SAMPLES_MAX
            || self.samples.front().is_some_and(|first| first.at < oldest)
        {
            self.samples.pop_front();
        }
    }

    #[must_use]
    pub fn now(&self, now: Timestamp) -> Now<'_> {
        match self.samples.back() {
            _ if self.incomplete => Now::Missing,
            None => Now::Unread,
            Some(last) if now.duration_since(last.at) > STALE_AFTER => Now::Stale,
            Some(last) => Now::Known(last),
        }
    }

    /// Samples that are newer than a moment, oldest first.
    pub fn since(&self, moment: Timestamp) -> impl DoubleEndedIterator<Item = &Sample> {
        let known = self.samples.partition_point(|sample| sample.at <= moment);
        self.samples.range(known..)
    }

    /// Tenths of a message that came in each second, over the time before a sample. Where less than
    /// that time is known, the rest counts as quiet.
    #[must_use]
    pub fn arrivals(&self, until: &Sample, during: SignedDuration) -> u64 {
        let from = until.at.checked_sub(during).unwrap_or(Timestamp::MIN);
        let later = self.samples.partition_point(|sample| sample.at <= from);
        let before = later
            .checked_sub(1)
            .and_then(|index| self.samples.get(index))
            .filter(|before| from.duration_since(before.at) <= POLL_AT_LATEST);
        let Some(base) = before.or_else(|| self.samples.get(later)) else {
            return 0;
        };
        let span = until.at.duration_since(base.at).max(during);
        let millis = u64::try_from(span.as_millis()).unwrap_or(0).max(1);
        until
            .arrived
            .saturating_sub(base.arrived)
            .saturating_mul(10_000)
            / millis
    }

    /// The most messages that were with workers at any moment of the time before a sample.
    #[must_use]
    pub fn unacknowledged_at_most(&self, until: &Sample, during: SignedDuration) -> u64 {
        let from = until.at.checked_sub(during).unwrap_or(Timestamp::MIN);
        let most = self.since(from).map(|sample| sample.unacknowledged).max();
        most.unwrap_or(until.unacknowledged)
    }

    /// Whether statistics have come without a gap, a reset or a contradiction for so long.
    #[must_use]
    pub fn is_whole_for(&self, during: SignedDuration) -> bool {
        let newest = self.samples.back().map(|sample| sample.at);
        newest
            .zip(self.unbroken_since)
            .is_some_and(|(newest, since)| newest.duration_since(since) >= during)
    }

    /// Whether messages have disappeared that nobody took, as far as the newest statistics tell.
    #[must_use]
    pub fn contradicts_itself(&self) -> bool {
        let newest = self.samples.back().map(|sample| sample.at);
        newest.is_some() && newest == self.unbroken_since && self.unexplained.is_some()
    }

    /// `arrivals = change of (ready + unacknowledged) + settled`, where both ends are known. What
    /// went without a reason is set off against what comes next: a depth that is wrong for a moment
    /// and right again brought no messages.
    fn came(&mut self, last: &Sample, sample: &Sample) -> u64 {
        if sample.at.duration_since(last.at) > STALE_AFTER {
            self.unbroken_since = Some(sample.at);
            self.unexplained = None;
            return 0;
        }
        let settled = match (last.left, sample.left) {
            (Some(before), Some(now)) if before <= now => now - before,
            (None, None) => 0,
            // A total is told once it is above zero, and begins anew with the broker.
            (None, Some(now)) if !self.has_counted => now,
            (_, now) => {
                self.unbroken_since = Some(sample.at);
                now.filter(|_| last.left.is_some()).unwrap_or(0)
            }
        };
        self.has_counted |= sample.left.is_some();
        if let Some((since, _)) = self.unexplained
            && sample.at.duration_since(since) > EXPLAINED_WITHIN
        {
            self.unexplained = None;
        }
        let known = sample.depth().saturating_add(settled);
        if known >= last.depth() {
            self.set_off(known - last.depth())
        } else {
            self.note_unexplained(last, sample.at, last.depth() - known);
            0
        }
    }

    fn set_off(&mut self, came: u64) -> u64 {
        let Some((since, owed)) = self.unexplained else {
            return came;
        };
        let rest = owed.saturating_sub(came);
        self.unexplained = (rest > 0).then_some((since, rest));
        came.saturating_sub(owed)
    }

    fn note_unexplained(&mut self, last: &Sample, at: Timestamp, gone: u64) {
        let (since, before) = self.unexplained.unwrap_or((at, 0));
        let owed = before.saturating_add(gone);
        self.unexplained = Some((since, owed));
        if owed > UNEXPLAINED_MIN.max(last.depth() / 10) {
            self.unbroken_since = Some(at);
        }
    }
}

/// Dead letters hold what expired, where a queue passes it on.
fn left(statistics: &QueueStatistics) -> Option<u64> {
    let expired = statistics.expired_total.unwrap_or(0);
    let lost = statistics.dead_lettered_total.unwrap_or(0).max(expired);
    Some(statistics.acknowledged_total?.saturating_add(lost))
}

/// The windows of all queues of a broker, kept by who polls it. Cheap to clone. Two histories count
/// as equal: a history is what readings add up to, and by itself no news.
#[derive(Clone, Debug, Default)]
pub struct History {
    by_queue: Arc<BTreeMap<String, Window>>,
}

impl PartialEq for History {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for History {}

impl History {
    /// Takes in an answer of the broker. A queue that is not in it any more is forgotten: what comes
    /// later under its name is another one.
    pub fn push(&mut self, at: Timestamp, queues: &BTreeMap<String, Queue>) {
        let by_queue = Arc::make_mut(&mut self.by_queue);
        by_queue.retain(|name, _| queues.contains_key(name));
        for (name, queue) in queues.iter().take(QUEUES_MAX) {
            if let Some(window) = by_queue.get_mut(name) {
                window.push(at, &queue.statistics);
            } else {
                let mut window = Window::default();
                window.push(at, &queue.statistics);
                by_queue.insert(name.clone(), window);
            }
        }
    }

    #[must_use]
    pub fn of(&self, queue: &str) -> Option<&Window> {
        self.by_queue.get(queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn counts(ready: u64, unacknowledged: u64, acknowledged: u64) -> QueueStatistics {
        QueueStatistics {
            ready: Some(ready),
            unacknowledged: Some(unacknowledged),
            acknowledged_total: Some(acknowledged),
            ..QueueStatistics::default()
        }
    }

    fn window(samples: &[(i64, u64, u64, u64)]) -> Window {
        let mut window = Window::default();
        for (second, ready, unacknowledged, acknowledged) in samples {
            window.push(at(*second), &counts(*ready, *unacknowledged, *acknowledged));
        }
        window
    }

    fn arrived(window: &Window) -> u64 {
        window.samples.back().unwrap().arrived
    }

    const MINUTE: SignedDuration = SignedDuration::from_mins(1);

    #[test]
    fn arrivals_are_the_change_of_depth_and_what_was_settled() {
        let window = window(&[(0, 10, 0, 100), (1, 5, 5, 100), (2, 20, 5, 130)]);
        assert_eq!(arrived(&window), 45);
    }

    #[test]
    fn arrivals_are_measured_over_what_is_known_and_never_over_less_than_asked() {
        let ten = SignedDuration::from_secs(10);
        let per_second = |samples: &[(i64, u64, u64, u64)]| {
            let window = window(samples);
            window.arrivals(window.samples.back().unwrap(), ten)
        };
        assert_eq!(per_second(&[(0, 0, 0, 0)]), 0);
        assert_eq!(per_second(&[(0, 0, 0, 0), (1, 50, 0, 0)]), 50);
        assert_eq!(
            per_second(&[(0, 0, 0, 0), (2, 9, 0, 0), (10, 9, 0, 41)]),
            50
        );
        let uneven = [(0, 0, 0, 0), (5, 60, 0, 0), (12, 120, 0, 0)];
        assert_eq!(per_second(&uneven), 100);
        assert_eq!(
            per_second(&[(0, 0, 0, 0), (30, 900, 0, 0), (31, 910, 0, 0)]),
            10
        );
    }

    #[test]
    fn expired_and_dead_letters_are_no_missing_arrivals() {
        let mut window = window(&[(0, 10, 0, 100)]);
        let lost = QueueStatistics {
            expired_total: Some(0),
            dead_lettered_total: Some(0),
            ..counts(10, 0, 100)
        };
        window.push(at(1), &lost);
        window.push(
            at(2),
            &QueueStatistics {
                expired_total: Some(4),
                dead_lettered_total: Some(6),
                ..counts(4, 0, 100)
            },
        );
        assert_eq!(arrived(&window), 0);
        assert!(!window.contradicts_itself());
    }

    #[test]
    fn a_counter_that_starts_anew_brings_no_arrivals_but_breaks_the_window() {
        let window = window(&[(0, 5, 0, 1_000_000), (5, 5, 0, 0), (6, 5, 0, 2)]);
        assert_eq!(arrived(&window), 2);
        assert!(window.is_whole_for(SignedDuration::from_secs(1)));
        assert!(!window.is_whole_for(SignedDuration::from_secs(2)));
    }

    #[test]
    fn a_depth_that_is_wrong_for_a_moment_brings_no_arrivals() {
        let window = window(&[
            (0, 1000, 0, 7),
            (1, 0, 0, 7),
            (2, 1000, 0, 7),
            (3, 1001, 0, 7),
        ]);
        assert_eq!(arrived(&window), 1);
        assert!(!window.is_whole_for(SignedDuration::from_secs(3)));
    }

    #[test]
    fn a_counter_that_is_refreshed_after_the_depth_catches_up() {
        let window = window(&[
            (0, 1000, 0, 0),
            (1, 0, 0, 500),
            (2, 0, 0, 1000),
            (3, 5, 0, 1000),
        ]);
        assert_eq!(arrived(&window), 5);
    }

    #[test]
    fn a_purge_contradicts_at_first_and_is_accepted_later() {
        let mut window = window(&[(0, 1000, 0, 7), (1, 0, 0, 7)]);
        assert!(window.contradicts_itself());
        for second in 2..100 {
            window.push(at(second), &counts(0, 0, 7));
        }
        assert!(window.is_whole_for(MINUTE));
        window.push(at(100), &counts(50, 0, 7));
        assert_eq!(arrived(&window), 50);
    }

    #[test]
    fn a_gap_breaks_the_window_and_counts_as_nothing() {
        let window = window(&[(0, 5, 0, 7), (11, 900, 0, 800), (12, 901, 0, 800)]);
        assert_eq!(arrived(&window), 1);
        assert!(window.is_whole_for(SignedDuration::from_secs(1)));
        assert!(!window.is_whole_for(SignedDuration::from_secs(2)));
    }

    #[test]
    fn absent_counts_are_missing_and_not_zero() {
        let mut window = window(&[(0, 5, 0, 7)]);
        window.push(at(1), &QueueStatistics::default());
        assert_eq!(window.now(at(1)), Now::Missing);
        window.push(at(2), &counts(5, 0, 7));
        assert!(matches!(window.now(at(2)), Now::Known(_)));
        assert_eq!(window.now(at(13)), Now::Stale);
        assert_eq!(Window::default().now(at(0)), Now::Unread);
    }

    #[test]
    fn the_first_acknowledgement_counts_and_one_that_vanished_breaks_the_window() {
        let untold = |ready| QueueStatistics {
            acknowledged_total: None,
            ..counts(ready, 0, 0)
        };
        let mut window = Window::default();
        window.push(at(0), &untold(10));
        window.push(at(1), &untold(10));
        window.push(at(2), &counts(5, 0, 8));
        assert_eq!(arrived(&window), 3);
        assert!(window.is_whole_for(SignedDuration::from_secs(2)));
        window.push(at(3), &untold(5));
        window.push(at(4), &counts(5, 0, 1_000_000));
        assert_eq!(arrived(&window), 3);
        assert!(!window.is_whole_for(SignedDuration::from_secs(1)));
    }

    #[test]
    fn what_comes_late_is_dropped_and_a_clock_that_is_set_back_begins_a_new_window() {
        let mut window = window(&[(0, 5, 0, 7), (4, 6, 0, 7), (2, 900, 0, 7)]);
        assert_eq!(arrived(&window), 1);
        window.push(at(-3600), &counts(3, 0, 7));
        assert_eq!(window.samples.len(), 1);
    }

    #[test]
    fn a_window_is_bounded_however_often_it_is_fed() {
        let mut window = Window::default();
        for step in 0..10_000 {
            window.push(at(0) + SignedDuration::from_millis(step), &counts(1, 0, 0));
        }
        assert_eq!(window.samples.len(), SAMPLES_MAX);
    }
}

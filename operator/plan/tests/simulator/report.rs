//! What is told of runs.

use std::fmt;

/// Sums over runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) runs: usize,
    pub(crate) steps: usize,
    pub(crate) passes: usize,
    /// Writes that operators sent, and those of them that changed something.
    pub(crate) writes: usize,
    pub(crate) changes: usize,
    pub(crate) crashes: usize,
    /// Virtual time, in milliseconds.
    pub(crate) time: i64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: Self) {
        let Self {
            runs,
            steps,
            passes,
            writes,
            changes,
            crashes,
            time,
        } = other;
        self.runs += runs;
        self.steps += steps;
        self.passes += passes;
        self.writes += writes;
        self.changes += changes;
        self.crashes += crashes;
        self.time += time;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            runs,
            steps,
            passes,
            writes,
            changes,
            crashes,
            time,
        } = self;
        write!(
            f,
            "{runs} runs, {steps} steps, {passes} passes, {writes} writes ({changes} changes), \
             {crashes} crashes, {} virtual hours",
            time / 3_600_000
        )
    }
}

/// A rule that was broken, and what led to it.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) step: usize,
    pub(crate) rule: String,
    pub(crate) trace: Vec<String>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        write!(f, "step {}: {}", self.step, self.rule)
    }
}

//! The stages of a verb that judges: each runs, whatever the others said, and a table closes.

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::progress::Progress;

pub(crate) struct Stages {
    progress: Progress,
    done: Vec<Stage>,
}

struct Stage {
    name: String,
    took: Duration,
    passed: bool,
}

impl Stages {
    pub(crate) fn new() -> Self {
        Self {
            progress: Progress::new(),
            done: Vec::new(),
        }
    }

    /// Runs a quiet stage; what it complains of is printed when it ends.
    pub(crate) fn run(&mut self, name: &str, work: impl FnOnce() -> anyhow::Result<()>) -> bool {
        let started = Instant::now();
        let result = self.progress.step(name, work);
        self.record(name, started, &result)
    }

    /// Runs a stage that prints its own progress.
    pub(crate) fn run_loud(
        &mut self,
        name: &str,
        work: impl FnOnce() -> anyhow::Result<()>,
    ) -> bool {
        let started = Instant::now();
        self.progress.note(&format!("== {name}"));
        let result = work();
        self.record(name, started, &result)
    }

    fn record(&mut self, name: &str, started: Instant, result: &anyhow::Result<()>) -> bool {
        if let Err(error) = result {
            self.progress.note(&format!("{name}: {error:#}"));
        }
        self.done.push(Stage {
            name: name.to_owned(),
            took: started.elapsed(),
            passed: result.is_ok(),
        });
        result.is_ok()
    }

    /// Prints the table.
    ///
    /// # Errors
    /// The names of the stages that failed, if any did.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        println!("{}", table(&self.done));
        let failed: Vec<_> = self
            .done
            .iter()
            .filter(|stage| !stage.passed)
            .map(|stage| stage.name.as_str())
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        bail!("failed: {}", failed.join(", "))
    }
}

fn table(stages: &[Stage]) -> String {
    let width = stages
        .iter()
        .map(|stage| stage.name.len())
        .chain(["total".len()])
        .max()
        .unwrap_or_default();
    let row = |name: &str, took: Duration, verdict: &str| {
        format!("{name:<width$}  {:>7.1} s  {verdict}", took.as_secs_f64())
    };
    let mut lines: Vec<_> = stages
        .iter()
        .map(|stage| {
            let verdict = if stage.passed { "passed" } else { "FAILED" };
            row(&stage.name, stage.took, verdict)
        })
        .collect();
    let total = stages.iter().map(|stage| stage.took).sum();
    lines.push(row("total", total, "").trim_end().to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_tells_each_stage_and_the_total() {
        let stage = |name: &str, millis, passed| Stage {
            name: name.to_owned(),
            took: Duration::from_millis(millis),
            passed,
        };
        let stages = [stage("format", 900, true), stage("clippy", 61_000, false)];
        assert_eq!(
            table(&stages),
            "format      0.9 s  passed\nclippy     61.0 s  FAILED\ntotal      61.9 s"
        );
    }

    #[test]
    fn a_failed_stage_fails_the_verb_after_the_others_ran() {
        let mut stages = Stages::new();
        stages.run("first", || bail!("broken"));
        let mut ran = false;
        stages.run("second", || {
            ran = true;
            Ok(())
        });
        assert!(ran);
        assert_eq!(stages.finish().unwrap_err().to_string(), "failed: first");
    }
}

//! What a person sees while something takes long: one line a step with the time
//! it took; on a terminal a line that counts while it runs.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often the line of a running step is redrawn on a terminal.
const REDRAW: Duration = Duration::from_millis(500);
/// How often a log, where nothing can be redrawn, hears that a step still runs.
const REMIND: Duration = Duration::from_secs(20);
/// Steps quicker than this need no announcement.
const QUICK: Duration = Duration::from_millis(1500);

/// Prints steps to standard error, so that a verb's result stays alone on standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    live: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            live: std::io::stderr().is_terminal(),
        }
    }

    /// Runs one step and prints its name, outcome and duration.
    pub(crate) fn step<T>(
        self,
        name: &str,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let started = Instant::now();
        let (finished, running) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let ticker = scope.spawn(move || self.tick(name, started, &running));
            let result = work();
            drop(finished);
            let drawn = ticker.join();
            self.finish(name, started, result.is_ok());
            if drawn.is_err() {
                self.note("the progress line failed; the step itself did not");
            }
            result
        })
    }

    /// Prints a line between steps.
    pub(crate) fn note(self, line: &str) {
        print(&format!("{}{line}\n", self.clear()));
    }

    fn tick(self, name: &str, started: Instant, running: &mpsc::Receiver<()>) {
        let mut pause = QUICK;
        while running.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            let seconds = started.elapsed().as_secs();
            if self.live {
                print(&format!("{}  .. {name} {seconds} s", self.clear()));
                pause = REDRAW;
            } else {
                print(&format!("  .. {name} ({seconds} s so far)\n"));
                pause = REMIND;
            }
        }
    }

    fn finish(self, name: &str, started: Instant, good: bool) {
        let mark = if good { "ok" } else { "!!" };
        let seconds = started.elapsed().as_secs_f64();
        print(&format!(
            "{}  {mark} {name} ({seconds:.1} s)\n",
            self.clear()
        ));
    }

    fn clear(self) -> &'static str {
        if self.live { "\r\x1b[2K" } else { "" }
    }
}

fn print(text: &str) {
    let mut out = std::io::stderr().lock();
    // Nobody can be told that standard error is closed.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

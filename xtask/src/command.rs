//! Running other programs: always with a deadline, and with their words in the error.

use std::io::{Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Runs to the end and returns standard output.
///
/// # Errors
/// When it cannot start, exits non-zero (the error carries its standard error) or
/// takes longer than `limit` (it is killed then).
pub(crate) fn output(command: &mut Command, limit: Duration) -> anyhow::Result<String> {
    output_with_input(command, "", limit)
}

/// As [`output`], with `input` on standard input.
pub(crate) fn output_with_input(
    command: &mut Command,
    input: &str,
    limit: Duration,
) -> anyhow::Result<String> {
    let name = describe(command);
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start {name}"))?;
    let done = collect(child, input, limit).with_context(|| format!("failed to run {name}"))?;
    let Some(done) = done else {
        bail!(
            "{name} did not finish within {} s and was killed",
            limit.as_secs()
        )
    };
    if !done.status.success() {
        let words = String::from_utf8_lossy(&done.stderr);
        bail!("{name} failed ({}): {}", done.status, words.trim());
    }
    String::from_utf8(done.stdout).with_context(|| format!("{name} printed no text"))
}

/// Runs to the end and discards what it prints.
pub(crate) fn run(command: &mut Command, limit: Duration) -> anyhow::Result<()> {
    output(command, limit).map(drop)
}

/// cargo as from a shell. What `cargo xtask` tells this process about its own package would have
/// build scripts run again that read it, and half of the dependencies built anew.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        if is_of_this_package(&name.to_string_lossy()) {
            cargo.env_remove(name);
        }
    }
    cargo
}

fn is_of_this_package(variable: &str) -> bool {
    ["CARGO_MANIFEST_", "CARGO_PKG_"]
        .iter()
        .any(|prefix| variable.starts_with(prefix))
}

/// Calls `done` until it says yes, for at most `limit`.
///
/// # Errors
/// `what` did not happen in time, with the last answer of `done`.
pub(crate) fn wait_until(
    what: &str,
    limit: Duration,
    mut done: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    const PAUSE: Duration = Duration::from_millis(150);
    let deadline = Instant::now() + limit;
    loop {
        let answer = done();
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let late = format!("{what} did not happen within {} s", limit.as_secs());
            return answer
                .map(drop)
                .context(late.clone())
                .and_then(|()| bail!(late));
        }
        std::thread::sleep(PAUSE);
    }
}

fn collect(mut child: Child, input: &str, limit: Duration) -> anyhow::Result<Option<Output>> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        // Pipes are served by threads of their own, so that neither side waits on a full one.
        scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(input.as_bytes())));
        let stdout = scope.spawn(move || slurp(stdout));
        let stderr = scope.spawn(move || slurp(stderr));
        let status = wait(&mut child, limit)?;
        let read = |pipe: std::thread::ScopedJoinHandle<'_, std::io::Result<Vec<u8>>>| {
            pipe.join()
                .unwrap_or_else(|_| Err(std::io::Error::other("the reader failed")))
        };
        let (stdout, stderr) = (read(stdout)?, read(stderr)?);
        Ok(status.map(|status| Output {
            status,
            stdout,
            stderr,
        }))
    })
}

fn wait(child: &mut Child, limit: Duration) -> anyhow::Result<Option<std::process::ExitStatus>> {
    const PAUSE: Duration = Duration::from_millis(5);
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

fn slurp(pipe: Option<impl Read>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn describe(command: &Command) -> String {
    /// Enough to know which command it was.
    const SHOWN: usize = 8;
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let shown: Vec<_> = words
        .take(SHOWN)
        .map(|word| word.to_string_lossy())
        .collect();
    format!("`{}`", shown.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn input_goes_in_and_output_comes_back() {
        assert_eq!(
            output_with_input(&mut shell("tr a-z A-Z"), "words", SOON).unwrap(),
            "WORDS"
        );
    }

    #[test]
    fn a_failure_tells_the_words_that_were_printed_about_it() {
        let error = run(&mut shell("echo no such thing >&2; exit 3"), SOON).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("no such thing") && text.contains('3'),
            "{text}"
        );
    }

    #[test]
    fn what_takes_too_long_is_killed() {
        let error = run(&mut shell("exec sleep 60"), Duration::from_millis(50)).unwrap_err();
        assert!(format!("{error:#}").contains("was killed"), "{error:#}");
    }

    #[test]
    fn waiting_ends_with_the_last_reason() {
        let error = wait_until("rain", Duration::ZERO, || bail!("no cloud")).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("rain did not happen") && text.contains("no cloud"),
            "{text}"
        );
        assert!(wait_until("sun", Duration::ZERO, || Ok(true)).is_ok());
    }
}

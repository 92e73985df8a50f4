//! The Debian mirror that this machine already uses: no address is written down here.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command;

/// Names a mirror where apt's configuration does not (on another distribution, say).
const MIRROR_VARIABLE: &str = "ORLOP_DEBIAN_MIRROR";

/// Reading apt's own configuration needs no network.
const LIMIT: Duration = Duration::from_secs(20);

/// The mirror's address, as mmdebstrap takes it.
///
/// # Errors
/// apt's sources name no mirror for the release that this machine runs.
pub(super) fn mirror() -> Result<String> {
    if let Ok(mirror) = std::env::var(MIRROR_VARIABLE) {
        return Ok(mirror);
    }
    let release =
        std::fs::read_to_string("/etc/os-release").context("failed to read /etc/os-release")?;
    let targets = command::output(
        Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(SITE) $(RELEASE) $(COMPONENT)",
        ]),
        LIMIT,
    )?;
    main_archive(&release, &targets).with_context(|| {
        format!("found no Debian mirror in apt's sources; name one in {MIRROR_VARIABLE}")
    })
}

/// The site that serves `main` of the machine's own release, which no add-on repository does.
fn main_archive(os_release: &str, targets: &str) -> Option<String> {
    let value = |key| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    };
    if value("ID")? != "debian" {
        return None;
    }
    let codename = value("VERSION_CODENAME")?;
    targets.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (site, release, component) = (words.next()?, words.next()?, words.next()?);
        (release == codename && component == "main").then(|| site.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "https://extra.example/apt tools-oak main\n\
                           https://mirror.example/security oak-security main\n\
                           https://mirror.example/debian oak contrib\n\
                           https://mirror.example/debian oak main\n";

    #[test]
    fn the_mirror_is_the_one_that_serves_the_machines_own_release() {
        let release = "ID=debian\nVERSION_CODENAME=oak\n";
        assert_eq!(
            main_archive(release, TARGETS).as_deref(),
            Some("https://mirror.example/debian")
        );
    }

    #[test]
    fn a_mirror_of_another_distribution_is_not_taken() {
        assert_eq!(
            main_archive("ID=ubuntu\nVERSION_CODENAME=oak\n", TARGETS),
            None
        );
        assert_eq!(
            main_archive("ID=debian\nVERSION_CODENAME=elm\n", TARGETS),
            None
        );
    }
}

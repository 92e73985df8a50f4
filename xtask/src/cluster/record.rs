//! Records of processes. A record names a process by its id, start time and
//! boot, so that an id used again never gets a stranger killed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::files;

/// A process that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) pid: i32,
    /// Clock ticks between boot and the process's start.
    start: u64,
    /// The boot that ids and ticks count from.
    boot: String,
    made_of: String,
}

impl Record {
    /// # Errors
    /// When there is no such process.
    pub(crate) fn of(pid: i32, name: &str, made_of: &str) -> anyhow::Result<Self> {
        let stat = Stat::of(pid).with_context(|| format!("there is no process {pid}"))?;
        Ok(Self {
            name: name.to_owned(),
            pid,
            start: stat.start,
            boot: boot_id()?,
            made_of: made_of.to_owned(),
        })
    }

    pub(crate) fn write(&self, directory: &Path) -> anyhow::Result<()> {
        files::write_atomically(&path(directory, &self.name), &serde_json::to_vec(self)?)
    }

    pub(crate) fn is_alive(&self) -> bool {
        boot_id().is_ok_and(|boot| boot == self.boot)
            && Stat::of(self.pid).is_some_and(|stat| stat.start == self.start && !stat.ended)
    }

    /// Whether the process runs and was made from the same things.
    pub(crate) fn is_running(&self, made_of: &str) -> bool {
        self.made_of == made_of && self.is_alive()
    }

    #[cfg(test)]
    pub(crate) fn of_another_process(&self) -> Self {
        Self {
            start: self.start + 1,
            ..self.clone()
        }
    }
}

/// All records, sorted by name.
pub(crate) fn all(directory: &Path) -> anyhow::Result<Vec<Record>> {
    let mut all = Vec::new();
    for file in files::list(directory)? {
        if file
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let text = fs::read_to_string(&file)?;
            all.push(
                serde_json::from_str::<Record>(&text)
                    .with_context(|| format!("failed to read {}", file.display()))?,
            );
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

pub(crate) fn forget(directory: &Path, name: &str) -> anyhow::Result<()> {
    files::remove_if_present(&path(directory, name))
}

pub(crate) fn read(directory: &Path, name: &str) -> anyhow::Result<Option<Record>> {
    match fs::read_to_string(path(directory, name)) {
        Ok(text) => Ok(Some(serde_json::from_str(&text)?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.json"))
}

/// What `/proc/PID/stat` says, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    start: u64,
    /// A zombie: it ended, and only its parent has not yet looked.
    ended: bool,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// proc(5): the name, in parentheses, may hold anything; state is the first
    /// field after it, the start time the twentieth.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let start = fields.nth(18)?.parse().ok()?;
        Some(Self {
            start,
            ended: matches!(state, "Z" | "X"),
        })
    }
}

fn boot_id() -> anyhow::Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mine() -> Record {
        let pid = i32::try_from(std::process::id()).unwrap();
        Record::of(pid, "mine", "a").unwrap()
    }

    #[test]
    fn the_start_time_is_found_behind_a_name_with_parentheses() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 999 1";
        assert_eq!(
            Stat::parse(line),
            Some(Stat {
                start: 4242,
                ended: false
            })
        );
    }

    #[test]
    fn a_zombie_has_ended() {
        let line = "7 (a) Z 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 999 1";
        assert_eq!(
            Stat::parse(line),
            Some(Stat {
                start: 4242,
                ended: true
            })
        );
    }

    #[test]
    fn a_record_names_this_process_and_no_other_with_the_same_id() {
        assert!(mine().is_alive());
        assert!(!mine().of_another_process().is_alive());
        assert!(
            !Record {
                boot: "another".to_owned(),
                ..mine()
            }
            .is_alive()
        );
    }

    #[test]
    fn a_process_made_from_other_things_is_not_the_wanted_one() {
        assert!(mine().is_running("a"));
        assert!(!mine().is_running("b"));
    }

    #[test]
    fn a_written_record_is_read_until_it_is_forgotten() {
        let directory = std::env::temp_dir().join(format!("orlop-records-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        mine().write(&directory).unwrap();
        assert_eq!(read(&directory, "mine").unwrap(), Some(mine()));
        assert_eq!(all(&directory).unwrap(), [mine()]);
        forget(&directory, "mine").unwrap();
        assert_eq!(read(&directory, "mine").unwrap(), None);
        fs::remove_dir_all(&directory).unwrap();
    }
}

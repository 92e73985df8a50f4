//! The script of one epoch, and its operations as values.

use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Value};

use super::{protocol::Epoch, row::Key};

/// Tells one reader's or writer's mark from another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

impl Token {
    pub fn random() -> Self {
        Self(rand::random())
    }
}

/// How the rows of a type are laid out: fields and their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape(pub u64);

/// What can be done with one key; `cell.lua` does it.
#[derive(Clone, Debug)]
pub enum Operation<'a> {
    /// Reads the row, or takes the lease to load it.
    Ask { token: Token, shape: Shape },
    /// Only reads.
    Peek { shape: Shape },
    /// Stores the row that was loaded under the lease, if the lease still stands.
    Fill {
        token: Token,
        ttl: Duration,
        shape: Shape,
        payload: &'a Bytes,
    },
    /// Keeps the row from being cached until settled.
    Intend { token: Token },
    /// Takes back the intent and removes whatever else is there.
    Settle { token: Token },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Hit(Bytes),
    Granted,
    Held(Token),
    Written,
    Stored,
    None,
}

/// How long a reader may take to load a row before another one may try: far longer than a
/// statement by key takes.
const LEASE: Duration = Duration::from_secs(5);
/// How long an intent keeps a row from being cached when its writer dies. Longer than any
/// transaction may last, its commit included.
pub const INTENT: Duration = Duration::from_mins(1);

#[derive(Clone, Debug)]
pub struct Script {
    pub epoch: Epoch,
    text: String,
    /// By which the server knows it.
    sha: String,
}

impl Script {
    pub fn new(epoch: Epoch) -> Self {
        // Servers keep every text until they restart: without the comments it is half as long.
        let text: String = include_str!("cell.lua")
            .lines()
            .filter(|line| !line.trim_start().starts_with("--"))
            .flat_map(|line| [line, "\n"])
            .collect();
        let text = text.replace("@EPOCH@", &epoch.to_string());
        let sha = redis::Script::new(&text).get_hash().to_owned();
        Self { epoch, text, sha }
    }

    /// Loads it on whichever node this is sent to.
    pub fn load(&self) -> Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(&self.text);
        command
    }

    pub fn call(&self, key: &Key, operation: &Operation<'_>) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.sha).arg(1).arg(key.as_str());
        match operation {
            Operation::Ask { token, shape } => command
                .arg("ask")
                .arg(hex(token.0))
                .arg(millis(LEASE))
                .arg(hex(shape.0)),
            Operation::Peek { shape } => command.arg("peek").arg(hex(shape.0)),
            Operation::Fill {
                token,
                ttl,
                shape,
                payload,
            } => command
                .arg("fill")
                .arg(hex(token.0))
                .arg(millis(*ttl))
                .arg(hex(shape.0))
                .arg(payload.as_ref()),
            Operation::Intend { token } => {
                command.arg("intend").arg(hex(token.0)).arg(millis(INTENT))
            }
            Operation::Settle { token } => command.arg("settle").arg(hex(token.0)),
        };
        command
    }
}

impl Reply {
    /// `None` when it is not an answer of the script.
    pub fn parse(value: Value) -> Option<Self> {
        let (word, payload): (String, Bytes) = redis::from_redis_value(value).ok()?;
        Some(match word.as_str() {
            "hit" => Self::Hit(payload),
            "granted" => Self::Granted,
            "held" => {
                let token = std::str::from_utf8(&payload).ok()?;
                Self::Held(Token(u64::from_str_radix(token, 16).ok()?))
            }
            "written" => Self::Written,
            "stored" => Self::Stored,
            "none" => Self::None,
            _ => return None,
        })
    }
}

/// 16 digits: the script cuts by length.
fn hex(number: u64) -> String {
    format!("{number:016x}")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

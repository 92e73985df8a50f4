//! How a verb ends when it does not succeed.

use std::{fmt, process::ExitCode};

/// Why a verb did not succeed. Each variant has an exit code that scripts may rely on.
#[derive(Debug)]
pub enum Failure {
    /// 1: something went wrong: a file, the network, the API server.
    Error(anyhow::Error),
    /// 3: a manifest is not valid: one line for each mistake, with its place.
    Invalid(Vec<String>),
    /// 4: an application is not ready, or was not in time: why.
    NotReady(String),
}

/// 2: the command line was not understood; clap says why.
pub(crate) const USAGE: u8 = 2;

impl Failure {
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Error(_) => 1,
            Self::Invalid(_) => 3,
            Self::NotReady(_) => 4,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => write!(f, "error: {error:#}"),
            Self::Invalid(mistakes) => f.write_str(&mistakes.join("\n")),
            Self::NotReady(why) => f.write_str(why),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Error(error)
    }
}

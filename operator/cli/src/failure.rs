//! How a verb ends when it does not succeed.

use std::{fmt, process::ExitCode};

/// Why a verb did not succeed. Each variant has an exit code that scripts may rely on.
#[derive(Debug)]
pub enum Failure {
    /// 1: something went wrong: a file, the network, the API server.
    Error(anyhow::Error),
    /// 2: what the command line asks for does not fit what there is: what there is instead.
    Unfit(String),
    /// 3: a manifest is not valid: one line for each mistake, with its place.
    Invalid(Vec<String>),
    /// 4: an application is not ready, or was not in time: why.
    NotReady(String),
}

/// 2: the command line was not understood, for which clap says why, or does not fit.
pub(crate) const USAGE: u8 = 2;

impl Failure {
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Error(_) => 1,
            Self::Unfit(_) => USAGE,
            Self::Invalid(_) => 3,
            Self::NotReady(_) => 4,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => write!(f, "error: {}", told(error)),
            Self::Unfit(why) => write!(f, "error: {why}"),
            Self::Invalid(mistakes) => f.write_str(&mistakes.join("\n")),
            Self::NotReady(why) => f.write_str(why),
        }
    }
}

/// The chain of causes in one line. The API server's answer ends it: what follows is the same
/// answer again, as a data structure.
fn told(error: &anyhow::Error) -> String {
    let mut words = Vec::new();
    for cause in error.chain() {
        if let Some(kube::Error::Api(status)) = cause.downcast_ref() {
            words.push(status.message.clone());
            break;
        }
        words.push(cause.to_string());
    }
    words.join(": ")
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Error(error)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use kube::core::Status;

    use super::*;

    #[test]
    fn an_answer_of_the_api_server_is_told_once_in_its_own_words() {
        let status = Status::failure("namespaces \"quay\" not found", "NotFound").with_code(404);
        let answer = kube::Error::Api(status.boxed());
        let error = Err::<(), _>(answer)
            .context("failed to apply AppPlatform/harbour")
            .unwrap_err();
        assert_eq!(
            Failure::from(error).to_string(),
            "error: failed to apply AppPlatform/harbour: namespaces \"quay\" not found"
        );
    }
}

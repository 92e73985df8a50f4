//! Logs: one line an event, constant messages plus fields.

use std::io;

use thiserror::Error;
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object a line, for collectors.
    Json,
    /// For people.
    Text,
}

#[derive(Debug, Error)]
pub enum LogsError {
    #[error("failed to read the log filter '{filter}'")]
    Filter {
        filter: String,
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("failed to install the log")]
    Install(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends the log of the whole process to standard error. `filter` is a list of directives such as
/// `info,kube=warn`.
///
/// # Errors
/// When the filter cannot be read or a log is installed already.
pub fn init(format: Format, filter: &str) -> Result<(), LogsError> {
    let directives = EnvFilter::try_new(filter).map_err(|source| LogsError::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let lines = tracing_subscriber::fmt::layer::<Registry>().with_writer(io::stderr);
    let lines = match format {
        Format::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_current_span(true)
            .boxed(),
        Format::Text => lines.boxed(),
    };
    Ok(tracing_subscriber::registry()
        .with(lines.with_filter(directives))
        .try_init()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_means_nothing_is_refused_by_name() {
        let error = init(Format::Json, "info,=x=").unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to read the log filter 'info,=x='"
        );
    }
}

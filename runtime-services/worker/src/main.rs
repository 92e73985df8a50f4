//! The binary `orlop-worker`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use orlop_telemetry::{logs, shutdown};
use orlop_worker::{Args, Worker};

// One thread: a job waits for its handler, and what costs time is reading and writing sockets, of
// which the broker's has a thread of its own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = logs::init(args.log_format, &args.log_filter) {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "ended");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let stop = shutdown::on_signal().context("failed to install the signal handlers")?;
    Worker::new(args)?.run(stop).await
}

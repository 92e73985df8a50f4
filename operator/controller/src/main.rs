//! The binary `orlop-operator`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use orlop_controller::{Args, Operator};
use orlop_telemetry::{logs, shutdown};

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = logs::init(args.log_format, &args.log_filter) {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    match Box::pin(run(args)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "ended");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let stop = shutdown::on_signal().context("failed to install the signal handlers")?;
    let config = kube::Config::infer()
        .await
        .context("failed to find a cluster; set KUBECONFIG, or run inside of one")?;
    Operator::new(args, config).await?.run(stop).await
}

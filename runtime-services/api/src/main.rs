//! The binary `orlop-api`.

use std::process::ExitCode;

use clap::Parser as _;
use orlop_api::{
    Service,
    config::{Args, Config},
};
use orlop_telemetry::{logs, shutdown};

#[tokio::main(flavor = "multi_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = logs::init(args.log_format, &args.log) {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The last line of the log: the operator quotes it.
            tracing::error!(error = format!("{error:#}"), "ended");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let stop = shutdown::on_signal()?;
    let config = Config::read(&args.config)?;
    let service = Service::bind(config, &args.addresses()).await?;
    service.run(stop).await
}

use clap::Parser as _;
use orlop_api::config::{Args, Config};

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    orlop_telemetry::logs::init(args.log_format, &args.log)?;
    let config = Config::read(&args.config)?;
    tracing::info!(
        api = config.said.name,
        types = config.model.entities().count(),
        "the configuration is valid"
    );
    Ok(())
}

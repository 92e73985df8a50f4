use clap::Parser as _;
use orlop_api::{
    Service,
    config::{Args, Config},
};

#[tokio::main(flavor = "multi_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    orlop_telemetry::logs::init(args.log_format, &args.log)?;
    let stop = orlop_telemetry::shutdown::on_signal()?;
    let config = Config::read(&args.config)?;
    let service = Service::bind(config, &args.addresses()).await?;
    service.run(stop).await
}

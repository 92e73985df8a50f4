//! The binary `orlop-operator`.

use anyhow::Context as _;
use clap::Parser as _;
use orlop_controller::{Args, Operator};
use orlop_telemetry::{logs, shutdown};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    logs::init(args.log_format, &args.log_filter)?;
    let stop = shutdown::on_signal().context("failed to install the signal handlers")?;
    let config = kube::Config::infer()
        .await
        .context("failed to find a cluster; set KUBECONFIG, or run inside of one")?;
    Operator::new(args, config).await?.run(stop).await
}

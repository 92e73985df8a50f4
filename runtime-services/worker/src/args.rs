//! Arguments: read here once and passed on by value.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;
use orlop_contract::{HEALTH_PORT, worker};
use orlop_telemetry::logs;

/// Takes jobs from a queue and gives each to a handler.
#[derive(Clone, Debug, Parser)]
#[command(name = "orlop-worker", version)]
pub struct Args {
    /// What to do: a JSON file
    #[arg(long, default_value = worker::CONFIG_PATH, env = "ORLOP_WORKER_CONFIG")]
    pub config: PathBuf,

    /// The broker, amqp://user:password@host:port/vhost
    // Neither its value nor that of the variable is shown: it holds a password.
    #[arg(long, env = worker::AMQP_URL_VARIABLE, hide_env_values = true)]
    pub amqp_url: String,

    /// Address of health, metrics and statistics
    #[arg(long, env = "ORLOP_HTTP_ADDRESS", default_value_t = SocketAddr::from(([0, 0, 0, 0], HEALTH_PORT)))]
    pub http_address: SocketAddr,

    /// Form of the log
    #[arg(long, value_enum, default_value_t = logs::Format::Json)]
    pub log_format: logs::Format,

    /// Directives such as info,orlop_worker=debug
    // lapin logs each failure that it also returns.
    #[arg(long, env = "ORLOP_LOG", default_value = "info,lapin=off")]
    pub log_filter: String,
}

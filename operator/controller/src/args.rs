//! Arguments: read here once and passed on by value.

use std::net::SocketAddr;

use orlop_plan::Images;
use orlop_telemetry::logs;

/// The operator of Orlop.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "orlop-operator", version)]
pub struct Args {
    /// Address of /healthz, /readyz and /metrics
    #[arg(long, env = "ORLOP_HTTP_ADDRESS", default_value = "0.0.0.0:8080")]
    pub http_address: SocketAddr,

    /// Namespace of the lease [default: that of the kubeconfig or service account]
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: Option<String>,

    /// Name of this process in the lease and in events [default: a random one]
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,

    /// Name of the lease that the leader holds
    #[arg(long, default_value = "orlop-operator")]
    pub lease_name: String,

    /// Act without holding the lease. Only where no other operator runs
    #[arg(long)]
    pub no_leader_election: bool,

    /// Passes at once, per kind
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,

    /// Namespace to look after; may be given several times [default: all]
    #[arg(long)]
    pub watch_namespace: Vec<String>,

    /// DNS suffix of the cluster
    #[arg(long, default_value = "cluster.local")]
    pub cluster_domain: String,

    #[command(flatten)]
    pub images: ImageArgs,

    #[arg(long, value_enum, default_value_t = logs::Format::Json)]
    pub log_format: logs::Format,

    /// Directives such as info,kube=debug
    #[arg(long, env = "ORLOP_LOG", default_value = "info")]
    pub log_filter: String,
}

/// What runs where a spec names no image. Without a value, specs must name theirs.
#[derive(Clone, Debug, clap::Args)]
pub struct ImageArgs {
    /// Image of the edge
    #[arg(long = "edge-image", env = "ORLOP_EDGE_IMAGE", default_value = "")]
    pub edge: String,

    /// Image of PostgreSQL
    #[arg(
        long = "postgres-image",
        env = "ORLOP_POSTGRES_IMAGE",
        default_value = ""
    )]
    pub postgres: String,

    /// Image of RabbitMQ
    #[arg(
        long = "rabbitmq-image",
        env = "ORLOP_RABBITMQ_IMAGE",
        default_value = ""
    )]
    pub rabbitmq: String,

    /// Image of Valkey
    #[arg(long = "valkey-image", env = "ORLOP_VALKEY_IMAGE", default_value = "")]
    pub valkey: String,

    /// Image of the worker runtime
    #[arg(long = "worker-image", env = "ORLOP_WORKER_IMAGE", default_value = "")]
    pub worker: String,

    /// Image of the API runtime
    #[arg(long = "api-image", env = "ORLOP_API_IMAGE", default_value = "")]
    pub api: String,
}

impl From<ImageArgs> for Images {
    fn from(args: ImageArgs) -> Self {
        let ImageArgs {
            edge,
            postgres,
            rabbitmq,
            valkey,
            worker,
            api,
        } = args;
        Self {
            edge,
            postgres,
            rabbitmq,
            valkey,
            worker,
            api,
        }
    }
}

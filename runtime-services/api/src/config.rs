//! What the process is told: arguments, environment, the configuration file.

use std::{fs, io, net::SocketAddr, path::PathBuf};

use clap::Parser;
use orlop_contract::{
    HEALTH_PORT,
    api::{self, ApiConfig},
    types::{Model, Problem},
};
use orlop_telemetry::logs;
use thiserror::Error;

/// The API runtime: serves declared types as REST over PostgreSQL.
// Not Debug: addresses hold passwords.
#[derive(Parser)]
#[command(version)]
pub struct Args {
    /// The configuration, as JSON.
    #[arg(long, default_value = api::CONFIG_PATH)]
    pub config: PathBuf,
    /// Where the API is served.
    #[arg(long, default_value_t = SocketAddr::from(([0, 0, 0, 0], api::PORT)))]
    pub listen: SocketAddr,
    /// Where health, readiness and metrics are served.
    #[arg(long, default_value_t = SocketAddr::from(([0, 0, 0, 0], HEALTH_PORT)))]
    pub listen_health: SocketAddr,
    /// Address of the database: `postgres://user:password@host:port/database`.
    #[arg(long, env = api::DATABASE_URL, hide_env_values = true)]
    pub database_url: String,
    /// Address of one cache, or of any node of a cluster: `redis://user:password@host:port`.
    #[arg(long, env = api::REDIS_URL, hide_env_values = true)]
    pub redis_url: Option<String>,
    /// Addresses of a cluster's nodes, `host:port` with commas between them.
    #[arg(long, env = api::REDIS_NODES)]
    pub redis_nodes: Option<String>,
    /// Address of the broker: `amqp://user:password@host:port/vhost`.
    #[arg(long, env = api::AMQP_URL, hide_env_values = true)]
    pub amqp_url: Option<String>,
    /// How a line of the log looks.
    #[arg(long, value_enum, default_value_t = logs::Format::Json)]
    pub log_format: logs::Format,
    /// What is logged: a list of directives. The cache's client warns at each attempt to reconnect;
    /// that the cache is away is told once by this program.
    #[arg(long, env = "ORLOP_LOG", default_value = "info,redis=error")]
    pub log: String,
}

/// Where everything is that the service speaks to, and where it listens.
#[derive(Clone)]
pub struct Addresses {
    pub api: SocketAddr,
    pub health: SocketAddr,
    pub database: String,
    pub redis_url: Option<String>,
    pub redis_nodes: Option<String>,
    pub amqp_url: Option<String>,
}

impl Args {
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        Addresses {
            api: self.listen,
            health: self.listen_health,
            database: self.database_url.clone(),
            redis_url: self.redis_url.clone(),
            redis_nodes: self.redis_nodes.clone(),
            amqp_url: self.amqp_url.clone(),
        }
    }
}

/// The checked configuration; nobody looks at the declared types afterwards.
#[derive(Debug)]
pub struct Config {
    pub said: ApiConfig,
    pub model: Model,
}

#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("failed to read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to understand {path}")]
    Parse {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("the configuration is refused: {}", listed(.0))]
    Refused(Vec<Problem>),
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// When it cannot be read, is no [`ApiConfig`], or declares what does not work.
    pub fn read(path: &PathBuf) -> Result<Self, ConfigError> {
        let text = fs::read(path).map_err(|source| ConfigError::Read {
            path: path.clone(),
            source,
        })?;
        let said = serde_json::from_slice(&text).map_err(|source| ConfigError::Parse {
            path: path.clone(),
            source,
        })?;
        Self::check(said)
    }

    /// # Errors
    /// When something is declared that does not work.
    pub fn check(said: ApiConfig) -> Result<Self, ConfigError> {
        let model = said.validate().map_err(ConfigError::Refused)?;
        Ok(Self { said, model })
    }
}

fn listed(problems: &[Problem]) -> String {
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    told.join("; ")
}

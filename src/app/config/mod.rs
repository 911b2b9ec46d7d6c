//! Configuration: read by clap from flags and environment ([`args`]), checked in [`validation`], all
//! problems at once.

pub mod args;
pub mod validation;

use std::{fmt, net::SocketAddr, path::PathBuf};

use crate::{http::HttpOptions, order::Currency, postgres::writer::WriterOptions};

pub use args::{LogArgs, ServeArgs, StoreArgs};

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines: an object a line.
    Json,
}

/// Which servers to use.
#[derive(Debug, Clone)]
pub enum Servers {
    /// Own ones, under this directory.
    Embedded(PathBuf),
    /// Given ones.
    Given {
        /// URL of PostgreSQL.
        database_url: String,
        /// URLs of NATS, separated by commas.
        nats_url: String,
    },
}

/// Everything that `serve` needs, judged.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which servers to use.
    pub servers: Servers,
    /// URL of a replica for reads.
    pub database_read_url: Option<String>,
    /// Whether a database that may lose data is good enough.
    pub allow_unsafe_database: bool,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Settings of the HTTP layer.
    pub http: HttpOptions,
    /// Name of the JetStream stream.
    pub nats_stream: String,
    /// What subjects begin with.
    pub nats_prefix: String,
    /// How many servers of the cluster keep a copy of the stream.
    pub nats_replicas: usize,
    /// Currency of orders that name none.
    pub default_currency: Currency,
    /// Settings of the writer.
    pub writer: WriterOptions,
    /// Events between two snapshots.
    pub snapshot_every: u32,
    /// How many aggregates the cache holds; a large one counts for several.
    pub cached_orders: u64,
    /// Orders a second that the service verifies by itself; 0 for none.
    pub verify_per_second: u32,
    /// Connections to the database.
    pub database_connections: u32,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblems(pub Vec<String>);

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration is not valid:")?;
        self.0
            .iter()
            .try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for ConfigProblems {}

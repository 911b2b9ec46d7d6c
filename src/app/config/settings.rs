//! The checked settings of the service.

use std::{fmt, net::SocketAddr, path::PathBuf};

use crate::{http::HttpOptions, order::Currency, postgres::writer::WriterOptions};

/// The PostgreSQL and NATS servers to use.
#[derive(Debug, Clone)]
pub enum Servers {
    /// Embedded servers with their data in this directory.
    Embedded(PathBuf),
    /// Servers that an operator runs.
    Given {
        /// The URL of PostgreSQL.
        database_url: String,
        /// The URLs of NATS, separated by commas.
        nats_url: String,
    },
}

/// The settings of `serve`, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The PostgreSQL and NATS servers to use.
    pub servers: Servers,
    /// The URL of a database replica for reads.
    pub database_read_url: Option<String>,
    /// Whether to accept a database that may lose acknowledged data (`fsync=off`).
    pub allow_unsafe_database: bool,
    /// The address to listen on.
    pub listen: SocketAddr,
    /// Settings of the HTTP layer.
    pub http: HttpOptions,
    /// Name of the JetStream stream.
    pub nats_stream: String,
    /// The prefix of all NATS subjects.
    pub nats_prefix: String,
    /// How many NATS servers keep a copy of the stream.
    pub nats_replicas: usize,
    /// The currency of orders that name none.
    pub default_currency: Currency,
    /// Settings of the writer.
    pub writer: WriterOptions,
    /// The number of events between two snapshots of an order.
    pub snapshot_every: u32,
    /// How many orders the cache holds. A large order counts for several.
    pub cached_orders: u64,
    /// How many orders a second the self-check verifies; 0 turns it off.
    pub verify_per_second: u32,
    /// Connections in each of the three database pools: writes, single orders, lists.
    pub database_connections: u32,
}

/// All problems of a configuration.
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

//! The flags and environment variables, as clap reads them.

use std::path::PathBuf;

use clap::Args;

/// Where the stores are.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    #[expect(clippy::doc_markdown, reason = "shown on a terminal")]
    /// PostgreSQL (15 or newer); without it and NATS_URL the service runs its own, embedded
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// Directory of the embedded servers' data
    #[arg(
        long,
        env = "ORDERS_DATA_DIR",
        value_name = "DIR",
        default_value = "./data"
    )]
    pub data_dir: PathBuf,

    /// Currency of orders that name none, and of orders from before currencies
    #[arg(
        long,
        env = "ORDERS_DEFAULT_CURRENCY",
        value_name = "CODE",
        default_value = "EUR"
    )]
    pub default_currency: String,

    /// Work on a database that runs with fsync=off and so may lose acknowledged orders
    #[arg(long, env = "ORDERS_ALLOW_UNSAFE_DATABASE")]
    pub allow_unsafe_database: bool,

    /// How to log.
    #[command(flatten)]
    pub log: LogArgs,
}

/// How to log.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// Format of the log on standard error: pretty or json
    #[arg(
        long = "log",
        env = "ORDERS_LOG",
        value_name = "FORMAT",
        default_value = "pretty"
    )]
    pub format: String,

    /// What to log, as in `info,orders=debug`
    #[arg(long = "log-filter", env = "RUST_LOG", value_name = "FILTER")]
    pub filter: Option<String>,
}

/// How to serve.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Where the stores are.
    #[command(flatten)]
    pub store: StoreArgs,

    /// A replica of the database, for reads
    #[arg(
        long,
        env = "DATABASE_READ_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub database_read_url: Option<String>,

    /// NATS (2.9 or newer) with JetStream; several servers of a cluster comma-separated
    #[arg(long, env = "NATS_URL", value_name = "URLS", hide_env_values = true)]
    pub nats_url: Option<String>,

    /// Address to listen on; port 0 picks a free one
    #[arg(
        long,
        env = "ORDERS_LISTEN",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8080"
    )]
    pub listen: String,

    /// Who may call: off (everybody; the default on a loopback address only)
    #[arg(long, env = "ORDERS_AUTH", value_name = "MODE")]
    pub auth: Option<String>,

    /// Origins that browsers may call from, comma-separated; * for all
    #[arg(long, env = "ORDERS_CORS_ORIGINS", value_name = "ORIGINS")]
    pub cors_origins: Option<String>,

    /// Requests a second that each address may send, health checks apart; 0 for any number
    #[arg(
        long,
        env = "ORDERS_RATE_LIMIT",
        value_name = "REQUESTS",
        default_value = "0"
    )]
    pub rate_limit: String,

    /// Name of the JetStream stream
    #[arg(
        long,
        env = "ORDERS_NATS_STREAM",
        value_name = "NAME",
        default_value = "EVENTS"
    )]
    pub nats_stream: String,

    /// What subjects begin with
    #[arg(
        long,
        env = "ORDERS_NATS_PREFIX",
        value_name = "PREFIX",
        default_value = "events"
    )]
    pub nats_prefix: String,

    /// Servers of the NATS cluster that keep a copy of the stream, 1 to 5; with 3 one may be lost
    #[arg(
        long,
        env = "ORDERS_NATS_REPLICAS",
        value_name = "SERVERS",
        default_value = "1"
    )]
    pub nats_replicas: String,

    /// Seconds that a request may take
    #[arg(
        long,
        env = "ORDERS_REQUEST_TIMEOUT",
        value_name = "SECONDS",
        default_value = "15"
    )]
    pub request_timeout: String,

    /// Hours that an idempotency key is kept
    #[arg(
        long,
        env = "ORDERS_IDEMPOTENCY_HOURS",
        value_name = "HOURS",
        default_value = "24"
    )]
    pub idempotency_hours: String,

    /// Events between two snapshots of an order
    #[arg(
        long,
        env = "ORDERS_SNAPSHOT_EVERY",
        value_name = "EVENTS",
        default_value = "100"
    )]
    pub snapshot_every: String,

    /// Commands that may wait for the database; further ones answer 503
    #[arg(
        long,
        env = "ORDERS_WRITE_QUEUE",
        value_name = "COMMANDS",
        default_value = "1024"
    )]
    pub write_queue: String,

    /// Orders that are kept in memory for the next command; one with many lines counts for
    /// several (1 KiB each, some seven lines)
    #[arg(
        long,
        env = "ORDERS_CACHED_ORDERS",
        value_name = "ORDERS",
        default_value = "50000"
    )]
    pub cached_orders: String,

    /// Orders a second that the service verifies by itself, and repairs where they differ; 0 for
    /// none
    #[arg(
        long,
        env = "ORDERS_VERIFY_PER_SECOND",
        value_name = "ORDERS",
        default_value = "2"
    )]
    pub verify_per_second: String,

    /// Connections to the database, for each of writing, single orders and lists
    #[arg(
        long,
        env = "ORDERS_DATABASE_CONNECTIONS",
        value_name = "N",
        default_value = "16"
    )]
    pub database_connections: String,
}

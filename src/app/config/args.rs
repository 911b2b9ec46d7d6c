//! The flags and environment variables of the settings, as clap reads them. The texts without a
//! final period are help texts.

use std::path::PathBuf;

use clap::Args;

/// Arguments of every command that uses the database.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    #[expect(clippy::doc_markdown, reason = "shown on a terminal")]
    /// URL of PostgreSQL (15 or newer); without it and NATS_URL the service runs embedded servers
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// Data directory of the embedded servers
    #[arg(
        long,
        env = "ORDERS_DATA_DIR",
        value_name = "DIR",
        default_value = "./data"
    )]
    pub data_dir: PathBuf,

    /// Currency of orders that name none, and of events that were stored without a currency
    #[arg(
        long,
        env = "ORDERS_DEFAULT_CURRENCY",
        value_name = "CODE",
        default_value = "EUR"
    )]
    pub default_currency: String,

    /// Accept a database with fsync=off, which may lose acknowledged orders
    #[arg(long, env = "ORDERS_ALLOW_UNSAFE_DATABASE")]
    pub allow_unsafe_database: bool,

    /// Log format and filter.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Arguments about logs.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// Log format on standard error: pretty or json
    #[arg(
        long = "log",
        env = "ORDERS_LOG",
        value_name = "FORMAT",
        default_value = "pretty"
    )]
    pub format: String,

    /// Log filter, for example `info,orders=debug`
    #[arg(long = "log-filter", env = "RUST_LOG", value_name = "FILTER")]
    pub filter: Option<String>,
}

/// Arguments of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// The database.
    #[command(flatten)]
    pub store: StoreArgs,

    /// URL of a database replica that serves reads
    #[arg(
        long,
        env = "DATABASE_READ_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub database_read_url: Option<String>,

    /// URL of NATS (2.9 or newer) with JetStream, with user and password if it needs them; for a
    /// cluster, several URLs separated by commas
    #[arg(long, env = "NATS_URL", value_name = "URLS", hide_env_values = true)]
    pub nats_url: Option<String>,

    /// Address to listen on; port 0 picks a free port
    #[arg(
        long,
        env = "ORDERS_LISTEN",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8080"
    )]
    pub listen: String,

    /// Who may call: off lets everybody in; required unless the address is a loopback address
    #[arg(long, env = "ORDERS_AUTH", value_name = "MODE")]
    pub auth: Option<String>,

    /// Origins that browsers may call from, separated by commas; * for all
    #[arg(long, env = "ORDERS_CORS_ORIGINS", value_name = "ORIGINS")]
    pub cors_origins: Option<String>,

    /// Requests per second allowed for each client address, without health checks; 0 for no limit
    #[arg(
        long,
        env = "ORDERS_RATE_LIMIT",
        value_name = "REQUESTS",
        default_value = "0"
    )]
    pub rate_limit: String,

    /// Names that clients may call this service by, comma-separated, beside IP addresses and localhost
    #[arg(long, env = "ORDERS_ALLOWED_HOSTS", value_name = "NAMES")]
    pub allowed_hosts: Option<String>,

    /// Entries of X-Forwarded-For, from the right, that trusted proxies have written
    #[arg(
        long,
        env = "ORDERS_TRUSTED_PROXY_HOPS",
        value_name = "PROXIES",
        default_value = "0"
    )]
    pub trusted_proxy_hops: String,

    /// Connections that clients may have open in all; fewer where the system allows fewer open files
    #[arg(
        long,
        env = "ORDERS_MAX_CONNECTIONS",
        value_name = "N",
        default_value = "10000"
    )]
    pub max_connections: String,

    /// Connections that one address may have open (of IPv6: one /64 network)
    #[arg(
        long,
        env = "ORDERS_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "N",
        default_value = "2000"
    )]
    pub max_connections_per_address: String,

    /// Live streams that clients may have open in all, at most half of the connections
    #[arg(
        long,
        env = "ORDERS_MAX_STREAMS",
        value_name = "N",
        default_value = "2000"
    )]
    pub max_streams: String,

    /// Live streams that one address may have open (of IPv6: one /64 network)
    #[arg(
        long,
        env = "ORDERS_MAX_STREAMS_PER_ADDRESS",
        value_name = "N",
        default_value = "1000"
    )]
    pub max_streams_per_address: String,

    /// Name of the JetStream stream
    #[arg(
        long,
        env = "ORDERS_NATS_STREAM",
        value_name = "NAME",
        default_value = "EVENTS"
    )]
    pub nats_stream: String,

    /// Prefix of all NATS subjects
    #[arg(
        long,
        env = "ORDERS_NATS_PREFIX",
        value_name = "PREFIX",
        default_value = "events"
    )]
    pub nats_prefix: String,

    /// NATS servers that keep a copy of the stream, 1 to 5; with 3, one may fail
    #[arg(
        long,
        env = "ORDERS_NATS_REPLICAS",
        value_name = "SERVERS",
        default_value = "1"
    )]
    pub nats_replicas: String,

    /// Seconds a request may take
    #[arg(
        long,
        env = "ORDERS_REQUEST_TIMEOUT",
        value_name = "SECONDS",
        default_value = "15"
    )]
    pub request_timeout: String,

    /// Hours an idempotency key is kept
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

    /// Commands that may queue for the database; twice as many and 256 may run at the same time, three
    /// quarters of them from one address; further ones are answered with 503
    #[arg(
        long,
        env = "ORDERS_WRITE_QUEUE",
        value_name = "COMMANDS",
        default_value = "1024"
    )]
    pub write_queue: String,

    /// Orders kept in memory for the next command; a large order counts for several (one for each
    /// KiB, about seven lines)
    #[arg(
        long,
        env = "ORDERS_CACHED_ORDERS",
        value_name = "ORDERS",
        default_value = "50000"
    )]
    pub cached_orders: String,

    /// Orders per second that the self-check compares with the event store, and repairs if they
    /// differ; 0 turns it off
    #[arg(
        long,
        env = "ORDERS_VERIFY_PER_SECOND",
        value_name = "ORDERS",
        default_value = "2"
    )]
    pub verify_per_second: String,

    /// Database connections in each of three pools: writes, single orders, lists; live streams have two
    /// more
    #[arg(
        long,
        env = "ORDERS_DATABASE_CONNECTIONS",
        value_name = "N",
        default_value = "16"
    )]
    pub database_connections: String,
}

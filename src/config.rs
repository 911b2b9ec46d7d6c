//! Configuration: read by clap from flags and environment, judged here, all problems at once.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use async_nats::ServerAddr;
use axum::http::HeaderValue;
use clap::Args;
use tracing_subscriber::EnvFilter;

use crate::{
    http::HttpOptions,
    order::Currency,
    postgres::{self, writer::WriterOptions},
    telemetry,
};

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

    /// NATS (2.9 or newer) with JetStream
    #[arg(long, env = "NATS_URL", value_name = "URL", hide_env_values = true)]
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

    /// Orders that are kept in memory for the next command
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

    /// Connections to the database
    #[arg(
        long,
        env = "ORDERS_DATABASE_CONNECTIONS",
        value_name = "N",
        default_value = "16"
    )]
    pub database_connections: String,
}

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
        /// URL of NATS.
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
    /// Currency of orders that name none.
    pub default_currency: Currency,
    /// Settings of the writer.
    pub writer: WriterOptions,
    /// Events between two snapshots.
    pub snapshot_every: u32,
    /// How many aggregates the cache holds.
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

/// Collects problems while values are read.
#[derive(Debug, Default)]
struct Judge(Vec<String>);

impl Judge {
    fn refuse<T>(&mut self, problem: impl Into<String>) -> Option<T> {
        self.0.push(problem.into());
        None
    }

    fn number(&mut self, name: &str, text: &str, min: u64, max: u64) -> Option<u64> {
        match text
            .parse::<u64>()
            .ok()
            .filter(|number| (min..=max).contains(number))
        {
            Some(number) => Some(number),
            None => self.refuse(format!(
                "{name} must be a whole number from {min} to {max}, not {text:?}"
            )),
        }
    }

    fn database(&mut self, name: &str, url: &str) {
        // The parser takes any scheme for PostgreSQL's.
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            self.0.push(format!(
                "{name} must begin with postgres:// or postgresql://"
            ));
        } else if let Err(error) = postgres::connect_options(url) {
            self.0.push(format!("{name} is no PostgreSQL URL: {error}"));
        }
    }

    fn currency(&mut self, code: &str) -> Option<Currency> {
        match code.parse() {
            Ok(currency) => Some(currency),
            Err(error) => {
                let _: &crate::order::currency::UnknownCurrency = &error;
                self.refuse(format!("ORDERS_DEFAULT_CURRENCY: {error}"))
            }
        }
    }
}

impl LogArgs {
    /// The format and the filter.
    ///
    /// # Errors
    /// Where the format is none of ours, the filter cannot be read, or both.
    pub fn judge(&self) -> Result<(LogFormat, EnvFilter), ConfigProblems> {
        let mut judge = Judge::default();
        let format = match self.format.as_str() {
            "pretty" => Some(LogFormat::Pretty),
            "json" => Some(LogFormat::Json),
            other => judge.refuse(format!("ORDERS_LOG must be pretty or json, not {other:?}")),
        };
        let filter = match telemetry::filter(self.filter.as_deref()) {
            Ok(filter) => Some(filter),
            Err(error) => judge.refuse(format!("RUST_LOG: {error}")),
        };
        format.zip(filter).ok_or(ConfigProblems(judge.0))
    }
}

impl StoreArgs {
    /// The default currency.
    ///
    /// # Errors
    /// Where it is no currency.
    pub fn currency(&self) -> Result<Currency, ConfigProblems> {
        let mut judge = Judge::default();
        let currency = judge.currency(&self.default_currency);
        currency.ok_or(ConfigProblems(judge.0))
    }
}

impl ServeArgs {
    /// Judges the arguments.
    ///
    /// # Errors
    /// Every problem.
    pub fn judge(&self) -> Result<Config, ConfigProblems> {
        let mut judge = Judge::default();
        if let Err(ConfigProblems(problems)) = self.store.log.judge() {
            judge.0.extend(problems);
        }
        let servers = self.servers(&mut judge);
        if let Some(url) = &self.database_read_url {
            judge.database("DATABASE_READ_URL", url);
        }
        let listen = self.listen_address(&mut judge);
        let cors_origins = self.cors_origins(&mut judge);
        check_name(&mut judge, "ORDERS_NATS_STREAM", &self.nats_stream, false);
        check_name(&mut judge, "ORDERS_NATS_PREFIX", &self.nats_prefix, true);
        let timeout = judge.number("ORDERS_REQUEST_TIMEOUT", &self.request_timeout, 1, 600);
        let hours = judge.number("ORDERS_IDEMPOTENCY_HOURS", &self.idempotency_hours, 1, 8760);
        let every = judge.number("ORDERS_SNAPSHOT_EVERY", &self.snapshot_every, 1, 1_000_000);
        let queue = judge.number("ORDERS_WRITE_QUEUE", &self.write_queue, 1, 1_000_000);
        let cached = judge.number("ORDERS_CACHED_ORDERS", &self.cached_orders, 0, 100_000_000);
        let verify = judge.number(
            "ORDERS_VERIFY_PER_SECOND",
            &self.verify_per_second,
            0,
            10_000,
        );
        let connections = judge.number(
            "ORDERS_DATABASE_CONNECTIONS",
            &self.database_connections,
            4,
            1000,
        );
        let currency = judge.currency(&self.store.default_currency);
        let judged = || {
            Some(Config {
                servers: servers?,
                database_read_url: self.database_read_url.clone(),
                allow_unsafe_database: self.store.allow_unsafe_database,
                listen: listen?,
                http: HttpOptions {
                    request_timeout: Duration::from_secs(timeout?),
                    cors_origins,
                },
                nats_stream: self.nats_stream.clone(),
                nats_prefix: self.nats_prefix.clone(),
                default_currency: currency?,
                writer: WriterOptions {
                    queue: usize::try_from(queue?).ok()?,
                    key_ttl: Duration::from_secs(hours? * 3600),
                },
                snapshot_every: u32::try_from(every?).ok()?,
                cached_orders: cached?,
                verify_per_second: u32::try_from(verify?).ok()?,
                database_connections: u32::try_from(connections?).ok()?,
            })
        };
        match judged() {
            Some(config) if judge.0.is_empty() => Ok(config),
            _ => Err(ConfigProblems(judge.0)),
        }
    }

    fn servers(&self, judge: &mut Judge) -> Option<Servers> {
        // A variable set to nothing is as good as not set.
        let given = |url: &Option<String>| url.clone().filter(|url| !url.is_empty());
        let (database_url, nats_url) = (given(&self.store.database_url), given(&self.nats_url));
        if let Some(database_url) = &database_url {
            judge.database("DATABASE_URL", database_url);
        }
        if let Some(Err(error)) = nats_url.as_ref().map(|url| url.parse::<ServerAddr>()) {
            judge.0.push(format!("NATS_URL is no NATS URL: {error}"));
        }
        match (database_url, nats_url) {
            (None, None) => Some(Servers::Embedded(self.store.data_dir.clone())),
            (Some(database_url), Some(nats_url)) => Some(Servers::Given {
                database_url,
                nats_url,
            }),
            (Some(_), None) => judge.refuse(
                "DATABASE_URL is set, but NATS_URL is not: set both, or neither to run embedded",
            ),
            (None, Some(_)) => judge.refuse(
                "NATS_URL is set, but DATABASE_URL is not: set both, or neither to run embedded",
            ),
        }
    }

    fn listen_address(&self, judge: &mut Judge) -> Option<SocketAddr> {
        use std::net::ToSocketAddrs;

        let address = self
            .listen
            .to_socket_addrs()
            .ok()
            .and_then(|mut found| found.next());
        let Some(address) = address else {
            return judge.refuse(format!(
                "ORDERS_LISTEN must be HOST:PORT, not {:?}",
                self.listen
            ));
        };
        match self.auth.as_deref() {
            Some("off") => {}
            None if address.ip().is_loopback() => {}
            None => judge.0.push(format!(
                "ORDERS_AUTH must be set where others can connect: ORDERS_LISTEN is {}, which is \
                 no loopback address; off lets everybody in",
                self.listen
            )),
            Some("jwt") => judge
                .0
                .push("ORDERS_AUTH=jwt is not available yet".to_owned()),
            Some(other) => judge
                .0
                .push(format!("ORDERS_AUTH must be off, not {other:?}")),
        }
        Some(address)
    }

    fn cors_origins(&self, judge: &mut Judge) -> Vec<String> {
        let mut origins = vec![];
        for origin in self
            .cors_origins
            .iter()
            .flat_map(|origins| origins.split(','))
        {
            let origin = origin.trim();
            let has_scheme = origin.starts_with("http://") || origin.starts_with("https://");
            let is_bare =
                origin.splitn(4, '/').count() == 3 && HeaderValue::try_from(origin).is_ok();
            if origin == "*" || (has_scheme && is_bare) {
                origins.push(origin.to_owned());
            } else if !origin.is_empty() {
                judge.0.push(format!(
                    "ORDERS_CORS_ORIGINS: {origin:?} is no origin such as https://shop.example"
                ));
            }
        }
        origins
    }
}

/// Names that NATS takes: tokens without white space, wildcards and, in a stream's name, dots.
fn check_name(judge: &mut Judge, name: &str, value: &str, may_have_dots: bool) {
    let is_good = |token: &str| {
        !token.is_empty()
            && token
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    let is_valid = if may_have_dots {
        value.split('.').all(is_good)
    } else {
        is_good(value)
    };
    if !is_valid {
        judge.0.push(format!(
            "{name} may hold letters, digits, - and _ only, not {value:?}"
        ));
    }
}

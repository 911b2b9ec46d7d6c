//! Judging what was given: every problem is named, not the first.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use async_nats::ServerAddr;
use axum::http::HeaderValue;
use tracing_subscriber::EnvFilter;

use super::{Config, ConfigProblems, LogArgs, LogFormat, ServeArgs, Servers, StoreArgs};
use crate::{
    app::telemetry,
    http::HttpOptions,
    order::Currency,
    postgres::{self, writer::WriterOptions},
};

/// Collects problems while values are read.
#[derive(Debug, Default)]
struct Validator(Vec<String>);

impl Validator {
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
    pub fn validate(&self) -> Result<(LogFormat, EnvFilter), ConfigProblems> {
        let mut judge = Validator::default();
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
        let mut judge = Validator::default();
        let currency = judge.currency(&self.default_currency);
        currency.ok_or(ConfigProblems(judge.0))
    }
}

impl ServeArgs {
    /// Judges the arguments.
    ///
    /// # Errors
    /// Every problem.
    pub fn validate(&self) -> Result<Config, ConfigProblems> {
        let mut judge = Validator::default();
        if let Err(ConfigProblems(problems)) = self.store.log.validate() {
            judge.0.extend(problems);
        }
        let servers = self.servers(&mut judge);
        if let Some(url) = &self.database_read_url {
            judge.database("DATABASE_READ_URL", url);
        }
        let listen = self.listen_address(&mut judge);
        let cors_origins = self.cors_origins(&mut judge);
        let rate_limit = judge.number("ORDERS_RATE_LIMIT", &self.rate_limit, 0, 1_000_000);
        check_name(&mut judge, "ORDERS_NATS_STREAM", &self.nats_stream, false);
        check_name(&mut judge, "ORDERS_NATS_PREFIX", &self.nats_prefix, true);
        let replicas = judge.number("ORDERS_NATS_REPLICAS", &self.nats_replicas, 1, 5);
        if matches!(servers, Some(Servers::Embedded(_))) && replicas.is_some_and(|count| count > 1)
        {
            judge.0.push(format!(
                "ORDERS_NATS_REPLICAS is {}, but the embedded NATS is one server",
                self.nats_replicas
            ));
        }
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
                    rate_limit: NonZeroU32::new(u32::try_from(rate_limit?).ok()?),
                },
                nats_stream: self.nats_stream.clone(),
                nats_prefix: self.nats_prefix.clone(),
                nats_replicas: usize::try_from(replicas?).ok()?,
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

    fn servers(&self, judge: &mut Validator) -> Option<Servers> {
        // A variable set to nothing is as good as not set.
        let given = |url: &Option<String>| url.clone().filter(|url| !url.is_empty());
        let (database_url, nats_url) = (given(&self.store.database_url), given(&self.nats_url));
        if let Some(database_url) = &database_url {
            judge.database("DATABASE_URL", database_url);
        }
        for url in nats_url.iter().flat_map(|urls| urls.split(',')) {
            if let Err(error) = url.trim().parse::<ServerAddr>() {
                judge.0.push(format!("NATS_URL is no NATS URL: {error}"));
            }
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

    fn listen_address(&self, judge: &mut Validator) -> Option<SocketAddr> {
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

    fn cors_origins(&self, judge: &mut Validator) -> Vec<String> {
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
fn check_name(judge: &mut Validator, name: &str, value: &str, may_have_dots: bool) {
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

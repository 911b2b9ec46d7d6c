//! Checks the arguments and makes the settings of them. Reports all problems, not only the first.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    num::NonZeroU32,
    ops::RangeInclusive,
    time::Duration,
};

use async_nats::ServerAddr;
use tracing_subscriber::EnvFilter;

use super::{
    args::{LogArgs, ServeArgs, StoreArgs},
    settings::{Config, ConfigProblems, Servers},
};
use crate::{
    app::telemetry::{self, LogFormat},
    http::{
        HttpOptions,
        request::{caller::WorkLimits, shares::Limits},
        server::serve::ServerLimits,
    },
    order::{Currency, currency::UnknownCurrency},
    postgres::{self, writer::WriterOptions},
};

/// Collects problems while values are read.
#[derive(Debug, Default)]
pub(super) struct Validator {
    problems: Vec<String>,
}

impl Validator {
    pub(super) fn add(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// Adds a problem in place of a value.
    fn refuse<T>(&mut self, problem: impl Into<String>) -> Option<T> {
        self.add(problem);
        None
    }

    fn number<T: TryFrom<u64>>(
        &mut self,
        name: &str,
        text: &str,
        range: RangeInclusive<u64>,
    ) -> Option<T> {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            let (min, max) = range.into_inner();
            self.add(format!(
                "{name} must be a whole number from {min} to {max}, not {text:?}"
            ));
        }
        number
    }

    /// Limits in all and for one address, each with the name of its variable.
    fn limits(&mut self, total: (&str, &str), per_address: (&str, &str)) -> Option<Limits> {
        let mut number = |(name, text)| self.number(name, text, 1..=1_000_000);
        let (total, per_address) = (number(total), number(per_address));
        Some(Limits {
            total: total?,
            per_address: per_address?,
        })
    }

    fn database(&mut self, name: &str, url: &str) {
        // The parser accepts any scheme.
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            self.add(format!(
                "{name} must begin with postgres:// or postgresql://"
            ));
        } else if let Err(error) = postgres::connect_options(url) {
            self.add(format!("{name} is not a PostgreSQL URL: {error}"));
        }
    }

    fn currency(&mut self, code: &str) -> Option<Currency> {
        code.parse()
            .map_err(|error: UnknownCurrency| {
                self.add(format!("ORDERS_DEFAULT_CURRENCY: {error}"));
            })
            .ok()
    }

    /// Checks a name for NATS: letters, digits, `-` and `_`, and dots if `may_have_dots`.
    fn nats_name(&mut self, name: &str, value: &str, may_have_dots: bool) {
        let is_token = |token: &str| {
            !token.is_empty()
                && token
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        let is_valid = if may_have_dots {
            value.split('.').all(is_token)
        } else {
            is_token(value)
        };
        if !is_valid {
            self.add(format!(
                "{name} may only hold letters, digits, - and _, not {value:?}"
            ));
        }
    }
}

impl LogArgs {
    /// The log format and the log filter.
    ///
    /// # Errors
    /// The format is unknown, the filter is not valid, or both.
    pub fn validate(&self) -> Result<(LogFormat, EnvFilter), ConfigProblems> {
        let mut validator = Validator::default();
        let format = match self.format.as_str() {
            "pretty" => Some(LogFormat::Pretty),
            "json" => Some(LogFormat::Json),
            other => validator.refuse(format!("ORDERS_LOG must be pretty or json, not {other:?}")),
        };
        let filter = match telemetry::filter(self.filter.as_deref()) {
            Ok(filter) => Some(filter),
            Err(error) => validator.refuse(format!("RUST_LOG: {error}")),
        };
        format.zip(filter).ok_or(ConfigProblems(validator.problems))
    }
}

impl StoreArgs {
    /// The default currency.
    ///
    /// # Errors
    /// The currency is unknown.
    pub fn currency(&self) -> Result<Currency, ConfigProblems> {
        let mut validator = Validator::default();
        let currency = validator.currency(&self.default_currency);
        currency.ok_or(ConfigProblems(validator.problems))
    }
}

impl ServeArgs {
    /// Checks the arguments and makes the settings of them.
    ///
    /// # Errors
    /// All problems of the arguments.
    pub fn validate(&self) -> Result<Config, ConfigProblems> {
        let mut validator = Validator::default();
        if let Err(ConfigProblems(problems)) = self.store.log.validate() {
            validator.problems.extend(problems);
        }
        let config = self.config(&mut validator);
        match config {
            Some(config) if validator.problems.is_empty() => Ok(config),
            _ => Err(ConfigProblems(validator.problems)),
        }
    }

    /// The settings; `None` if a value that they need is not valid. Every value is checked before
    /// the first `?`, so that all problems are reported.
    fn config(&self, validator: &mut Validator) -> Option<Config> {
        let servers = self.servers(validator);
        if let Some(url) = &self.database_read_url {
            validator.database("DATABASE_READ_URL", url);
        }
        let listen = self.listen_address(validator);
        let http = self.http(validator);
        validator.nats_name("ORDERS_NATS_STREAM", &self.nats_stream, false);
        validator.nats_name("ORDERS_NATS_PREFIX", &self.nats_prefix, true);
        let replicas = self.nats_replicas(validator, servers.as_ref());
        let writer = self.writer(validator);
        let snapshot_every =
            validator.number("ORDERS_SNAPSHOT_EVERY", &self.snapshot_every, 1..=1_000_000);
        let cached_orders =
            validator.number("ORDERS_CACHED_ORDERS", &self.cached_orders, 0..=100_000_000);
        let verify_per_second = validator.number(
            "ORDERS_VERIFY_PER_SECOND",
            &self.verify_per_second,
            0..=10_000,
        );
        let database_connections = validator.number(
            "ORDERS_DATABASE_CONNECTIONS",
            &self.database_connections,
            4..=1000,
        );
        let default_currency = validator.currency(&self.store.default_currency);
        let (mut http, writer) = (http?, writer?);
        http.work.commands = Limits::shared(writer.capacity());
        Some(Config {
            servers: servers?,
            database_read_url: self.database_read_url.clone(),
            allow_unsafe_database: self.store.allow_unsafe_database,
            listen: listen?,
            http,
            nats_stream: self.nats_stream.clone(),
            nats_prefix: self.nats_prefix.clone(),
            nats_replicas: replicas?,
            default_currency: default_currency?,
            writer,
            snapshot_every: snapshot_every?,
            cached_orders: cached_orders?,
            verify_per_second: verify_per_second?,
            database_connections: database_connections?,
        })
    }

    fn http(&self, validator: &mut Validator) -> Option<HttpOptions> {
        let cors_origins = self.cors_origins(validator);
        let timeout = validator.number("ORDERS_REQUEST_TIMEOUT", &self.request_timeout, 1..=600);
        let rate_limit = validator.number("ORDERS_RATE_LIMIT", &self.rate_limit, 0..=1_000_000);
        let allowed_hosts = self.allowed_hosts(validator);
        let hops = validator.number(
            "ORDERS_TRUSTED_PROXY_HOPS",
            &self.trusted_proxy_hops,
            0..=16,
        );
        let connections = validator.limits(
            ("ORDERS_MAX_CONNECTIONS", &self.max_connections),
            (
                "ORDERS_MAX_CONNECTIONS_PER_ADDRESS",
                &self.max_connections_per_address,
            ),
        );
        let streams = validator.limits(
            ("ORDERS_MAX_STREAMS", &self.max_streams),
            (
                "ORDERS_MAX_STREAMS_PER_ADDRESS",
                &self.max_streams_per_address,
            ),
        );
        Some(HttpOptions {
            request_timeout: Duration::from_secs(timeout?),
            cors_origins,
            rate_limit: NonZeroU32::new(rate_limit?),
            trusted_proxy_hops: hops?,
            allowed_hosts,
            limits: ServerLimits {
                connections: connections?,
                ..ServerLimits::default()
            },
            work: WorkLimits {
                streams: streams?,
                ..WorkLimits::default()
            },
        })
    }

    fn writer(&self, validator: &mut Validator) -> Option<WriterOptions> {
        let queue = validator.number("ORDERS_WRITE_QUEUE", &self.write_queue, 1..=1_000_000);
        let hours: Option<u64> = validator.number(
            "ORDERS_IDEMPOTENCY_HOURS",
            &self.idempotency_hours,
            1..=8760,
        );
        Some(WriterOptions {
            queue: queue?,
            key_ttl: Duration::from_secs(hours? * 3600),
        })
    }

    fn nats_replicas(&self, validator: &mut Validator, servers: Option<&Servers>) -> Option<usize> {
        let replicas = validator.number("ORDERS_NATS_REPLICAS", &self.nats_replicas, 1..=5)?;
        if replicas > 1 && matches!(servers, Some(Servers::Embedded(_))) {
            return validator.refuse(format!(
                "ORDERS_NATS_REPLICAS is {replicas}, but the embedded NATS is a single server"
            ));
        }
        Some(replicas)
    }

    fn servers(&self, validator: &mut Validator) -> Option<Servers> {
        // An empty variable counts as not set.
        let given = |url: &Option<String>| url.clone().filter(|url| !url.is_empty());
        let (database_url, nats_url) = (given(&self.store.database_url), given(&self.nats_url));
        if let Some(database_url) = &database_url {
            validator.database("DATABASE_URL", database_url);
        }
        for url in nats_url.iter().flat_map(|urls| urls.split(',')) {
            if let Err(error) = url.trim().parse::<ServerAddr>() {
                validator.add(format!("NATS_URL is not a NATS URL: {error}"));
            }
        }
        match (database_url, nats_url) {
            (None, None) => Some(Servers::Embedded(self.store.data_dir.clone())),
            (Some(database_url), Some(nats_url)) => Some(Servers::Given {
                database_url,
                nats_url,
            }),
            (Some(_), None) => validator.refuse(
                "DATABASE_URL is set, but NATS_URL is not: set both, or neither to use embedded \
                 servers",
            ),
            (None, Some(_)) => validator.refuse(
                "NATS_URL is set, but DATABASE_URL is not: set both, or neither to use embedded \
                 servers",
            ),
        }
    }

    fn listen_address(&self, validator: &mut Validator) -> Option<SocketAddr> {
        let address = self
            .listen
            .to_socket_addrs()
            .ok()
            .and_then(|mut found| found.next());
        let Some(address) = address else {
            return validator.refuse(format!(
                "ORDERS_LISTEN must be HOST:PORT, not {:?}",
                self.listen
            ));
        };
        match self.auth.as_deref() {
            Some("off") => {}
            None if address.ip().is_loopback() => {}
            None => validator.add(format!(
                "ORDERS_AUTH must be set because ORDERS_LISTEN is {}, which other machines can \
                 reach; set it to off to let everybody in",
                self.listen
            )),
            Some("jwt") => validator.add("ORDERS_AUTH=jwt is not available yet"),
            Some(other) => validator.add(format!("ORDERS_AUTH must be off, not {other:?}")),
        }
        Some(address)
    }
}

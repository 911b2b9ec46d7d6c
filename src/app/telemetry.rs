//! Sets up logging and the metrics recorder.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{
    EnvFilter, filter::ParseError, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// The log filter if `RUST_LOG` is not set.
const DEFAULT_FILTER: &str = "info,sqlx=warn,async_nats=error";

/// Upper bounds of the latency histograms, in seconds.
const SECONDS: &[f64] = &[
    0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
];

/// Upper bounds of the histograms of counts.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Parses a log filter (the value of `RUST_LOG`), or returns the default one.
///
/// # Errors
/// The filter is not valid.
pub fn filter(text: Option<&str>) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(text.unwrap_or(DEFAULT_FILTER))
}

/// Writes logs to standard error in this format. Does nothing if the process has a logger.
pub fn init_logs(format: LogFormat, filter: EnvFilter) {
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(false);
    // A program that uses this library may have set its own logger.
    let _ = match format {
        LogFormat::Pretty => {
            let layer = layer.with_ansi(std::io::stderr().is_terminal());
            registry.with(layer).try_init()
        }
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
}

/// Installs the process's metrics recorder and returns the handle that renders it. If the process
/// has a recorder already, the new one stays unused.
///
/// # Errors
/// The buckets are not valid.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_commands".to_owned()), COUNTS)?
        .build_recorder();
    let handle = recorder.handle();
    let _ = metrics::set_global_recorder(recorder);
    Ok(handle)
}

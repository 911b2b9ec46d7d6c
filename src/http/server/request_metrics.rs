//! Counts and times requests by method, route and status.
//!
//! Looking up an instrument by its labels takes longer than answering a request from memory. There
//! are only a few instruments, so each is looked up once and kept.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use axum::http::{Method, StatusCode};
use metrics::{Counter, Histogram, counter, histogram};

/// The instruments used so far, by route.
#[derive(Default)]
pub struct RequestMetrics(RwLock<HashMap<String, Vec<Instruments>>>);

/// The instruments for answers with one method, route and status.
struct Instruments {
    method: &'static str,
    status: StatusCode,
    answered: Counter,
    seconds: Histogram,
}

impl RequestMetrics {
    /// Records an answer. `route` is the pattern of the path in the router, not the path itself.
    pub fn record(&self, method: &Method, route: &str, status: StatusCode, elapsed: Duration) {
        let method = known_method(method);
        let record = |instruments: &Instruments| {
            instruments.answered.increment(1);
            instruments.seconds.record(elapsed.as_secs_f64());
        };
        let is_same = |known: &&Instruments| known.method == method && known.status == status;
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let of_route = known.get(route);
        if let Some(instruments) = of_route.and_then(|known| known.iter().find(is_same)) {
            return record(instruments);
        }
        drop(known);
        let instruments = Instruments::new(method, route, status);
        record(&instruments);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(route.to_owned()).or_default().push(instruments);
    }
}

impl Instruments {
    fn new(method: &'static str, route: &str, status: StatusCode) -> Self {
        let labels = [
            ("method", method.to_owned()),
            ("route", route.to_owned()),
            ("status", status.as_str().to_owned()),
        ];
        Self {
            method,
            status,
            answered: counter!("orders_http_requests_total", &labels),
            seconds: histogram!("orders_http_request_seconds", &labels[..2]),
        }
    }
}

/// The method as a label. Other methods share one label: clients can send any method, and a label
/// value stays in memory until the process ends.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn answers_are_counted_by_method_route_and_status() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let strange = Method::from_bytes(b"STRANGE").unwrap();

        metrics::with_local_recorder(&recorder, || {
            let metrics = RequestMetrics::default();
            for (method, route, status) in [
                (&Method::GET, "/a", StatusCode::OK),
                (&Method::GET, "/a", StatusCode::OK),
                (&Method::GET, "/a", StatusCode::NOT_FOUND),
                (&Method::POST, "/a", StatusCode::OK),
                (&strange, "/b", StatusCode::OK),
                (&strange, "/b", StatusCode::OK),
            ] {
                metrics.record(method, route, status, Duration::from_millis(1));
            }
        });

        let text = recorder.handle().render();
        for counted in [
            r#"requests_total{method="GET",route="/a",status="200"} 2"#,
            r#"requests_total{method="GET",route="/a",status="404"} 1"#,
            r#"requests_total{method="POST",route="/a",status="200"} 1"#,
            r#"requests_total{method="other",route="/b",status="200"} 2"#,
            r#"request_seconds_count{method="GET",route="/a"} 3"#,
        ] {
            assert!(text.contains(counted), "{counted} is not in {text}");
        }
    }
}

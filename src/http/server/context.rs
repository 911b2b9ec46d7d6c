//! The outermost layer: gives each request its id, writes the bodies of errors, logs and measures.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderValue, header},
    middleware::Next,
    response::Response,
};
use tracing::debug;

use super::{error_body::write_problem, request_metrics::RequestMetrics};
use crate::http::request::context::{RequestId, X_REQUEST_ID};

/// Browsers must believe `Content-Type`: no text of a client may count as a page or a script.
const NO_SNIFFING: HeaderValue = HeaderValue::from_static("nosniff");

/// Runs a request with its id, and completes the answer.
pub async fn with_context(
    metrics: Arc<RequestMetrics>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let uri = request.uri().clone();
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().cloned();

    let response = next.run(request).await;

    let path = uri.path();
    let mut response = write_problem(response, &method, path, &id);
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFFING);
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(X_REQUEST_ID, id);
    }
    let (status, elapsed) = (response.status(), started.elapsed());
    let (elapsed_us, request_id) = (elapsed.as_micros(), id.as_str());
    debug!(%method, path, request_id, status = status.as_u16(), elapsed_us, "answered");
    let route = matched.as_ref().map_or("unknown", MatchedPath::as_str);
    metrics.record(&method, route, status, elapsed);
    response
}

//! Liveness and readiness.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};

use super::checks::{PartState, Readiness};
use crate::http::{
    api::Api,
    problem::ApiError,
    response::{json, json_body},
};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Says that the process runs
///
/// It checks nothing else.
#[utoipa::path(
    get, path = "/health/live", tag = "Operations",
    responses((status = 200, description = "The process runs", body = String, content_type = "application/json", example = json!({"status": "ok"})))
)]
pub async fn live() -> Response {
    let mut response = json_body(r#"{"status":"ok"}"#.into());
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, NO_STORE);
    response
}

/// Says whether requests can be answered
///
/// Without NATS the service is degraded but ready: commands are stored, and reads are answered.
#[utoipa::path(
    get, path = "/health/ready", tag = "Operations",
    responses(
        (status = 200, description = "Ready", body = Readiness),
        (status = 503, description = "Not ready", body = Readiness),
    )
)]
#[expect(
    clippy::missing_errors_doc,
    reason = "the responses of each operation document them"
)]
pub async fn ready(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    let readiness = Readiness::of(api.health.checks().await);
    let mut response = json(&readiness)?;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    if readiness.status == PartState::Unavailable {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

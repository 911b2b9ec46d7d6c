//! Liveness and readiness.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};

use super::checks::{Alive, Liveness, PartState, Readiness};
use crate::http::{api::Api, problem::ApiError, response::json};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Says that the process runs
///
/// It checks nothing else.
#[utoipa::path(
    get, path = "/health/live", tag = "Operations",
    responses((status = 200, description = "The process runs", body = Liveness))
)]
#[expect(
    clippy::missing_errors_doc,
    reason = "the responses of each operation document them"
)]
pub async fn live() -> Result<Response, ApiError> {
    let mut response = json(&Liveness { status: Alive::Ok })?;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    Ok(response)
}

/// Says whether requests can be answered
///
/// Looked at once a second for all callers. `unavailable`: commands or reads fail, because PostgreSQL does
/// not answer or takes no writes. `degraded`: they are answered, but the read model is late, an order is
/// parked, or events are not published. `detail` says what is wrong.
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
    let readiness: Readiness = api.health.readiness.borrow().clone();
    let mut response = json(&readiness)?;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    if readiness.status == PartState::Unavailable {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

//! Liveness, readiness and metrics.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::future::BoxFuture;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::{Api, orders::queries::json};

/// How a part of the service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PartState {
    /// It works.
    Ok,
    /// It does not work as it should, but commands and reads are answered.
    Degraded,
    /// It does not work.
    Unavailable,
}

/// One check.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What was checked.
    #[schema(example = "postgres")]
    pub name: &'static str,
    /// How it is.
    pub status: PartState,
    /// What there is to say about it.
    #[schema(example = "answers")]
    pub detail: String,
}

/// The readiness of the service.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// The worst of the checks; `unavailable` answers 503.
    pub status: PartState,
    /// The checks.
    pub checks: Vec<Check>,
}

/// What readiness looks at.
pub trait Health: Send + Sync + 'static {
    /// Checks every part, within a second.
    fn checks(&self) -> BoxFuture<'_, Vec<Check>>;

    /// The metrics in Prometheus' text format.
    fn metrics(&self) -> BoxFuture<'_, String>;
}

/// Says that the process runs; looks at nothing else
#[utoipa::path(
    get, path = "/health/live", tag = "Operations",
    responses((status = 200, description = "The process runs", body = String, content_type = "application/json", example = json!({"status": "ok"})))
)]
pub async fn live() -> Response {
    let mut response = Response::new(Body::from(r#"{"status":"ok"}"#));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Says whether requests can be answered
///
/// Without NATS the service is degraded, not unready: commands are stored, and reads catch up later.
#[utoipa::path(
    get, path = "/health/ready", tag = "Operations",
    responses(
        (status = 200, description = "Ready", body = Readiness),
        (status = 503, description = "Not ready", body = Readiness),
    )
)]
pub async fn ready(State(api): State<Arc<Api>>) -> Response {
    let checks = api.health.checks().await;
    let is_any = |status| checks.iter().any(|check| check.status == status);
    let status = if is_any(PartState::Unavailable) {
        PartState::Unavailable
    } else if is_any(PartState::Degraded) {
        PartState::Degraded
    } else {
        PartState::Ok
    };
    let mut response = json(&Readiness { status, checks });
    if status == PartState::Unavailable {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Shows the metrics in Prometheus' text format
#[utoipa::path(
    get, path = "/metrics", tag = "Operations",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain"))
)]
pub async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    (
        [(header::CONTENT_TYPE, content_type)],
        api.health.metrics().await,
    )
        .into_response()
}

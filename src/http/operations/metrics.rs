//! The metrics of the service.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use crate::http::api::Api;

/// Shows the metrics in the Prometheus text format
#[utoipa::path(
    get, path = "/metrics", tag = "Operations",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain"))
)]
pub async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    let text = api.health.metrics.render();
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

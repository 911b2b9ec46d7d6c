//! Writes the body of every error as a problem document, and logs internal causes.

use std::{any::Any, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use tracing::{error, warn};

use crate::{
    event_sourcing::error_chain,
    http::{
        problem::{ApiError, Code},
        request::{
            body::{too_large, unsupported},
            context::RequestId,
        },
    },
};

/// The framework answered with a 5xx status of its own.
#[derive(Debug, thiserror::Error)]
#[error("the framework answered with status {0}")]
struct FrameworkError(StatusCode);

/// A handler panicked.
#[derive(Debug, thiserror::Error)]
#[error("panic: {0}")]
struct Panicked(String);

/// 404 `route_not_found`.
#[must_use]
pub fn no_route() -> ApiError {
    ApiError::new(Code::RouteNotFound, "There is nothing at this path.")
}

/// 405 `method_not_allowed`.
#[must_use]
pub fn no_method() -> ApiError {
    ApiError::new(
        Code::MethodNotAllowed,
        "The path supports only the methods in the Allow header.",
    )
}

/// 500 for a handler that panicked.
#[must_use]
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that the layer requires"
)]
pub fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_default();
    ApiError::internal(Panicked(text)).into_response()
}

/// Writes the body if the answer is an error. Errors of the framework (an unknown route, a refused
/// request) become problem documents, too.
#[must_use]
pub fn write_problem(response: Response, method: &Method, path: &str, id: &RequestId) -> Response {
    let error = match response.extensions().get::<Arc<ApiError>>() {
        Some(error) => Arc::clone(error),
        None => match framework_error(&response) {
            Some(error) => Arc::new(error),
            None => return response,
        },
    };
    log(&error, method, path, id);
    let (mut parts, _) = response.into_parts();
    let problem = error.problem(path, id.as_str());
    let body = match serde_json::to_vec(&problem) {
        Ok(body) => {
            parts.status = error.code.status();
            body
        }
        Err(cause) => {
            log(&ApiError::internal(cause), method, path, id);
            parts.status = StatusCode::INTERNAL_SERVER_ERROR;
            b"{}".to_vec()
        }
    };
    let headers = &mut parts.headers;
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    for (name, value) in [
        (header::CONTENT_TYPE, "application/problem+json"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Response::from_parts(parts, Body::from(body))
}

fn framework_error(response: &Response) -> Option<ApiError> {
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_json = content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/"));
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return None;
    }
    Some(match status {
        StatusCode::NOT_FOUND => no_route(),
        StatusCode::METHOD_NOT_ALLOWED => no_method(),
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => unsupported(),
        status if status.is_client_error() => {
            ApiError::new(Code::InvalidParameter, "The request cannot be read.")
        }
        status => ApiError::internal(FrameworkError(status)),
    })
}

/// Logs the internal cause of an error, if it has one.
fn log(error: &ApiError, method: &Method, path: &str, id: &RequestId) {
    let Some(cause) = &error.cause else { return };
    let (chain, request_id) = (error_chain(&**cause), id.as_str());
    if error.code == Code::InternalError {
        error!(%method, path, request_id, error = chain, "request failed");
    } else {
        let code = error.code.as_str();
        warn!(%method, path, request_id, error = chain, code, "request failed");
    }
}

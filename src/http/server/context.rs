//! What surrounds every request: its id, the access log, and errors written as problem documents.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Body,
    extract::{FromRequestParts, MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use chrono::Utc;
use tracing::{debug, error, warn};
use uuid::Uuid;

use super::request_metrics::RequestMetrics;
use crate::event_sourcing::{Metadata, Timestamp, error_chain};
use crate::http::problem::error::{ApiError, Code};

/// The header that names a request.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The id of a request: the client's, or a new one.
#[derive(Debug, Clone)]
pub struct RequestId(Arc<str>);

impl RequestId {
    fn of(headers: &HeaderMap) -> Self {
        let given = headers
            .get(X_REQUEST_ID)
            .and_then(|value| value.to_str().ok());
        let given = given.filter(|id| is_request_id(id));
        Self(given.map_or_else(|| new_id().to_string().into(), Into::into))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_request_id(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=128).contains(&id.len()) && id.bytes().all(is_allowed)
}

/// A new id, in order of time.
#[expect(clippy::disallowed_methods, reason = "the edge is where ids are made")]
#[must_use]
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// The clock, read once a request.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge is where the clock is read"
)]
#[must_use]
pub fn now() -> Timestamp {
    Utc::now()
}

/// The context of a command for the audit trail.
#[derive(Debug, Clone)]
pub struct Audit(pub Arc<Metadata>);

impl<S: Send + Sync> FromRequestParts<S> for Audit {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let request_id = parts
            .extensions
            .get::<RequestId>()
            .map(|id| id.as_str().to_owned());
        let traceparent = parts
            .headers
            .get(TRACEPARENT)
            .and_then(|value| value.to_str().ok())
            .filter(|value| is_traceparent(value))
            .map(str::to_owned);
        // Requests of one distributed trace belong together; without one a request stands alone.
        let trace_id = traceparent
            .as_deref()
            .and_then(|value| value.split('-').nth(1));
        let correlation_id = trace_id.map(str::to_owned).or_else(|| request_id.clone());
        Ok(Self(Arc::new(Metadata {
            actor: None,
            request_id,
            correlation_id,
            causation_id: None,
            traceparent,
        })))
    }
}

/// `version-traceid-parentid-flags` of W3C Trace Context, level 1.
fn is_traceparent(value: &str) -> bool {
    let parts: Vec<_> = value.split('-').collect();
    let [version, trace_id, parent_id, flags] = parts.as_slice() else {
        return false;
    };
    let is_hex = |text: &str, length| {
        text.len() == length
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |text: &str| text.bytes().all(|byte| byte == b'0');
    is_hex(version, 2)
        && *version != "ff"
        && is_hex(trace_id, 32)
        && is_hex(parent_id, 16)
        && is_hex(flags, 2)
        && !is_zero(trace_id)
        && !is_zero(parent_id)
}

/// The outermost layer: names the request, runs it, writes errors as problem documents, logs.
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
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    let (status, elapsed) = (response.status(), started.elapsed());
    let (elapsed_us, request_id) = (elapsed.as_micros(), id.as_str());
    debug!(%method, path, request_id, status = status.as_u16(), elapsed_us, "answered");
    let route = matched.as_ref().map_or("unknown", MatchedPath::as_str);
    metrics.record(&method, route, status, elapsed);
    response
}

/// Writes the body of an error. Answers that are errors without being ours (an unknown route, a
/// rejection of the framework) become ours here.
fn write_problem(response: Response, method: &Method, path: &str, id: &RequestId) -> Response {
    let error = match response.extensions().get::<Arc<ApiError>>() {
        Some(error) => Arc::clone(error),
        None => match foreign_error(&response) {
            Some(error) => Arc::new(error),
            None => return response,
        },
    };
    log(&error, method, path, id);
    let (mut parts, _) = response.into_parts();
    if let Ok(status) = StatusCode::from_u16(error.code.status()) {
        parts.status = status;
    }
    let problem = error.problem(path, id.as_str());
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    parts
        .headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    let content_type = HeaderValue::from_static("application/problem+json");
    parts.headers.insert(header::CONTENT_TYPE, content_type);
    parts
        .headers
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Response::from_parts(parts, Body::from(body))
}

fn foreign_error(response: &Response) -> Option<ApiError> {
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_json = content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/"));
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return None;
    }
    Some(match status {
        StatusCode::NOT_FOUND => {
            ApiError::new(Code::RouteNotFound, "There is nothing at this path.")
        }
        StatusCode::METHOD_NOT_ALLOWED => ApiError::new(
            Code::MethodNotAllowed,
            "The path takes the methods that Allow names, and no other.",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => crate::http::request::body::too_large(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => crate::http::request::body::unsupported(),
        status if status.is_client_error() => {
            ApiError::new(Code::InvalidParameter, "The request cannot be read.")
        }
        _ => ApiError::new(Code::InternalError, "The error was logged."),
    })
}

/// Each cause goes to the log once, here, with the whole chain and the request that met it.
fn log(error: &ApiError, method: &Method, path: &str, id: &RequestId) {
    let Some(cause) = &error.cause else { return };
    let chain = error_chain(&**cause);
    let request_id = id.as_str();
    if error.code.status() == 500 {
        error!(%method, path, request_id, error = chain, "request failed");
    } else {
        let code = error.code.as_str();
        warn!(%method, path, request_id, error = chain, code, "request failed");
    }
}

/// The answer to a handler that panicked.
#[must_use]
#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature that the layer asks for"
)]
pub fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    #[derive(Debug, thiserror::Error)]
    #[error("panic: {0}")]
    struct Panicked(String);

    let text = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_default();
    ApiError::new(Code::InternalError, "The error was logged.")
        .because(Panicked(text))
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_context_is_taken_only_where_it_is_well_formed() {
        assert!(is_traceparent(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        ));
        assert!(!is_traceparent(
            "00-00000000000000000000000000000000-b7ad6b7169203331-01"
        ));
        assert!(!is_traceparent(
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        ));
        assert!(!is_traceparent("hello"));
    }
}

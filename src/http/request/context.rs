//! What accompanies every request: its id, its trace context, the time, and new ids.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, request::Parts},
};
use chrono::Utc;
use uuid::Uuid;

use crate::{
    event_sourcing::{Metadata, Timestamp},
    http::problem::ApiError,
};

/// The header with the id of a request.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header with the W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The id of a request.
#[derive(Debug, Clone)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Takes the client's `X-Request-Id` if it is valid, else makes a new id.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers
            .get(X_REQUEST_ID)
            .and_then(|value| value.to_str().ok());
        let given = given.filter(|id| is_request_id(id));
        Self(given.map_or_else(|| new_id().to_string().into(), Into::into))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_request_id(id: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=128).contains(&id.len()) && id.bytes().all(is_allowed)
}

/// Makes a new UUID of version 7: later ids sort after earlier ones.
#[expect(clippy::disallowed_methods, reason = "the edge is where ids are made")]
#[must_use]
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}

/// Reads the clock. A request reads it once.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge is where the clock is read"
)]
#[must_use]
pub fn now() -> Timestamp {
    Utc::now()
}

/// The metadata that is stored with a command's events, for the audit trail.
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
        // All requests of one distributed trace share a correlation id. A request outside a trace
        // has only its own id.
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

/// Whether the text is `version-traceid-parentid-flags` of W3C Trace Context, level 1.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_trace_context_is_accepted() {
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

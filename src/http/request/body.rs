//! Taking a request's body: JSON, at most 1 MiB.

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use crate::http::problem::error::{ApiError, Code};

/// The largest body, in bytes.
pub const MAX_BODY: usize = 1 << 20;

/// How much of a larger body is still read and thrown away, so that a client that sends before it
/// reads gets its answer instead of a broken pipe.
const MAX_DRAINED: usize = 16 << 20;

/// A whole JSON body; empty where the request has none.
#[derive(Debug, Clone)]
pub struct JsonBody(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let is_json = is_json(request.headers()) && !is_encoded(request.headers());
        let mut body = request.into_body();
        let (mut taken, mut size) = (Bytes::new(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                let error = std::io::Error::other(error);
                ApiError::new(Code::MalformedJson, "The body broke off.").because(error)
            })?;
            let Ok(part) = frame.into_data() else {
                continue;
            };
            size += part.len();
            if size <= MAX_BODY {
                taken = joined(taken, part);
            } else if size > MAX_DRAINED {
                break;
            }
        }
        if size > MAX_BODY {
            return Err(too_large());
        }
        if size > 0 && !is_json {
            return Err(unsupported());
        }
        Ok(Self(taken))
    }
}

/// A body that comes in one piece, as nearly all do, is not copied.
fn joined(taken: Bytes, part: Bytes) -> Bytes {
    if taken.is_empty() {
        return part;
    }
    let mut both = BytesMut::from(taken);
    both.extend_from_slice(&part);
    both.freeze()
}

/// `application/json`, or a type that says it is JSON underneath (`application/…+json`).
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let Some(value) = value else { return false };
    let essence = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Whether the body is compressed, or encoded in another way that would have to be undone first.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// 413
#[must_use]
pub fn too_large() -> ApiError {
    ApiError::new(
        Code::PayloadTooLarge,
        format!("The body has more than {MAX_BODY} bytes."),
    )
}

/// 415
#[must_use]
pub fn unsupported() -> ApiError {
    ApiError::new(
        Code::UnsupportedMediaType,
        "The body must have Content-Type application/json, and no Content-Encoding.",
    )
}

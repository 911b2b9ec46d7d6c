//! Reads the body of a request: JSON of at most 1 MiB.

use axum::{
    RequestExt,
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::{
    caller::{Caller, overloaded},
    shares::Share,
};
use crate::http::problem::{ApiError, Code};

/// The largest body, in bytes.
pub const MAX_BODY: usize = 1 << 20;

/// How many bytes of a body that is too large are read and dropped. Many clients send the whole
/// body before they read: without this they would see a broken connection instead of the 413.
const MAX_DRAINED: usize = 16 << 20;

/// A complete body with a JSON media type; empty if the request has no body.
#[derive(Debug)]
pub struct JsonBody {
    /// The body as it was sent.
    pub bytes: Bytes,
    /// Its bytes as they count against the limits: to be kept while the command needs them.
    pub share: Share,
}

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(mut request: Request, _state: &S) -> Result<Self, ApiError> {
        let mut share = request.extract_parts::<Caller>().await?.body();
        let is_json = is_json(request.headers()) && !is_encoded(request.headers());
        let mut body = request.into_body();
        let (mut read, mut size) = (Bytes::new(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                ApiError::new(Code::MalformedJson, "The body ended too early.").because(error)
            })?;
            let Ok(part) = frame.into_data() else {
                continue;
            };
            size += part.len();
            if size <= MAX_BODY {
                if !share.grow(part.len()) {
                    return Err(overloaded("bodies", "Too many bodies are being read."));
                }
                read = joined(read, part);
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
        Ok(Self { bytes: read, share })
    }
}

/// Appends a part. Nearly every body has only one part, and that one is not copied.
fn joined(read: Bytes, part: Bytes) -> Bytes {
    if read.is_empty() {
        return part;
    }
    let mut both = BytesMut::from(read);
    both.extend_from_slice(&part);
    both.freeze()
}

/// Whether the media type is `application/json` or `application/…+json`.
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

/// Whether the body is compressed or has another encoding that must be undone before it is read.
fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// 413 `payload_too_large`.
#[must_use]
pub fn too_large() -> ApiError {
    ApiError::new(
        Code::PayloadTooLarge,
        format!("The body has more than {MAX_BODY} bytes."),
    )
}

/// 415 `unsupported_media_type`.
#[must_use]
pub fn unsupported() -> ApiError {
    ApiError::new(
        Code::UnsupportedMediaType,
        "The body must have Content-Type application/json, and no Content-Encoding.",
    )
}

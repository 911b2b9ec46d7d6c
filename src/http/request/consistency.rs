//! The headers by which a client reads its own writes: `Consistency-Token`, `Prefer: wait`,
//! `Projection-Position`, `Order-Parked`.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::digits::whole_number;
use crate::event_sourcing::{Position, Version};
use crate::http::problem::ApiError;

/// Sent with the answer to a command; a read that sends it back sees that command's events.
pub const CONSISTENCY_TOKEN: HeaderName = HeaderName::from_static("consistency-token");
/// Sent with the answer to a read: the position up to which the read model was complete.
pub const PROJECTION_POSITION: HeaderName = HeaderName::from_static("projection-position");
/// Sent with a parked order: the version of the event that the read model could not apply.
pub const ORDER_PARKED: HeaderName = HeaderName::from_static("order-parked");
/// Sent by a client: how long a read may wait.
pub const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Sent with the answer to a read: the `wait` that was used.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How long a read waits without `Prefer`, in seconds.
const DEFAULT_WAIT: u64 = 2;
/// The longest wait, in seconds.
const MAX_WAIT: u64 = 10;

/// Makes the token of a position.
///
/// # Errors
/// 500 if the token cannot be a header.
pub fn token(position: Position) -> Result<HeaderValue, ApiError> {
    let token = URL_SAFE_NO_PAD.encode(format!("p{position}"));
    HeaderValue::try_from(token).map_err(ApiError::internal)
}

/// What a read requires of the read model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consistency {
    /// The position up to which events must be applied before the read answers; zero requires
    /// nothing.
    pub required: Position,
    /// How long the read waits for that position.
    pub wait: Duration,
    /// The client's `wait` preference in seconds, cut to the longest wait.
    pub applied: Option<u64>,
}

impl Consistency {
    /// Reads `Consistency-Token` and `Prefer`. Of several tokens the one with the highest position
    /// counts, because it includes the writes of the others.
    ///
    /// # Errors
    /// 400 `invalid_header` if a token cannot be read.
    pub fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut required = Position::ZERO;
        for value in headers.get_all(CONSISTENCY_TOKEN) {
            required = required.max(read_token(value).ok_or_else(|| {
                ApiError::header("Consistency-Token", "is not a token of this service")
            })?);
        }
        let applied = preferred_wait(headers).map(|seconds| seconds.min(MAX_WAIT));
        let wait = Duration::from_secs(applied.unwrap_or(DEFAULT_WAIT));
        Ok(Self {
            required,
            wait,
            applied,
        })
    }

    /// Also requires this position.
    #[must_use]
    pub fn and(self, position: Position) -> Self {
        Self {
            required: self.required.max(position),
            ..self
        }
    }

    /// Writes `Projection-Position`, and `Preference-Applied` if the client sent a preference.
    pub fn write(&self, position: Position, headers: &mut HeaderMap) {
        headers.insert(PROJECTION_POSITION, HeaderValue::from(position.get()));
        if let Some(seconds) = self.applied
            && let Ok(applied) = HeaderValue::try_from(format!("wait={seconds}"))
        {
            headers.insert(PREFERENCE_APPLIED, applied);
        }
    }
}

/// Writes `Order-Parked: version=3`, a dictionary of RFC 9651. The answer then shows the order as
/// the write side knows it; lists show the order as it was before that version.
pub fn write_parked(version: Version, headers: &mut HeaderMap) {
    if let Ok(parked) = HeaderValue::try_from(format!("version={version}")) {
        headers.insert(ORDER_PARKED, parked);
    }
}

fn read_token(value: &HeaderValue) -> Option<Position> {
    let decoded = URL_SAFE_NO_PAD.decode(value.as_bytes()).ok()?;
    let digits = std::str::from_utf8(&decoded).ok()?.strip_prefix('p')?;
    let position = i64::try_from(whole_number(digits)?).ok()?;
    Some(Position::new(position))
}

/// The whole seconds of `Prefer: wait=…` (RFC 7240). Other preferences are ignored.
fn preferred_wait(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all(PREFER);
    values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .find_map(|preference| {
            let (name, seconds) = preference.split_once('=')?;
            let is_wait = name.trim().eq_ignore_ascii_case("wait");
            let seconds = whole_number(seconds.trim().trim_matches('"'));
            seconds.filter(|_| is_wait)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_as_its_position() {
        assert_eq!(
            read_token(&token(Position::new(18_342)).unwrap()),
            Some(Position::new(18_342))
        );
        assert_eq!(read_token(&HeaderValue::from_static("nonsense")), None);
    }

    #[test]
    fn a_long_wait_is_cut_to_ten_seconds() {
        let mut headers = HeaderMap::new();
        headers.insert(PREFER, HeaderValue::from_static("respond-async, wait=99"));

        let consistency = Consistency::of(&headers).unwrap();

        assert_eq!(consistency.wait, Duration::from_secs(10));
        assert_eq!(consistency.applied, Some(10));
    }
}

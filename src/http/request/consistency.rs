//! Reads that do not go back in time: tokens, waiting, and the position that a read shows.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::event_sourcing::{Position, Version};
use crate::http::problem::error::ApiError;

/// The token that a command answers with and a read may bring along.
pub const CONSISTENCY_TOKEN: HeaderName = HeaderName::from_static("consistency-token");
/// Up to which position the read model was complete when it was read.
pub const PROJECTION_POSITION: HeaderName = HeaderName::from_static("projection-position");
/// Only on a parked order: the version of the event that the read model could not apply.
pub const ORDER_PARKED: HeaderName = HeaderName::from_static("order-parked");
/// How long a read may wait.
pub const PREFER: HeaderName = HeaderName::from_static("prefer");
/// How long a read was allowed to wait.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

const DEFAULT_WAIT: u64 = 2;
const MAX_WAIT: u64 = 10;

/// Writes the token of a position.
#[must_use]
pub fn token(position: Position) -> HeaderValue {
    let token = URL_SAFE_NO_PAD.encode(format!("p{position}"));
    HeaderValue::try_from(token).unwrap_or(HeaderValue::from_static(""))
}

/// What a read asks of the read model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consistency {
    /// What must be applied before the read answers; zero asks for nothing.
    pub required: Position,
    /// How long the read waits for that.
    pub wait: Duration,
    /// The `wait` preference that was honoured, in seconds.
    pub applied: Option<u64>,
}

impl Consistency {
    /// Reads `Consistency-Token` and `Prefer`.
    ///
    /// # Errors
    /// 400 where the token cannot be read.
    pub fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut required = Position::ZERO;
        for value in headers.get_all(CONSISTENCY_TOKEN) {
            // Several tokens, of several writes: the last of them holds them all.
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

    /// Tells the client what was applied.
    pub fn write(&self, position: Position, headers: &mut HeaderMap) {
        headers.insert(PROJECTION_POSITION, HeaderValue::from(position.get()));
        if let Some(seconds) = self.applied
            && let Ok(applied) = HeaderValue::try_from(format!("wait={seconds}"))
        {
            headers.insert(PREFERENCE_APPLIED, applied);
        }
    }
}

/// Tells the client that the order is parked, as a dictionary of RFC 9651: `version=3`. It is shown
/// as the write side knows it, and the lists show it as it was before that version.
pub fn write_parked(version: Version, headers: &mut HeaderMap) {
    if let Ok(parked) = HeaderValue::try_from(format!("version={version}")) {
        headers.insert(ORDER_PARKED, parked);
    }
}

fn read_token(value: &HeaderValue) -> Option<Position> {
    let decoded = URL_SAFE_NO_PAD.decode(value.as_bytes()).ok()?;
    let digits = std::str::from_utf8(&decoded).ok()?.strip_prefix('p')?;
    let position = digits
        .parse::<i64>()
        .ok()
        .filter(|position| *position >= 0)?;
    Some(Position::new(position))
}

/// The whole seconds of `Prefer: wait=…` (RFC 7240); anything else in the header is not for us.
fn preferred_wait(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all(PREFER);
    values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .find_map(|preference| {
            let (name, seconds) = preference.split_once('=')?;
            let seconds = seconds.trim().trim_matches('"');
            let is_wait = name.trim().eq_ignore_ascii_case("wait");
            let is_number =
                !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
            (is_wait && is_number).then(|| seconds.parse().unwrap_or(u64::MAX))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_the_position_it_was_made_of() {
        assert_eq!(
            read_token(&token(Position::new(18_342))),
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

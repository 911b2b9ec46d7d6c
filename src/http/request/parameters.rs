//! Reads path and query parameters strictly, and reports all invalid ones at once.

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{Uri, request::Parts},
};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::{digits::whole_number, json::parse_uuid};
use crate::event_sourcing::{Timestamp, Version};
use crate::http::problem::{ApiError, FieldError};

/// The parameters in the path of a request.
#[derive(Debug)]
pub struct PathParameters(Option<RawPathParams>);

impl PathParameters {
    /// Decodes the path. One part that is not UTF-8 makes all of them unreadable.
    pub async fn of<S: Send + Sync>(parts: &mut Parts, state: &S) -> Self {
        Self(RawPathParams::from_request_parts(parts, state).await.ok())
    }

    /// Reads a UUID.
    ///
    /// # Errors
    /// A field error if the parameter is not a UUID.
    pub fn uuid(&self, name: &'static str) -> Result<Uuid, FieldError> {
        let mut parameters = self.0.iter().flatten();
        let text = parameters.find_map(|(key, text)| (key == name).then_some(text));
        text.and_then(parse_uuid)
            .ok_or_else(|| FieldError::parameter(name, "invalid_uuid", "must be a UUID"))
    }
}

/// The query parameters of a request. A reader takes them one by one; those that are left are
/// unknown.
#[derive(Debug)]
pub struct QueryParameters {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl QueryParameters {
    /// Splits and decodes the query (`application/x-www-form-urlencoded`).
    #[must_use]
    pub fn of(uri: &Uri) -> Self {
        let mut errors = vec![];
        let mut pairs = vec![];
        for pair in uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decode(name), decode(value)) {
                (Some(name), Some(value)) => pairs.push((name, value)),
                (name, _) => {
                    let name = name.unwrap_or_else(|| "?".to_owned());
                    errors.push(FieldError::parameter(name, "invalid", "must be UTF-8"));
                }
            }
        }
        Self { pairs, errors }
    }

    /// Adds an error about a parameter.
    pub fn refuse(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        self.errors
            .push(FieldError::parameter(name, code, detail.into()));
    }

    /// Takes all values of a parameter that may be repeated.
    pub fn take_all(&mut self, name: &str) -> Vec<String> {
        #[cfg(test)]
        super::asked::record(name);
        let (taken, left) = std::mem::take(&mut self.pairs)
            .into_iter()
            .partition::<Vec<_>, _>(|(key, _)| key == name);
        self.pairs = left;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// Takes the only value of a parameter.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let mut values = self.take_all(name);
        if values.len() > 1 {
            self.refuse(name, "repeated", "must not be repeated");
            return None;
        }
        values.pop()
    }

    /// Takes the text of a filter: not empty, without control characters.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let text = self.take(name)?;
        if text.is_empty() {
            self.refuse(name, "required", "must not be empty");
            return None;
        }
        if text.chars().any(char::is_control) {
            self.refuse(
                name,
                "invalid_characters",
                "must not contain control characters",
            );
            return None;
        }
        Some(text)
    }

    /// Takes a whole number between `min` and `max`.
    pub fn number(&mut self, name: &str, min: u32, max: u32) -> Option<u32> {
        let text = self.take(name)?;
        let number = whole_number(&text)
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| (min..=max).contains(number));
        if number.is_none() {
            let detail = format!("must be a whole number between {min} and {max}");
            self.refuse(name, "out_of_range", detail);
        }
        number
    }

    /// Takes a whole number from 1, without an upper limit: [`u64::MAX`] stands for larger ones.
    pub fn number_from_one(&mut self, name: &str) -> Option<u64> {
        let text = self.take(name)?;
        let number = whole_number(&text).filter(|number| *number >= 1);
        if number.is_none() {
            self.refuse(name, "out_of_range", "must be a whole number from 1");
        }
        number
    }

    /// Takes a version. A number that is too large becomes [`i32::MAX`], which no order reaches.
    pub fn version(&mut self, name: &str) -> Option<Version> {
        let number = self.number_from_one(name)?;
        Some(Version::new(i32::try_from(number).unwrap_or(i32::MAX)))
    }

    /// Takes `true` or `false`.
    pub fn flag(&mut self, name: &str) -> bool {
        match self.take(name).as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                self.refuse(name, "invalid", "must be true or false");
                false
            }
        }
    }

    /// Takes an RFC 3339 instant with an offset.
    pub fn instant(&mut self, name: &str) -> Option<Timestamp> {
        let text = self.take(name)?;
        // A plus sign that was not percent-encoded arrives as a space.
        let parsed = DateTime::parse_from_rfc3339(&text.replace(' ', "+"));
        if parsed.is_err() {
            let detail = "must be an RFC 3339 instant with an offset, as 2026-11-23T09:15:02Z";
            self.refuse(name, "invalid_instant", detail);
        }
        parsed.ok().map(|instant| instant.with_timezone(&Utc))
    }

    /// Takes an instant that limits a range, rounded up to a microsecond: stored times have no
    /// smaller unit.
    pub fn bound(&mut self, name: &str) -> Option<Timestamp> {
        let instant = self.instant(name)?;
        let whole = instant.trunc_subsecs(6);
        if whole == instant {
            Some(instant)
        } else {
            whole.checked_add_signed(TimeDelta::microseconds(1))
        }
    }

    /// Ends reading.
    ///
    /// # Errors
    /// 400 `invalid_parameter` with all invalid, repeated and unknown parameters.
    pub fn close(mut self) -> Result<(), ApiError> {
        let unknown: Vec<_> = self
            .pairs
            .drain(..)
            .map(|(name, _)| name)
            .take(50)
            .collect();
        for name in unknown {
            self.refuse(&name, "unknown_parameter", "is not known");
        }
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(ApiError::parameters(self.errors))
        }
    }
}

fn decode(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    percent_decode_str(&text)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

//! Path and query parameters, read strictly: all bad ones named at once.

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{Uri, request::Parts},
};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use percent_encoding::percent_decode_str;
use utoipa::IntoParams;
use uuid::Uuid;

use super::json::parse_uuid;
use crate::event_sourcing::{Timestamp, Version};
use crate::http::problem::error::{ApiError, FieldError};
use crate::order::{ItemId, OrderId};

/// `/v1/orders/{id}`
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OrderPath {
    /// The order's id.
    #[param(value_type = Uuid, example = "019aaf00-0000-7000-8000-000000000001")]
    pub id: OrderId,
}

/// `/v1/orders/{id}/items/{itemId}`
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ItemPath {
    /// The order's id.
    #[param(value_type = Uuid, example = "019aaf00-0000-7000-8000-000000000001")]
    pub id: OrderId,
    /// The line's id.
    #[param(
        rename = "itemId",
        value_type = Uuid,
        example = "019aaf00-0000-7000-8000-0000000000a1"
    )]
    pub item_id: ItemId,
}

impl<S: Send + Sync> FromRequestParts<S> for OrderPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let [id] = path_ids(parts, state, ["id"]).await?;
        Ok(Self { id: id.into() })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ItemPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let [id, item_id] = path_ids(parts, state, ["id", "itemId"]).await?;
        Ok(Self {
            id: id.into(),
            item_id: item_id.into(),
        })
    }
}

async fn path_ids<S: Send + Sync, const N: usize>(
    parts: &mut Parts,
    state: &S,
    names: [&'static str; N],
) -> Result<[Uuid; N], ApiError> {
    // A segment that is no UTF-8 fails as a whole, and is no UUID either.
    let path = RawPathParams::from_request_parts(parts, state).await.ok();
    let ids = names.map(|name| {
        let (_, text) = path.iter().flatten().find(|(key, _)| *key == name)?;
        parse_uuid(text)
    });
    let errors: Vec<_> = names
        .iter()
        .zip(ids)
        .filter(|(_, id)| id.is_none())
        .map(|(name, _)| FieldError::parameter(*name, "invalid_uuid", "must be a UUID"))
        .collect();
    if errors.is_empty() {
        Ok(ids.map(Option::unwrap_or_default))
    } else {
        Err(ApiError::parameters(errors))
    }
}

/// The query parameters of a request: taken one by one; what is left is unknown.
#[derive(Debug)]
pub struct Parameters {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Parameters {
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

    /// Notes a bad parameter.
    pub fn refuse(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        self.errors
            .push(FieldError::parameter(name, code, detail.into()));
    }

    /// Takes every value of a parameter that may be repeated.
    pub fn take_all(&mut self, name: &str) -> Vec<String> {
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

    /// Takes a text that is a filter: not empty, without control characters.
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
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text
            .parse::<u32>()
            .ok()
            .filter(|number| (min..=max).contains(number));
        if !is_number || number.is_none() {
            let detail = format!("must be a whole number between {min} and {max}");
            self.refuse(name, "out_of_range", detail);
            return None;
        }
        number
    }

    /// Takes a version, from 1. One beyond any is the largest: no order has it.
    pub fn version(&mut self, name: &str) -> Option<Version> {
        let text = self.take(name)?;
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let version = is_number
            .then(|| text.parse().unwrap_or(i32::MAX))
            .filter(|version| *version >= 1);
        if version.is_none() {
            self.refuse(name, "out_of_range", "must be a whole number from 1");
        }
        version.map(Version::new)
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
        // A plus that was not percent-encoded arrives as a space.
        let parsed = DateTime::parse_from_rfc3339(&text.replace(' ', "+"));
        if parsed.is_err() {
            let detail = "must be an RFC 3339 instant with an offset, as 2026-11-23T09:15:02Z";
            self.refuse(name, "invalid_instant", detail);
        }
        parsed.ok().map(|instant| instant.with_timezone(&Utc))
    }

    /// Takes an instant that bounds a range: the next whole microsecond, as stores keep them.
    pub fn bound(&mut self, name: &str) -> Option<Timestamp> {
        let instant = self.instant(name)?;
        let whole = instant.trunc_subsecs(6);
        if whole == instant {
            Some(instant)
        } else {
            whole.checked_add_signed(TimeDelta::microseconds(1))
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// 400 with every bad, repeated or unknown parameter.
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

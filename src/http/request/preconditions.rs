//! Versions in headers: `ETag`, `If-Match`, `If-None-Match`; and `Idempotency-Key`.

use std::fmt::{self, Write as _};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::http::problem::error::ApiError;
use crate::{
    event_sourcing::{IdempotencyKey, Version},
    order::Decimal,
};

/// The header that makes a command safe to repeat.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The `ETag` of a version.
#[must_use]
pub fn etag(version: Version) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// What `If-Match` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: the order must exist.
    Exists,
    /// The order must be at this version.
    Version(Version),
}

/// Reads `If-Match`.
///
/// # Errors
/// 400 where it is neither `*` nor one quoted version.
pub fn if_match(headers: &HeaderMap) -> Result<Option<IfMatch>, ApiError> {
    let Some(value) = single(headers, &header::IF_MATCH, "If-Match")? else {
        return Ok(None);
    };
    if value == "*" {
        return Ok(Some(IfMatch::Exists));
    }
    let version = tag_version(value)
        .ok_or_else(|| ApiError::header("If-Match", "must be * or one version, as in \"4\""))?;
    Ok(Some(IfMatch::Version(version)))
}

/// The version in `"4"` or `W/"4"`. A number beyond any version is a version that never holds.
fn tag_version(tag: &str) -> Option<Version> {
    let digits = tag
        .strip_prefix("W/")
        .unwrap_or(tag)
        .strip_prefix('"')?
        .strip_suffix('"')?;
    let is_canonical = digits == "0" || !digits.starts_with('0');
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && is_canonical).then(|| Version::new(digits.parse().unwrap_or(i32::MAX)))
}

/// What `If-None-Match` says that the client has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IfNoneMatch {
    any: bool,
    versions: Vec<Version>,
}

impl IfNoneMatch {
    /// Reads the header. Tags that are no versions match nothing, as RFC 9110 has it.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::IF_NONE_MATCH);
        let tags: Vec<&str> = values
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .collect();
        Self {
            any: tags.contains(&"*"),
            versions: tags.iter().filter_map(|tag| tag_version(tag)).collect(),
        }
    }

    /// Whether the client has this version.
    #[must_use]
    pub fn matches(&self, version: Version) -> bool {
        self.any || self.versions.contains(&version)
    }

    /// The newest version that the client has seen.
    #[must_use]
    pub fn newest(&self) -> Option<Version> {
        self.versions
            .iter()
            .copied()
            .filter(|version| version.get() < i32::MAX)
            .max()
    }
}

/// Reads `Idempotency-Key` into a key for the request `fingerprint`.
///
/// # Errors
/// 400 where it is not 1 to 255 printable ASCII characters, one pair of quotes apart.
pub fn idempotency_key(
    headers: &HeaderMap,
    fingerprint: impl FnOnce() -> [u8; 32],
) -> Result<Option<IdempotencyKey>, ApiError> {
    const NAME: &str = "Idempotency-Key";
    let Some(value) = single(headers, &IDEMPOTENCY_KEY, NAME)? else {
        return Ok(None);
    };
    let inner = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    let key = inner.unwrap_or(value);
    let is_printable = key.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    if !(1..=255).contains(&key.len()) || !is_printable {
        return Err(ApiError::header(
            NAME,
            "must have 1 to 255 printable ASCII characters",
        ));
    }
    let scope = "anonymous".to_owned();
    Ok(Some(IdempotencyKey {
        scope,
        key: key.to_owned(),
        fingerprint: fingerprint(),
    }))
}

/// A digest of what makes two requests the same: method, path and parsed JSON, the expected
/// version left out.
#[must_use]
pub fn fingerprint(method: &str, path: &str, body: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(method);
    digest.update([0]);
    digest.update(path);
    digest.update([0]);
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    if let Some(mut value) = parsed {
        if let Some(object) = value.as_object_mut() {
            object.remove("expectedVersion");
        }
        // No body and an empty object ask for the same.
        if value.as_object().is_none_or(|object| !object.is_empty()) {
            let mut text = String::with_capacity(body.len());
            // Writing to a string cannot fail.
            let _ = canonical(&value, &mut text);
            digest.update(text);
        }
    }
    digest.finalize().into()
}

/// Writes equal values equally: members in order of their names, numbers by their exact value
/// (`50`, `50.0` and `5e1` are one number). Fingerprints are kept for a day: another form would take
/// repeated requests for other ones.
fn canonical(value: &Value, out: &mut String) -> fmt::Result {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                write!(out, "{comma}{name:?}:")?;
                canonical(value, out)?;
            }
            out.push('}');
            Ok(())
        }
        Value::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                canonical(element, out)?;
            }
            out.push(']');
            Ok(())
        }
        Value::Number(number) => {
            let number = number.to_string();
            match Decimal::parse(&number) {
                Some(exact) => {
                    let sign = if exact.is_negative { "-" } else { "" };
                    write!(out, "{sign}{}e{}", exact.digits, exact.exponent)
                }
                None => out.write_str(&number),
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => write!(out, "{value}"),
    }
}

/// The header's only value.
fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    label: &'static str,
) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(ApiError::header(label, "must not be repeated"));
    }
    let text = value.to_str().map(str::trim);
    text.map(Some)
        .map_err(|_| ApiError::header(label, "must be printable ASCII"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weak_tag_counts_as_its_version() {
        assert_eq!(tag_version("W/\"4\""), Some(Version::new(4)));
        assert_eq!(tag_version("\"4\""), Some(Version::new(4)));
        for unreadable in [
            "4",
            "\"\"",
            "\"x\"",
            "\"-1\"",
            "w/\"4\"",
            "\"04\"",
            "\"4",
            "\"1\", \"2\"",
        ] {
            assert_eq!(tag_version(unreadable), None, "{unreadable}");
        }
    }

    #[test]
    fn the_same_json_has_the_same_fingerprint() {
        let of = |body: &str| fingerprint("POST", "/v1/orders", body.as_bytes());

        assert_eq!(
            of(r#"{"a":1,"b":2}"#),
            of(r#" { "b": 2, "a": 1.0e0 , "expectedVersion": 3}"#)
        );
        assert_ne!(of(r#"{"a":1}"#), of(r#"{"a":2}"#));
        assert_eq!(of(""), of("{}"));
    }

    #[test]
    fn the_fingerprint_is_that_of_yesterday() {
        let body = r#"{"b":[1.50,"a\"\n",null],"a":{"d":true,"c":-2},"expectedVersion":1}"#;
        let canonical = r#"{"a":{"c":-2e0,"d":true},"b":[15e-1,"a\"\n",null]}"#;
        let digest = Sha256::digest(format!("POST\0/v1/orders\0{canonical}"));

        assert_eq!(
            fingerprint("POST", "/v1/orders", body.as_bytes())[..],
            digest[..]
        );
    }
}

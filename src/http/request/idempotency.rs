//! `Idempotency-Key`, and the fingerprint that tells whether two requests are the same.

use std::fmt::{self, Write as _};

use axum::http::{HeaderMap, HeaderName};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::preconditions::single;
use crate::{event_sourcing::IdempotencyKey, http::problem::ApiError, order::Decimal};

/// The header that makes a command safe to repeat.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Reads `Idempotency-Key`. The key is stored with the fingerprint of the request.
///
/// # Errors
/// 400 `invalid_header` if the key is not 1 to 255 printable ASCII characters. One pair of quotes
/// around it is removed first.
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

/// Digests what makes two requests the same: method, path and parsed JSON without
/// `expectedVersion`. `body` is JSON, or empty.
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
        // A request without a body is the same as one with an empty object.
        if value.as_object().is_none_or(|object| !object.is_empty()) {
            let mut text = String::with_capacity(body.len());
            // Writing to a String does not fail.
            let _ = canonical(&value, &mut text);
            digest.update(text);
        }
    }
    digest.finalize().into()
}

/// Writes equal values as equal texts: members sorted by name, numbers by their exact value (`50`,
/// `50.0` and `5e1` are one number). Fingerprints are stored for a day: if this form changed, a
/// repeated request would count as another one.
fn canonical(value: &Value, out: &mut String) -> fmt::Result {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                write!(out, "{comma}{}:", Value::from(name.as_str()))?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_fingerprint_stays_the_same_from_release_to_release() {
        let body = r#"{"b\n":[1.50,"a\"\n",null],"a":{"d":true,"c":-2},"expectedVersion":1}"#;
        let canonical = r#"{"a":{"c":-2e0,"d":true},"b\n":[15e-1,"a\"\n",null]}"#;
        let digest = Sha256::digest(format!("POST\0/v1/orders\0{canonical}"));

        assert_eq!(
            fingerprint("POST", "/v1/orders", body.as_bytes())[..],
            digest[..]
        );
    }
}

//! Reads the values of members.

use serde_json::value::RawValue;
use uuid::Uuid;

use super::errors::FieldErrors;
use crate::order::{Decimal, InvalidText, OutOfRange, command::Price};

/// The detail about a JSON string that is not Unicode.
pub(super) const HALF_SURROGATE: &str = "must not hold half a surrogate pair";

/// Reads a UUID in its hyphenated form; `None` for any other text.
#[must_use]
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|_| text.len() == 36)
}

/// Reads a JSON string. `pointer` is only called for an error.
pub fn read_string(
    value: &RawValue,
    pointer: impl Fn() -> String,
    errors: &mut FieldErrors,
) -> Option<String> {
    if !value.get().starts_with('"') {
        errors.add(pointer(), "wrong_type", "must be a string");
        return None;
    }
    let text = serde_json::from_str(value.get());
    if text.is_err() {
        errors.add(pointer(), "invalid_characters", HALF_SURROGATE);
    }
    text.ok()
}

/// Reads a JSON string and parses it.
pub(super) fn read_text<T>(
    value: &RawValue,
    pointer: impl Fn() -> String,
    parse: fn(&str) -> Result<T, InvalidText>,
    errors: &mut FieldErrors,
) -> Option<T> {
    let text = read_string(value, &pointer, errors)?;
    match parse(&text) {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            let code = match error {
                InvalidText::Empty => "required",
                InvalidText::TooLong { .. } => "too_long",
                InvalidText::ControlCharacter => "invalid_characters",
            };
            errors.add(pointer(), code, error.to_string());
            None
        }
    }
}

/// Reads a whole number and parses it. `3.0` and `3e0` are whole numbers, too.
pub(super) fn read_number<T>(
    value: &RawValue,
    pointer: impl Fn() -> String,
    parse: fn(u32) -> Result<T, OutOfRange>,
    errors: &mut FieldErrors,
) -> Option<T> {
    let decimal = match value.get().as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => Decimal::parse(value.get()),
        _ => None,
    };
    let Some(decimal) = decimal.filter(Decimal::is_whole) else {
        errors.add(pointer(), "wrong_type", "must be a whole number");
        return None;
    };
    let small = decimal
        .to_i64()
        .and_then(|number| u32::try_from(number).ok());
    // A number outside u32 is outside every range here, so the nearest u32 gives the right error.
    let is_high = small.is_none() && !decimal.is_negative;
    match parse(small.unwrap_or(if is_high { u32::MAX } else { 0 })) {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            errors.add(pointer(), "out_of_range", error.to_string());
            None
        }
    }
}

/// Reads a UUID.
pub(super) fn read_uuid(
    value: &RawValue,
    pointer: impl Fn() -> String,
    errors: &mut FieldErrors,
) -> Option<Uuid> {
    let text = read_string(value, &pointer, errors)?;
    let id = parse_uuid(&text);
    if id.is_none() {
        errors.add(pointer(), "invalid_uuid", "must be a UUID");
    }
    id
}

/// Reads a price as it is written: a string or a number.
pub(super) fn read_price(
    value: &RawValue,
    pointer: impl Fn() -> String,
    errors: &mut FieldErrors,
) -> Option<Price> {
    match value.get().as_bytes().first() {
        Some(b'"') => read_string(value, pointer, errors).map(Price::Text),
        Some(b'-' | b'0'..=b'9') => Some(Price::Number(value.get().to_owned())),
        _ => {
            let detail = "must be a decimal string or a number";
            errors.add(pointer(), "wrong_type", detail);
            None
        }
    }
}

//! Reading request bodies: strict, without a detour over a JSON tree, and with all bad fields
//! named at once.

use std::{collections::HashSet, fmt};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::http::problem::error::{ApiError, Code, FieldError};
use crate::order::{Decimal, InvalidText, OutOfRange, command::Price};

/// How many bad fields one answer lists.
const MAX_ERRORS: usize = 100;

/// Characters that a pointer in a URI fragment cannot hold as they are.
const FRAGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The bad fields found so far.
#[derive(Debug, Default)]
pub struct Errors(Vec<FieldError>);

impl Errors {
    /// Notes a bad field.
    pub fn push(&mut self, error: FieldError) {
        if self.0.len() < MAX_ERRORS {
            self.0.push(error);
        }
    }

    /// `Ok` where there is no bad field.
    ///
    /// # Errors
    /// 422 with every bad field.
    pub fn check(self) -> Result<(), ApiError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ApiError::fields(self.0))
        }
    }
}

/// Checks that a body is one well-formed JSON text.
///
/// # Errors
/// 400 `malformed_json`.
pub fn well_formed(body: &[u8]) -> Result<&RawValue, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        let detail = if body.is_empty() {
            "The body is empty, but a JSON object is needed.".to_owned()
        } else {
            let (line, column) = (error.line(), error.column());
            format!("The body is not well-formed JSON at line {line}, column {column}.")
        };
        ApiError::new(Code::MalformedJson, detail)
    })
}

/// The members of a JSON object in their order, repeated ones included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

/// A JSON object that is being read: members are taken one by one, what is left is unknown.
pub struct Object<'a> {
    pointer: String,
    members: Vec<(String, &'a RawValue)>,
    /// Whether it is an object at all: of what is none, no member is missed.
    is_readable: bool,
}

impl<'a> Object<'a> {
    /// Opens the object at `pointer`; notes an error where it is none, or repeats a member.
    pub fn open(value: &'a RawValue, pointer: impl Into<String>, errors: &mut Errors) -> Self {
        let pointer = pointer.into();
        let members = match serde_json::from_str::<Members<'a>>(value.get()) {
            Ok(Members(members)) => Some(members),
            Err(_) if value.get().starts_with('{') => {
                errors.push(invalid_characters(&pointer));
                None
            }
            Err(_) => {
                errors.push(wrong_type(&pointer, "must be a JSON object"));
                None
            }
        };
        let mut object = Self {
            pointer,
            is_readable: members.is_some(),
            members: members.unwrap_or_default(),
        };
        object.refuse_repeated(errors);
        object
    }

    fn refuse_repeated(&mut self, errors: &mut Errors) {
        let mut seen = HashSet::with_capacity(self.members.len());
        for (name, _) in &self.members {
            if !seen.insert(name.as_str()) {
                let pointer = self.pointer_to(name);
                errors.push(FieldError::pointer(
                    pointer,
                    "duplicate",
                    "must not be repeated",
                ));
            }
        }
    }

    /// Where a member stands.
    #[must_use]
    pub fn pointer_to(&self, name: &str) -> String {
        let name = name.replace('~', "~0").replace('/', "~1");
        format!("{}/{}", self.pointer, utf8_percent_encode(&name, FRAGMENT))
    }

    /// Takes a member; `null` counts as left out.
    fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let mut found = None;
        self.members.retain(|(member, value)| {
            let is_it = member == name;
            if is_it && found.is_none() {
                found = Some(*value);
            }
            !is_it
        });
        found.filter(|value| value.get() != "null")
    }

    /// Takes a member that must be there.
    fn require(&mut self, name: &str, errors: &mut Errors) -> Option<&'a RawValue> {
        let value = self.take(name);
        if value.is_none() && self.is_readable {
            errors.push(FieldError::pointer(
                self.pointer_to(name),
                "required",
                "is required",
            ));
        }
        value
    }

    /// Takes a required text.
    pub fn text<T>(
        &mut self,
        name: &str,
        parse: fn(&str) -> Result<T, InvalidText>,
        errors: &mut Errors,
    ) -> Option<T> {
        let value = self.require(name, errors)?;
        read_text(value, || self.pointer_to(name), parse, errors)
    }

    /// Takes an optional text.
    pub fn optional_text<T>(
        &mut self,
        name: &str,
        parse: fn(&str) -> Result<T, InvalidText>,
        errors: &mut Errors,
    ) -> Option<T> {
        let value = self.take(name)?;
        read_text(value, || self.pointer_to(name), parse, errors)
    }

    /// Takes an optional member of any type.
    pub fn optional_value(&mut self, name: &str) -> Option<&'a RawValue> {
        self.take(name)
    }

    /// Takes an optional UUID.
    pub fn optional_uuid(&mut self, name: &str, errors: &mut Errors) -> Option<Uuid> {
        let value = self.take(name)?;
        let text = read_string(value, || self.pointer_to(name), errors)?;
        let id = parse_uuid(&text);
        if id.is_none() {
            errors.push(FieldError::pointer(
                self.pointer_to(name),
                "invalid_uuid",
                "must be a UUID",
            ));
        }
        id
    }

    /// Takes a required whole number.
    pub fn number<T>(
        &mut self,
        name: &str,
        parse: fn(u32) -> Result<T, OutOfRange>,
        errors: &mut Errors,
    ) -> Option<T> {
        let value = self.require(name, errors)?;
        read_number(value, || self.pointer_to(name), parse, errors)
    }

    /// Takes an optional whole number.
    pub fn optional_number<T>(
        &mut self,
        name: &str,
        parse: fn(u32) -> Result<T, OutOfRange>,
        errors: &mut Errors,
    ) -> Option<T> {
        let value = self.take(name)?;
        read_number(value, || self.pointer_to(name), parse, errors)
    }

    /// Takes a required price, as it is written.
    pub fn price(&mut self, name: &str, errors: &mut Errors) -> Option<Price> {
        let value = self.require(name, errors)?;
        let pointer = || self.pointer_to(name);
        match value.get().as_bytes().first() {
            Some(b'"') => read_string(value, pointer, errors).map(Price::Text),
            Some(b'-' | b'0'..=b'9') => Some(Price::Number(value.get().to_owned())),
            _ => {
                errors.push(wrong_type(
                    &pointer(),
                    "must be a decimal string or a number",
                ));
                None
            }
        }
    }

    /// Takes an optional array.
    pub fn optional_array(&mut self, name: &str, errors: &mut Errors) -> Option<Vec<&'a RawValue>> {
        let value = self.take(name)?;
        let elements = serde_json::from_str(value.get());
        if elements.is_err() {
            errors.push(wrong_type(&self.pointer_to(name), "must be an array"));
        }
        elements.ok()
    }

    /// Ends the reading: what was not taken is unknown.
    pub fn close(self, errors: &mut Errors) {
        let unknown: Vec<_> = self
            .members
            .iter()
            .map(|(name, _)| self.pointer_to(name))
            .collect();
        for pointer in unknown {
            errors.push(FieldError::pointer(
                pointer,
                "unknown_member",
                "is not known",
            ));
        }
    }
}

/// Reads the hyphenated form of a UUID, and no other.
#[must_use]
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|_| text.len() == 36)
}

fn wrong_type(pointer: &str, detail: &'static str) -> FieldError {
    FieldError::pointer(pointer, "wrong_type", detail)
}

fn invalid_characters(pointer: &str) -> FieldError {
    FieldError::pointer(
        pointer,
        "invalid_characters",
        "must not hold half a surrogate pair",
    )
}

/// Reads a JSON string; `pointer` says where it stands, should that be asked.
pub fn read_string(
    value: &RawValue,
    pointer: impl Fn() -> String,
    errors: &mut Errors,
) -> Option<String> {
    if !value.get().starts_with('"') {
        errors.push(wrong_type(&pointer(), "must be a string"));
        return None;
    }
    let text = serde_json::from_str(value.get());
    if text.is_err() {
        errors.push(invalid_characters(&pointer()));
    }
    text.ok()
}

fn read_text<T>(
    value: &RawValue,
    pointer: impl Fn() -> String,
    parse: fn(&str) -> Result<T, InvalidText>,
    errors: &mut Errors,
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
            errors.push(FieldError::pointer(pointer(), code, error.to_string()));
            None
        }
    }
}

fn read_number<T>(
    value: &RawValue,
    pointer: impl Fn() -> String,
    parse: fn(u32) -> Result<T, OutOfRange>,
    errors: &mut Errors,
) -> Option<T> {
    let decimal = match value.get().as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => Decimal::parse(value.get()),
        _ => None,
    };
    let Some(decimal) = decimal.filter(Decimal::is_whole) else {
        errors.push(wrong_type(&pointer(), "must be a whole number"));
        return None;
    };
    let small = decimal
        .to_i64()
        .and_then(|number| u32::try_from(number).ok());
    // Whatever is beyond u32 is beyond every range here.
    let is_high = small.is_none() && !decimal.is_negative;
    match parse(small.unwrap_or(if is_high { u32::MAX } else { 0 })) {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            errors.push(FieldError::pointer(
                pointer(),
                "out_of_range",
                error.to_string(),
            ));
            None
        }
    }
}

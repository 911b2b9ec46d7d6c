//! Reads JSON objects member by member.

use std::{collections::HashSet, fmt};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    errors::FieldErrors,
    values::{HALF_SURROGATE, read_number, read_price, read_text, read_uuid},
};
use crate::http::problem::{ApiError, Code};
use crate::order::{InvalidText, OutOfRange, command::Price};

/// The characters that must be percent-encoded in a pointer, which is a URI fragment.
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

/// Checks that a body is one well-formed JSON value.
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

/// The members of a JSON object in the order of the text, with repeated ones.
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

/// A JSON object that is being read. A reader takes the members one by one; those that are left are
/// unknown.
pub struct Object<'a> {
    pointer: String,
    members: Vec<(String, &'a RawValue)>,
    /// False if the value is not an object: then no member is reported as missing.
    is_readable: bool,
}

impl<'a> Object<'a> {
    /// Opens the object at `pointer`. A value that is not an object and a repeated member are
    /// errors.
    pub fn open(value: &'a RawValue, pointer: impl Into<String>, errors: &mut FieldErrors) -> Self {
        let pointer = pointer.into();
        let members = match serde_json::from_str::<Members<'a>>(value.get()) {
            Ok(Members(members)) => Some(members),
            Err(_) if value.get().starts_with('{') => {
                errors.add(pointer.clone(), "invalid_characters", HALF_SURROGATE);
                None
            }
            Err(_) => {
                errors.add(pointer.clone(), "wrong_type", "must be a JSON object");
                None
            }
        };
        let object = Self {
            pointer,
            is_readable: members.is_some(),
            members: members.unwrap_or_default(),
        };
        object.refuse_repeated(errors);
        object
    }

    fn refuse_repeated(&self, errors: &mut FieldErrors) {
        let mut seen = HashSet::with_capacity(self.members.len());
        for (name, _) in &self.members {
            if !seen.insert(name.as_str()) {
                errors.add(self.pointer_to(name), "duplicate", "must not be repeated");
            }
        }
    }

    /// The pointer to a member.
    #[must_use]
    pub fn pointer_to(&self, name: &str) -> String {
        let name = name.replace('~', "~0").replace('/', "~1");
        format!("{}/{}", self.pointer, utf8_percent_encode(&name, FRAGMENT))
    }

    /// Takes a member. `null` counts as absent.
    fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        #[cfg(test)]
        crate::http::request::asked::record(name);
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

    /// Takes a required member.
    fn require(&mut self, name: &str, errors: &mut FieldErrors) -> Option<&'a RawValue> {
        let value = self.take(name);
        if value.is_none() && self.is_readable {
            errors.add(self.pointer_to(name), "required", "is required");
        }
        value
    }

    /// Takes a required text.
    pub fn text<T>(
        &mut self,
        name: &str,
        parse: fn(&str) -> Result<T, InvalidText>,
        errors: &mut FieldErrors,
    ) -> Option<T> {
        let value = self.require(name, errors)?;
        read_text(value, || self.pointer_to(name), parse, errors)
    }

    /// Takes an optional text.
    pub fn optional_text<T>(
        &mut self,
        name: &str,
        parse: fn(&str) -> Result<T, InvalidText>,
        errors: &mut FieldErrors,
    ) -> Option<T> {
        let value = self.take(name)?;
        read_text(value, || self.pointer_to(name), parse, errors)
    }

    /// Takes an optional member of any type.
    pub fn optional_value(&mut self, name: &str) -> Option<&'a RawValue> {
        self.take(name)
    }

    /// Takes an optional UUID.
    pub fn optional_uuid(&mut self, name: &str, errors: &mut FieldErrors) -> Option<Uuid> {
        let value = self.take(name)?;
        read_uuid(value, || self.pointer_to(name), errors)
    }

    /// Takes a required whole number.
    pub fn number<T>(
        &mut self,
        name: &str,
        parse: fn(u32) -> Result<T, OutOfRange>,
        errors: &mut FieldErrors,
    ) -> Option<T> {
        let value = self.require(name, errors)?;
        read_number(value, || self.pointer_to(name), parse, errors)
    }

    /// Takes an optional whole number.
    pub fn optional_number<T>(
        &mut self,
        name: &str,
        parse: fn(u32) -> Result<T, OutOfRange>,
        errors: &mut FieldErrors,
    ) -> Option<T> {
        let value = self.take(name)?;
        read_number(value, || self.pointer_to(name), parse, errors)
    }

    /// Takes a required price. It is checked later, when its currency is known.
    pub fn price(&mut self, name: &str, errors: &mut FieldErrors) -> Option<Price> {
        let value = self.require(name, errors)?;
        read_price(value, || self.pointer_to(name), errors)
    }

    /// Takes an optional array.
    pub fn optional_array(
        &mut self,
        name: &str,
        errors: &mut FieldErrors,
    ) -> Option<Vec<&'a RawValue>> {
        let value = self.take(name)?;
        let elements = serde_json::from_str(value.get());
        if elements.is_err() {
            errors.add(self.pointer_to(name), "wrong_type", "must be an array");
        }
        elements.ok()
    }

    /// Ends reading. Each member that was not taken is an error.
    pub fn close(self, errors: &mut FieldErrors) {
        for (name, _) in &self.members {
            errors.add(self.pointer_to(name), "unknown_member", "is not known");
        }
    }
}

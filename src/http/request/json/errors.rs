//! Collects the invalid fields of a body.

use crate::http::problem::{ApiError, FieldError};

/// How many invalid fields one answer lists.
const MAX_ERRORS: usize = 100;

/// The invalid fields found so far.
#[derive(Debug, Default)]
pub struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// Adds an invalid field. Beyond the hundredth they are not listed.
    pub fn push(&mut self, error: FieldError) {
        if self.0.len() < MAX_ERRORS {
            self.0.push(error);
        }
    }

    /// Adds an invalid field of the body.
    pub(super) fn add(
        &mut self,
        pointer: String,
        code: &'static str,
        detail: impl Into<std::borrow::Cow<'static, str>>,
    ) {
        self.push(FieldError::pointer(pointer, code, detail));
    }

    /// Succeeds if there is no invalid field.
    ///
    /// # Errors
    /// 422 with all invalid fields.
    pub fn check(self) -> Result<(), ApiError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ApiError::fields(self.0))
        }
    }
}

//! Errors as clients see them: the codes and their document, and the one place that turns errors into
//! them. No handler writes a status of its own.

pub mod document;
pub mod error;

pub use document::{Code, FieldError, Problem};
pub use error::ApiError;

//! Errors as clients see them: the codes, the problem document (RFC 9457), and the conversion of
//! inner errors into them. Successful answers do not belong here.

pub mod code;
pub mod document;
pub mod error;

pub use code::Code;
pub use document::{FieldError, Problem};
pub use error::ApiError;

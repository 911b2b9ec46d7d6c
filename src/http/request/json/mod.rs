//! The strict reader of JSON bodies. It reads without building a tree of the whole body, and it
//! reports all invalid fields at once. What a certain body looks like does not belong here.

mod errors;
mod object;
mod values;

pub use errors::FieldErrors;
pub use object::{Object, well_formed};
pub use values::{parse_uuid, read_string};

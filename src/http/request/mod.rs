//! Reading requests strictly: body, JSON, parameters, preconditions and consistency headers. Nothing
//! here knows a single endpoint.

pub mod body;
pub mod consistency;
pub mod json;
pub mod parameters;
pub mod preconditions;

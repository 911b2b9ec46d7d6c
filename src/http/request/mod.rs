//! Reads requests strictly: body, JSON, parameters, preconditions, consistency headers, and what
//! the audit trail needs. Code that knows a single endpoint does not belong here.

pub mod body;
pub mod caller;
pub mod client;
pub mod consistency;
pub mod context;
pub mod digits;
pub mod idempotency;
pub mod json;
pub mod parameters;
pub mod preconditions;
pub mod shares;

#[cfg(test)]
pub mod asked;

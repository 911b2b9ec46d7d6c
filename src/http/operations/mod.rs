//! The endpoints for operators and developers: health, metrics, and the documentation of the API.
//! Orders do not belong here.

pub mod checks;
pub mod description;
pub mod docs;
pub mod health;
pub mod metrics;

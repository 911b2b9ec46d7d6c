//! What operators and developers ask for: health, metrics, and the documentation. Orders do not belong
//! here.

pub mod docs;
pub mod health;

//! The commands that work on the store beside the service or without it, one a file. Each works on
//! `DATABASE_URL`, or on the embedded PostgreSQL of the data directory, which it starts if no
//! service runs. How an import reads and maps a file belongs to [`super::import`].

mod import;
mod migrate;
mod offline_store;
mod output;
mod parked;
mod replay;
mod verify;

pub use import::import;
pub use migrate::migrate;
pub use output::CommandOutcome;
pub use parked::{list_parked, retry_parked};
pub use replay::replay;
pub use verify::verify;

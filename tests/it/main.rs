//! End-to-end and adapter tests on real PostgreSQL and NATS: one binary, all tests in parallel.
#![expect(
    clippy::disallowed_methods,
    reason = "tests make ids, read the clock and ask the database directly"
)]

mod architecture;
mod bank_account;
mod golden;
mod importing;
mod old_events;
mod openapi;
mod read_model;
mod self_check;
mod smoke;
mod snapshots;
mod store;
mod support;

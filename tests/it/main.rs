//! End-to-end and adapter tests on real PostgreSQL and NATS: one binary, all tests in parallel.
#![expect(
    clippy::disallowed_methods,
    reason = "tests make ids, read the clock and ask the database directly"
)]

mod contract;
mod smoke;
mod support;

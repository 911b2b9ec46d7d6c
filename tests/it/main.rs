//! End-to-end and adapter tests on real PostgreSQL and NATS: one binary, all tests in parallel.
#![expect(
    clippy::disallowed_methods,
    reason = "tests make ids, read the clock and ask the database directly"
)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod architecture;
mod crashes;
mod embedded;
mod nats;
mod openapi;
mod read_model;
mod real_orders;
mod smoke;
mod store;
mod support;

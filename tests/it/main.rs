//! End-to-end and adapter tests on real PostgreSQL and NATS: one binary, all tests in parallel.
#![expect(
    clippy::disallowed_methods,
    reason = "tests make ids, read the clock and query the database directly"
)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot continue has failed"
)]

mod architecture;
mod bank_account;
mod chaos;
mod contract;
mod crashes;
mod embedded;
mod golden;
mod hostile;
mod importing;
mod leases;
mod migrations;
mod models;
mod nats;
mod old_events;
mod openapi;
mod overload;
mod parking;
mod read_model;
mod readme;
mod real_orders;
mod request_corpus;
mod restoring;
mod self_check;
mod smoke;
mod snapshots;
mod store;
mod support;

//! End-to-end tests, one binary.
#![expect(
    clippy::disallowed_methods,
    reason = "tests are the edge: they read the clock, make ids and spawn tasks"
)]

mod nats;

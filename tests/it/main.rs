//! End-to-end tests, one binary.
#![expect(
    clippy::disallowed_methods,
    reason = "tests are the edge: they read the clock, make ids and spawn tasks"
)]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails; clippy.toml allows it in test functions only"
)]

mod nats;

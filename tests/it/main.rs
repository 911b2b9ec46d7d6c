//! End-to-end tests, one binary.
#![expect(
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    reason = "tests make ids and times, spawn tasks, read the environment and plant rows by SQL"
)]

mod read_model;
mod support;

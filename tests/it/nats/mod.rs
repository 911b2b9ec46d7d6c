//! The relay and the subscriber against a real NATS server.

mod cluster;
mod lifecycle;
mod relay;
mod relay_recovery;
mod replicated;
mod stream;
mod subscriber;
mod support;

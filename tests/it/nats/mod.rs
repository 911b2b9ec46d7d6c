//! The relay and the subscriber against a real NATS server.

mod lineage;
mod relay;
mod stream;
mod subscriber;
mod support;

//! The relay and the subscriber against a real NATS server.

mod cluster;
mod lineage;
mod relay;
mod replicated;
mod stream;
mod subscriber;
mod support;

//! `orders`: an event-sourced CQRS order-management microservice.
pub mod app;
pub mod cli;
pub mod config;
pub mod embedded;
pub mod event_sourcing;
pub mod http;
pub mod import;
pub mod maintenance;
pub mod nats;
pub mod order;
pub mod postgres;
pub mod progress;
pub mod read_model;
pub mod readiness;
pub mod self_check;
pub mod shutdown;
pub mod telemetry;

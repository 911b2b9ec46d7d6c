//! `orders`: an event-sourced CQRS order-management microservice.
pub mod event_sourcing;
pub mod http;
pub mod order;
pub mod postgres;
pub mod read_model;

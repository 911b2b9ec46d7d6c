//! `orders`: an event-sourced CQRS order-management microservice.
pub mod event_sourcing;
pub mod nats;
pub mod order;
pub mod postgres;

//! `orders`: an event-sourced CQRS order-management microservice.

pub mod embedded;

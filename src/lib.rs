//! `orders`: an event-sourced CQRS order-management microservice.

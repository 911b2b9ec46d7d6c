//! Hostile, slow and hung-up clients, and what browsers send for other sites.

mod bodies;
mod browsers;
mod client;
mod cursors;
mod full_pages;
mod heads;
mod hung_up;
mod nats_away;
mod pages;
mod proxies;
mod readiness;
mod reads;
mod silence;
mod streams;
mod waiting;

//! What every connection and every request passes through, whatever its path: the accept loop, the
//! layers, the rate limit and the request metrics. What only some endpoints need does not belong
//! here.

pub mod admission;
pub mod client_stream;
pub mod connections;
pub mod context;
pub mod cors;
pub mod error_body;
pub mod origin;
pub mod rate_limit;
pub mod request_body;
pub mod request_metrics;
pub mod serve;
mod unreadable_head;

/// The longest path and query, in bytes.
pub const MAX_URI: usize = 16 << 10;

/// The longest head of a request (its request line and headers), in bytes.
pub const MAX_HEAD: usize = 64 << 10;

/// The most headers that a request may have.
pub const MAX_HEADERS: usize = 100;

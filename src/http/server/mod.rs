//! What surrounds every request, whatever it asks for: the accept loop, the layers, the rate limit, the
//! request's context and its metrics.

pub mod context;
pub mod layers;
pub mod rate_limit;
pub mod repoll;
pub mod request_metrics;
pub mod serve;

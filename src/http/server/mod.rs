//! What every connection and every request passes through, whatever its path: the accept loop, the
//! layers, the rate limit and the request metrics. What only some endpoints need does not belong
//! here.

pub mod admission;
pub mod context;
pub mod cors;
pub mod error_body;
pub mod rate_limit;
pub mod request_metrics;
pub mod serve;

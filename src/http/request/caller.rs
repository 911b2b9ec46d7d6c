//! Who sends a request, and what all callers have in work at the same time: bodies, commands and live
//! streams. Each is limited in all and for one address. Where principals are known, they get limits of
//! their own here.

use std::{net::IpAddr, sync::Arc};

use axum::{Extension, extract::FromRequestParts, http::request::Parts};

use super::{
    client::ClientAddress,
    shares::{Limits, Share, Shares},
};
use crate::http::problem::{ApiError, Code};

/// Limits on what callers have in work at the same time.
#[derive(Debug, Clone, Copy)]
pub struct WorkLimits {
    /// Bytes of bodies, each from its first byte to the outcome of its command.
    pub body_bytes: Limits,
    /// Commands, each from the moment it may no longer be given up to its outcome.
    pub commands: Limits,
}

impl Default for WorkLimits {
    fn default() -> Self {
        Self {
            // A command needs about five times the size of its body.
            body_bytes: Limits::shared(64 << 20),
            commands: Limits::shared(1024),
        }
    }
}

/// What all callers have in work.
#[derive(Debug, Clone)]
pub struct Work(Arc<InWork>);

#[derive(Debug)]
struct InWork {
    body_bytes: Shares,
    commands: Shares,
}

impl Work {
    /// Nothing is in work yet.
    #[must_use]
    pub fn new(limits: WorkLimits) -> Self {
        Self(Arc::new(InWork {
            body_bytes: Shares::new(limits.body_bytes),
            commands: Shares::new(limits.commands),
        }))
    }

    /// The caller at this address.
    #[must_use]
    pub fn caller(&self, client: ClientAddress) -> Caller {
        Caller {
            address: client.network(),
            work: self.clone(),
        }
    }
}

/// Who sends a request.
#[derive(Debug, Clone)]
pub struct Caller {
    address: IpAddr,
    work: Work,
}

impl Caller {
    /// The bytes of a body; it grows as they arrive.
    #[must_use]
    pub fn body(&self) -> Share {
        self.work.0.body_bytes.of(self.address)
    }

    /// Counts a command that begins to run.
    ///
    /// # Errors
    /// 503 `overloaded` if too many run.
    pub fn command(&self) -> Result<Share, ApiError> {
        let share = self.work.0.commands.take(self.address);
        share.ok_or_else(|| overloaded("commands", "Too many commands are running."))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let caller = Extension::from_request_parts(parts, state).await;
        let Extension(caller) = caller.map_err(ApiError::internal)?;
        Ok(caller)
    }
}

/// 503 `overloaded`: nothing was done. `of` names the limit in the metrics.
#[must_use]
pub fn overloaded(of: &'static str, detail: &str) -> ApiError {
    metrics::counter!("orders_overloaded_total", "of" => of).increment(1);
    ApiError::new(Code::Overloaded, format!("{detail} Nothing was done."))
}

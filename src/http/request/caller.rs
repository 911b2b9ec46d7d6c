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
    /// Open live streams.
    pub streams: Limits,
    /// Bytes of live streams that clients have not taken yet.
    pub unsent_bytes: Limits,
}

impl Default for WorkLimits {
    fn default() -> Self {
        Self {
            // A command needs about five times the size of its body.
            body_bytes: Limits::shared(64 << 20),
            commands: Limits::shared(2304),
            streams: Limits {
                total: 2000,
                per_address: 1000,
            },
            unsent_bytes: Limits::shared(64 << 20),
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
    streams: Shares,
    unsent_bytes: Shares,
}

impl Work {
    /// Nothing is in work yet.
    #[must_use]
    pub fn new(limits: WorkLimits) -> Self {
        Self(Arc::new(InWork {
            body_bytes: Shares::new(limits.body_bytes),
            commands: Shares::new(limits.commands),
            streams: Shares::new(limits.streams),
            unsent_bytes: Shares::new(limits.unsent_bytes),
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

    /// Counts a live stream.
    ///
    /// # Errors
    /// 503 `overloaded` if too many are open.
    pub fn stream(&self) -> Result<Share, ApiError> {
        let share = self.work.0.streams.take(self.address);
        share.ok_or_else(|| overloaded("streams", "Too many live streams are open."))
    }

    /// Counts bytes of a live stream until the client has taken them; `None` if too many wait.
    #[must_use]
    pub fn unsent(&self, bytes: usize) -> Option<Share> {
        let mut share = self.work.0.unsent_bytes.of(self.address);
        if share.grow(bytes) {
            return Some(share);
        }
        count_overload("unsent");
        None
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
    count_overload(of);
    ApiError::new(Code::Overloaded, format!("{detail} Nothing was done."))
}

fn count_overload(of: &'static str) {
    metrics::counter!("orders_overloaded_total", "of" => of).increment(1);
}

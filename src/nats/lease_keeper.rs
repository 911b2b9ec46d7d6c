//! Holds a lease for a loop: takes it, renews it in time, and gives it back.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use crate::event_sourcing::{Epoch, Lease, StoreError};

/// How often the store is asked while another process holds the lease.
const STANDBY_INTERVAL: Duration = Duration::from_millis(150);

/// A lease, and the last answer about it.
///
/// The holder asks the store once in a third of the lease's time, so two renewals may fail before the
/// lease runs out. While another process holds the lease, the store is asked more often, so that a
/// dead holder is replaced within half a second.
#[derive(Debug)]
pub struct LeaseKeeper<L> {
    lease: L,
    name: &'static str,
    ttl: Duration,
    last_asked: Option<Instant>,
    epoch: Option<Epoch>,
}

impl<L: Lease> LeaseKeeper<L> {
    /// A keeper that does not hold the lease yet; `ttl` is how long the lease lasts.
    #[must_use]
    pub const fn new(lease: L, name: &'static str, ttl: Duration) -> Self {
        Self {
            lease,
            name,
            ttl,
            last_asked: None,
            epoch: None,
        }
    }

    /// How long the last answer of the store is used before it is asked again.
    fn interval(&self) -> Duration {
        match self.epoch {
            Some(_) => self.ttl / 3,
            None => STANDBY_INTERVAL,
        }
    }

    /// Takes or renews the lease if its renewal is due, and returns its epoch; `None` while another
    /// process holds it.
    ///
    /// # Errors
    /// The store fails. The lease then counts as not held until the store answers again.
    pub async fn hold(&mut self) -> Result<Option<Epoch>, StoreError> {
        let now = Instant::now();
        if let Some(last_asked) = self.last_asked
            && now.duration_since(last_asked) < self.interval()
        {
            return Ok(self.epoch);
        }
        // Cleared first: after an error, or when this future is dropped, the next call asks again.
        self.last_asked = None;
        let epoch = self.lease.hold().await?;
        if epoch != self.epoch {
            if let Some(Epoch(epoch)) = epoch {
                info!(lease = self.name, epoch, "lease taken");
            } else {
                warn!(lease = self.name, "lease lost to another process");
            }
        }
        self.epoch = epoch;
        self.last_asked = Some(now);
        Ok(epoch)
    }

    /// Gives the lease back if it is held, so that the next holder does not have to wait.
    pub async fn release(&mut self) {
        self.last_asked = None;
        if self.epoch.take().is_some()
            && let Err(error) = self.lease.release().await
        {
            warn!(
                lease = self.name,
                error = &error as &dyn std::error::Error,
                "cannot give the lease back; it will run out"
            );
        }
    }
}

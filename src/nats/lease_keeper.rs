//! A lease as a loop uses it: asked for in good time, not with every step.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use crate::event_sourcing::{Epoch, Lease, StoreError};

/// A lease and what is known of it.
///
/// It is renewed when a third of its time has passed since it was last asked for, so that two
/// renewals may fail before it runs out; where somebody else holds it, it is asked for as often.
#[derive(Debug)]
pub struct LeaseKeeper<L> {
    lease: L,
    name: &'static str,
    ttl: Duration,
    asked: Option<Instant>,
    epoch: Option<Epoch>,
}

impl<L: Lease> LeaseKeeper<L> {
    /// A tenure that begins when the lease, which runs out after `ttl`, is first held.
    #[must_use]
    pub const fn new(lease: L, name: &'static str, ttl: Duration) -> Self {
        Self {
            lease,
            name,
            ttl,
            asked: None,
            epoch: None,
        }
    }

    /// How long an answer of [`Self::hold`] may be relied on.
    #[must_use]
    pub fn third(&self) -> Duration {
        self.ttl / 3
    }

    /// Takes or renews the lease where it is time to; `None` while somebody else holds it.
    ///
    /// # Errors
    /// Where the store fails; the lease counts as not held until it answers again.
    pub async fn hold(&mut self) -> Result<Option<Epoch>, StoreError> {
        let asking = Instant::now();
        if let Some(asked) = self.asked
            && asking.duration_since(asked) < self.third()
        {
            return Ok(self.epoch);
        }
        // Forgotten first: an error, or a future dropped halfway, leaves nothing to rely on.
        self.asked = None;
        let epoch = self.lease.hold().await?;
        if epoch != self.epoch {
            if let Some(Epoch(epoch)) = epoch {
                info!(lease = self.name, epoch, "the lease is ours");
            } else {
                warn!(lease = self.name, "the lease was lost");
            }
        }
        self.epoch = epoch;
        self.asked = Some(asking);
        Ok(epoch)
    }

    /// Gives the lease back where it is held, so that the next holder need not wait.
    pub async fn release(&mut self) {
        self.asked = None;
        if self.epoch.take().is_some()
            && let Err(error) = self.lease.release().await
        {
            warn!(lease = self.name, %error, "the lease could not be given back, it runs out");
        }
    }
}

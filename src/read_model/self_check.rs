//! The self-check: verifies a few orders at a time in the background, for as long as the service runs.
//!
//! Each round verifies the orders that changed last (if any changed since the round before) and a
//! random sample of all others. Orders whose rows differ from the fold of their events are folded
//! again. A difference is never expected, so each one is logged and counted: it is the trace of a bug.
//!
//! One process verifies for all, by a lease. Two at once would do no harm, because a repair holds the
//! lock of the checkpoint.

use std::time::Duration;

use metrics::{counter, describe_counter};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    projector::Projector,
    verify::{Finding, Verify, VerifyReport},
};
use crate::event_sourcing::{EventStore, Lease, Position, StoreError, projection::Projection};

/// The name of the lease.
pub const LEASE: &str = "self-check";
/// How long the holder of the lease may be silent before another process takes over.
pub const LEASE_TTL: Duration = Duration::from_secs(30);
/// The length of a round: it verifies the orders of this many seconds.
const ROUND_SECONDS: u32 = 5;
/// The highest number of orders in a round: they are read in one transaction.
const MAX_ROUND: u32 = 200;

const CHECKED: &str = "orders_verify_checked_total";
const DIFFERENCES: &str = "orders_verify_differences_total";
const REPAIRED: &str = "orders_verify_repaired_total";

/// The background verification of one process.
#[derive(Debug)]
pub struct SelfCheck<S, L> {
    projector: Projector<S>,
    verify: Verify<S>,
    lease: L,
    per_second: u32,
    /// The checkpoint at the last round.
    last_checkpoint: Position,
}

impl<S: EventStore, L: Lease> SelfCheck<S, L> {
    /// Makes a self-check of the projector's read model. It verifies `per_second` orders a second (at
    /// least one) while it holds `lease`.
    #[must_use]
    pub fn new(projector: Projector<S>, lease: L, per_second: u32) -> Self {
        describe_counter!(CHECKED, "Orders that the self-check has verified");
        describe_counter!(DIFFERENCES, "Differences that the self-check has found");
        describe_counter!(REPAIRED, "Orders that the self-check has folded again");
        // The counters exist from the start, so that alerts on them work.
        for name in [CHECKED, DIFFERENCES, REPAIRED] {
            counter!(name).increment(0);
        }
        Self {
            verify: Verify::new(projector.clone()),
            projector,
            lease,
            per_second: per_second.max(1),
            last_checkpoint: Position::ZERO,
        }
    }

    /// Verifies round after round until cancelled. A failed round is logged, and the next one follows.
    pub async fn run(mut self, cancel: CancellationToken) {
        let pause = Duration::from_secs(self.round_size().into()) / self.per_second;
        let rounds = async {
            loop {
                sleep(pause).await;
                if let Err(error) = self.run_once().await {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "a round of the self-check failed"
                    );
                }
            }
        };
        cancel.run_until_cancelled(rounds).await.unwrap_or(());
    }

    /// Verifies one round. Does nothing if another process holds the lease.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn run_once(&mut self) -> Result<VerifyReport, StoreError> {
        if self.lease.hold().await?.is_none() {
            return Ok(VerifyReport::default());
        }
        let checkpoint = self.projector.checkpoint().await?;
        let size = self.round_size();
        let mut ids = vec![];
        if checkpoint > self.last_checkpoint {
            ids = self.verify.recently_changed(size.div_ceil(2)).await?;
        }
        if checkpoint > Position::ZERO {
            let rest = (size as usize).saturating_sub(ids.len());
            let positions: Vec<_> = (0..rest)
                .map(|_| rand::random_range(1..=checkpoint.get()))
                .collect();
            ids.extend(self.verify.changed_at(&positions).await?);
        }
        ids.sort_unstable();
        ids.dedup();
        let report = self.verify.orders(&ids, true, log).await?;
        self.last_checkpoint = checkpoint;
        counter!(CHECKED).increment(report.orders);
        counter!(DIFFERENCES).increment(report.in_store.saturating_add(report.in_read_model));
        counter!(REPAIRED).increment(report.repaired);
        Ok(report)
    }

    /// How many orders a round verifies.
    fn round_size(&self) -> u32 {
        self.per_second.saturating_mul(ROUND_SECONDS).min(MAX_ROUND)
    }
}

/// Logs a finding: as a warning if it is repaired, as an error if an operator must act.
fn log(finding: &Finding) {
    if finding.is_in_read_model() {
        warn!(%finding, "the read model differs from the events, folding the order again");
    } else {
        error!(%finding, "the event store holds an invalid event");
    }
}

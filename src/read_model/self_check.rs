//! The service verifies itself: a slow, steady look at a few orders at a time, beside its work.
//!
//! Each round takes the orders that changed last, where any changed since the round before, and a
//! random sample of all others, sets their rows beside the fold of their events, and folds anew
//! what differs. Nothing should ever differ; that something did is logged and counted, because a
//! difference that heals unseen is a bug that stays.
//!
//! One process does this for all, by a lease. Two at once would do no harm: a repair is a fold of
//! the events under the lock of the checkpoint, whoever does it.

use std::time::Duration;

use metrics::{counter, describe_counter};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{Finding, Projector, Verify, VerifyReport};
use crate::event_sourcing::{EventStore, Lease, Position, StoreError, projection::Projection};

/// The name of the lease.
pub const LEASE: &str = "self-check";
/// How long a process may be silent before another one verifies in its place.
pub const LEASE_TTL: Duration = Duration::from_secs(30);
/// Over how many seconds a round's orders are spread.
const ROUND_SECONDS: u32 = 5;
/// The most orders of a round: they are read in one transaction.
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
    /// The checkpoint of the last round.
    seen: Position,
}

impl<S: EventStore, L: Lease> SelfCheck<S, L> {
    /// Verifies what `projector` keeps, `per_second` orders a second (at least one), while `lease`
    /// is held.
    #[must_use]
    pub fn new(projector: Projector<S>, lease: L, per_second: u32) -> Self {
        describe_counter!(CHECKED, "Orders that the service has verified by itself");
        describe_counter!(DIFFERENCES, "Differences that it found doing so");
        describe_counter!(REPAIRED, "Orders that it has folded anew because of them");
        // A counter that is there from the start can be alerted on.
        for name in [CHECKED, DIFFERENCES, REPAIRED] {
            counter!(name).increment(0);
        }
        Self {
            verify: Verify::new(projector.clone()),
            projector,
            lease,
            per_second: per_second.max(1),
            seen: Position::ZERO,
        }
    }

    /// Verifies round after round until cancelled. A round that fails costs nothing but itself.
    pub async fn run(mut self, cancel: CancellationToken) {
        let pause = Duration::from_secs(self.round().into()) / self.per_second;
        let rounds = async {
            loop {
                sleep(pause).await;
                if let Err(error) = self.run_once().await {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "self-verification failed"
                    );
                }
            }
        };
        cancel.run_until_cancelled(rounds).await.unwrap_or(());
    }

    /// Verifies one round; nothing where another process holds the lease.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn run_once(&mut self) -> Result<VerifyReport, StoreError> {
        if self.lease.hold().await?.is_none() {
            return Ok(VerifyReport::default());
        }
        let checkpoint = self.projector.checkpoint().await?;
        let round = self.round();
        let mut ids = vec![];
        if checkpoint > self.seen {
            ids = self.verify.recently_changed(round.div_ceil(2)).await?;
        }
        if checkpoint > Position::ZERO {
            let rest = (round as usize).saturating_sub(ids.len());
            let positions: Vec<_> = (0..rest)
                .map(|_| rand::random_range(1..=checkpoint.get()))
                .collect();
            ids.extend(self.verify.changed_at(&positions).await?);
        }
        ids.sort_unstable();
        ids.dedup();
        let report = self.verify.orders(&ids, true, log).await?;
        self.seen = checkpoint;
        counter!(CHECKED).increment(report.orders);
        counter!(DIFFERENCES).increment(report.in_store.saturating_add(report.in_read_model));
        counter!(REPAIRED).increment(report.repaired);
        Ok(report)
    }

    /// How many orders a round has.
    fn round(&self) -> u32 {
        self.per_second.saturating_mul(ROUND_SECONDS).min(MAX_ROUND)
    }
}

/// What is wrong in the store needs a person; what is wrong in the read model is healed.
fn log(finding: &Finding) {
    if finding.is_in_read_model() {
        warn!(%finding, "the read model differs from the events, folding the order anew");
    } else {
        error!(%finding, "the store holds what it should not");
    }
}

//! What this process has shown, so that its reads never go back.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::event_sourcing::{
    Position,
    testing::sabotage::{self, Safeguard},
};

/// The highest position of the read model that a read of this process has shown.
///
/// What the next read finds may be older: a view that was kept in memory after another process took
/// over, a replica that is behind, rows that a crash of PostgreSQL took back until the projector
/// applies their events again. So each read requires this position.
#[derive(Debug, Default)]
pub(super) struct ShownPosition(AtomicI64);

impl ShownPosition {
    /// The highest position shown.
    pub(super) fn get(&self) -> Position {
        if sabotage::is_out(Safeguard::ShownPosition) {
            return Position::ZERO;
        }
        Position::new(self.0.load(Ordering::Acquire))
    }

    /// An answer at this position is about to be sent.
    pub(super) fn raise(&self, position: Position) {
        // Mostly it is no higher, and a load is cheaper than a write that all processors must see.
        if position > self.get() {
            self.0.fetch_max(position.get(), Ordering::AcqRel);
        }
    }

    /// The store ends at `newest`. If more was shown, the store was restored to an earlier point: what
    /// was shown before is void.
    pub(super) fn forget_beyond(&self, newest: Position) {
        let is_void = |shown| (shown > newest.get()).then_some(0);
        // An error means that nothing is void.
        let _ = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, is_void);
    }
}

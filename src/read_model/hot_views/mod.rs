//! Orders that were read lately, in memory, for as long as they are what the database shows.
//!
//! Only the process that projects knows when a row changes. So only that process keeps views, and only
//! while it holds the projector's lease. The projector reports each of its steps through
//! [`InvalidatingProjection`]:
//! - Before a chunk is applied, the views of its orders are removed. None of them is kept again until
//!   the chunk has ended; until then they are read from the database.
//! - A chunk that does not follow directly on the last one may bring events of other orders from the
//!   store, so all views are removed.
//! - After a failed chunk, and when the lease is lost or has run out, all views are removed and none is
//!   kept until the projector reads its checkpoint again.
//!
//! So a kept view is what the database shows at the positions that are returned with it. The database
//! may already be further, because another process may have taken the lease. This process notices that at
//! its next chunk. A read is answered from here only if a position is high enough for it, and no lower than
//! what this process has shown.
//! Changes of rows by anything but the projector (a repair, a rebuild, a refold) are visible after
//! two seconds (`MAX_AGE`) at the latest.

use std::{
    collections::HashSet,
    ops::RangeInclusive,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use bytes::Bytes;
use moka::sync::Cache;
use uuid::Uuid;

use crate::event_sourcing::{
    Epoch, Lease, Position, RecordedEvent, StoreError, Version, projection::Projection,
};

/// How many bytes of views are kept.
const CAPACITY: u64 = 32 << 20;

/// The memory of a view besides its body, in bytes.
const OVERHEAD: usize = 200;

/// How long a view is kept at most.
const MAX_AGE: Duration = Duration::from_secs(2);

/// An order as the endpoint returns it.
#[derive(Debug, Clone)]
pub struct HotView {
    /// The order's version.
    pub version: Version,
    /// The order as JSON.
    pub body: Bytes,
}

/// A view that is kept.
#[derive(Debug, Clone)]
struct Kept {
    generation: u64,
    /// The position at which it was read.
    position: Position,
    view: HotView,
}

/// The state of the projector, as far as it was reported.
#[derive(Debug, Default)]
struct ProjectorState {
    /// Counts how often all views were removed: those of earlier generations are not returned.
    generation: u64,
    /// Events are applied up to this position; `None` while that is not known.
    position: Option<Position>,
    /// The orders of the chunk that is being applied.
    changing: HashSet<Uuid>,
    /// The epoch of the projector's lease, and until when it is held.
    lease: Option<(Epoch, Instant)>,
}

impl ProjectorState {
    /// Events are applied up to this position; `None` if the lease has run out.
    fn position(&self) -> Option<Position> {
        let (_, until) = self.lease?;
        self.position.filter(|_| Instant::now() < until)
    }
}

/// The views that are kept in memory.
#[derive(Debug, Clone)]
pub struct HotViews {
    projector: Arc<RwLock<ProjectorState>>,
    views: Cache<Uuid, Kept>,
}

impl Default for HotViews {
    fn default() -> Self {
        let weight = |_: &Uuid, kept: &Kept| {
            u32::try_from(kept.view.body.len().saturating_add(OVERHEAD)).unwrap_or(u32::MAX)
        };
        let views = Cache::builder()
            .max_capacity(CAPACITY)
            .weigher(weight)
            .time_to_live(MAX_AGE)
            .build();
        Self {
            projector: Arc::default(),
            views,
        }
    }
}

impl HotViews {
    /// Returns the order's view and the positions at which the database shows it; `None` if the order
    /// must be read from the database.
    #[must_use]
    pub fn get(&self, id: Uuid) -> Option<(HotView, RangeInclusive<Position>)> {
        let projector = self.read();
        let applied = projector.position()?;
        let kept = self.views.get(&id)?;
        let is_valid = kept.generation == projector.generation;
        is_valid.then_some((kept.view, kept.position..=applied))
    }

    /// Keeps a view that was read when events were applied up to `position`, unless the projector has
    /// applied more events since.
    pub fn keep(&self, id: Uuid, position: Position, view: HotView) {
        let projector = self.read();
        if projector.position() == Some(position) && !projector.changing.contains(&id) {
            let kept = Kept {
                generation: projector.generation,
                position,
                view,
            };
            self.views.insert(id, kept);
        }
    }

    /// The projector's lease is held until a time, or is not held. Views of another epoch are removed.
    fn set_lease(&self, lease: Option<(Epoch, Instant)>) {
        let mut projector = self.write();
        let epoch = |lease: Option<(Epoch, Instant)>| lease.map(|(epoch, _)| epoch);
        if epoch(lease) != epoch(projector.lease) {
            Self::remove_all(&mut projector);
        }
        projector.lease = lease;
    }

    /// The projector has read its checkpoint.
    fn checkpoint_read(&self, position: Position) {
        let mut projector = self.write();
        if projector.position != Some(position) {
            Self::remove_all(&mut projector);
            projector.position = Some(position);
        }
    }

    /// The projector is about to apply a chunk.
    fn chunk_started(&self, after: Position, events: &[Arc<RecordedEvent>]) {
        let mut projector = self.write();
        if projector.position == Some(after) {
            for event in events {
                self.views.invalidate(&event.aggregate_id);
                projector.changing.insert(event.aggregate_id);
            }
        } else {
            Self::remove_all(&mut projector);
        }
    }

    /// The projector has applied a chunk up to `last`; its checkpoint is at `position`.
    fn chunk_applied(&self, last: Position, position: Position) {
        let mut projector = self.write();
        // If the checkpoint is beyond the chunk, another process has applied events, of orders that are
        // not known here.
        if projector.position.is_none() || position != last {
            Self::remove_all(&mut projector);
        }
        projector.changing.clear();
        projector.position = Some(position);
    }

    /// Removes all views. The cache's own `invalidate_all` is not enough: while another view of the
    /// same order is inserted, it returns the removed one again for a moment (seen with moka 0.12).
    fn remove_all(projector: &mut ProjectorState) {
        projector.generation = projector.generation.wrapping_add(1);
        projector.position = None;
        projector.changing.clear();
    }

    fn read(&self) -> RwLockReadGuard<'_, ProjectorState> {
        self.projector
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, ProjectorState> {
        self.projector
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A projection that reports its steps to [`HotViews`], which removes the views that they change.
#[derive(Debug, Clone)]
pub struct InvalidatingProjection<P> {
    projection: P,
    views: HotViews,
}

impl<P> InvalidatingProjection<P> {
    /// Wraps `projection`, which changes what `views` holds.
    #[must_use]
    pub fn new(projection: P, views: HotViews) -> Self {
        Self { projection, views }
    }
}

/// The lease of an [`InvalidatingProjection`], which reports to [`HotViews`] how long it is held.
#[derive(Debug, Clone)]
pub struct InvalidatingLease<L> {
    lease: L,
    ttl: Duration,
    views: HotViews,
}

impl<L> InvalidatingLease<L> {
    /// Wraps `lease`, which runs out `ttl` after it was last held.
    #[must_use]
    pub fn new(lease: L, ttl: Duration, views: HotViews) -> Self {
        Self { lease, ttl, views }
    }
}

/// Removes all views when it is dropped, unless it was defused: after an error or in a dropped future
/// it is unknown what was applied.
struct InvalidateOnDrop<'a>(Option<&'a HotViews>);

impl InvalidateOnDrop<'_> {
    fn defuse(mut self) {
        self.0 = None;
    }
}

impl Drop for InvalidateOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(views) = self.0 {
            HotViews::remove_all(&mut views.write());
        }
    }
}

impl<P: Projection> Projection for InvalidatingProjection<P> {
    async fn checkpoint(&self) -> Result<Position, StoreError> {
        let position = self.projection.checkpoint().await?;
        self.views.checkpoint_read(position);
        Ok(position)
    }

    async fn apply(
        &self,
        after: Position,
        events: &[Arc<RecordedEvent>],
        epoch: Epoch,
    ) -> Result<Position, StoreError> {
        let unless_applied = InvalidateOnDrop(Some(&self.views));
        self.views.chunk_started(after, events);
        let last = events.last().map_or(after, |event| event.position);
        let position = self.projection.apply(after, events, epoch).await?;
        unless_applied.defuse();
        self.views.chunk_applied(last, position);
        Ok(position)
    }

    async fn rebuild(&self) -> Result<Position, StoreError> {
        let _unless_known = InvalidateOnDrop(Some(&self.views));
        self.projection.rebuild().await
    }
}

impl<L: Lease> Lease for InvalidatingLease<L> {
    async fn hold(&self) -> Result<Option<Epoch>, StoreError> {
        let asked = Instant::now();
        let held = self.lease.hold().await;
        let epoch = held.as_ref().ok().copied().flatten();
        self.views
            .set_lease(epoch.map(|epoch| (epoch, asked + self.ttl)));
        held
    }

    async fn release(&self) -> Result<(), StoreError> {
        self.views.set_lease(None);
        self.lease.release().await
    }
}

#[cfg(test)]
mod tests;

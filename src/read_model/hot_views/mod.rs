//! Views in memory: the answers that were read lately, for as long as they are the read model's.
//!
//! Only the process that projects knows when a row changes, so only it keeps views, and only while
//! it holds the projector's lease. The projector reports every step ([`Watched`]):
//! - Before a chunk is applied its orders are forgotten and none of them is kept until the chunk has
//!   ended, whatever its end: while the commit is under way the database answers for them.
//! - A chunk that does not follow directly on the last one may bring events of other orders from the
//!   store: then everything is forgotten.
//! - After a failed chunk, and when the lease is lost or runs out, everything is forgotten until the
//!   projector reads its checkpoint anew.
//!
//! So every kept view is what the database shows at the position that is reported with it: a read
//! with a token, a version or an `ETag` is answered from here only where that position holds it.
//! What changes rows beside the projector (a repair, a rebuild, an un-parked order) shows after two
//! seconds at the latest.

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use bytes::Bytes;
use moka::sync::Cache;
use uuid::Uuid;

use crate::event_sourcing::{
    Epoch, Lease, Position, StoreError, Version,
    projection::{Delivery, Projection},
};

/// How many bytes of views are kept.
const CAPACITY: u64 = 32 << 20;

/// What a view costs beside its text.
const OVERHEAD: usize = 200;

/// How long a view is kept.
const KEPT: Duration = Duration::from_secs(2);

/// An answer: an order of one version, as text.
#[derive(Debug, Clone)]
pub struct HotView {
    /// The version that the view shows.
    pub version: Version,
    /// The view as JSON.
    pub body: Bytes,
}

/// What the projector has reported.
#[derive(Debug, Default)]
struct Progress {
    /// Up to where events are applied; `None` while that is not known.
    position: Option<Position>,
    /// The orders of the chunk that is being applied.
    changing: HashSet<Uuid>,
    /// The lease that this rests on, and until when it is held.
    lease: Option<(Epoch, Instant)>,
}

impl Progress {
    fn position(&self) -> Option<Position> {
        let (_, until) = self.lease?;
        self.position.filter(|_| Instant::now() < until)
    }
}

/// The views that are kept.
#[derive(Debug, Clone)]
pub struct HotViews {
    progress: Arc<RwLock<Progress>>,
    views: Cache<Uuid, HotView>,
}

impl Default for HotViews {
    fn default() -> Self {
        let weight = |_: &Uuid, view: &HotView| {
            u32::try_from(view.body.len().saturating_add(OVERHEAD)).unwrap_or(u32::MAX)
        };
        let views = Cache::builder()
            .max_capacity(CAPACITY)
            .weigher(weight)
            .time_to_live(KEPT)
            .build();
        Self {
            progress: Arc::default(),
            views,
        }
    }
}

impl HotViews {
    /// The order's view and the position that it is of; `None` where it has to be read.
    #[must_use]
    pub fn get(&self, id: Uuid) -> Option<(HotView, Position)> {
        let progress = self.read();
        let position = progress.position()?;
        Some((self.views.get(&id)?, position))
    }

    /// Keeps a view that was read when events were applied up to `position`, unless the projector
    /// has gone on since.
    pub fn keep(&self, id: Uuid, position: Position, view: HotView) {
        let progress = self.read();
        if progress.position() == Some(position) && !progress.changing.contains(&id) {
            self.views.insert(id, view);
        }
    }

    /// The lease is held until then, or is not.
    fn lease(&self, lease: Option<(Epoch, Instant)>) {
        let mut progress = self.write();
        let epoch = |lease: Option<(Epoch, Instant)>| lease.map(|(epoch, _)| epoch);
        if epoch(lease) != epoch(progress.lease) {
            self.forget(&mut progress);
        }
        progress.lease = lease;
    }

    /// The projector has read where it stands.
    fn opened(&self, position: Position) {
        let mut progress = self.write();
        if progress.position != Some(position) {
            self.forget(&mut progress);
            progress.position = Some(position);
        }
    }

    /// These are about to be applied.
    fn applying(&self, deliveries: &[Delivery]) {
        let mut progress = self.write();
        if progress
            .position
            .is_some_and(|position| follow(position, deliveries))
        {
            for delivery in deliveries {
                let id = delivery.event.aggregate_id;
                self.views.invalidate(&id);
                progress.changing.insert(id);
            }
        } else {
            self.forget(&mut progress);
        }
    }

    /// They are applied, up to `last`, and the checkpoint is at `position`.
    fn applied(&self, last: Position, position: Position) {
        let mut progress = self.write();
        // Beyond what was delivered, somebody else has applied what nobody told us of.
        if progress.position.map(|before| before.max(last)) != Some(position) {
            self.forget(&mut progress);
        }
        progress.changing.clear();
        progress.position = Some(position);
    }

    fn forget(&self, progress: &mut Progress) {
        self.views.invalidate_all();
        progress.position = None;
        progress.changing.clear();
    }

    fn read(&self) -> RwLockReadGuard<'_, Progress> {
        self.progress.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Progress> {
        self.progress
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether these bring every event after `position`, up to the last of them.
fn follow(position: Position, deliveries: &[Delivery]) -> bool {
    let mut reached = position;
    deliveries.iter().all(|delivery| {
        let follows = delivery.previous <= reached;
        reached = reached.max(delivery.event.position);
        follows
    })
}

/// A projection whose steps [`HotViews`] hears of.
#[derive(Debug, Clone)]
pub struct Watched<P> {
    projection: P,
    views: HotViews,
}

impl<P> Watched<P> {
    /// Lets `views` hear of what `projection` applies.
    #[must_use]
    pub fn new(projection: P, views: HotViews) -> Self {
        Self { projection, views }
    }
}

/// The lease that a watched projection works under.
#[derive(Debug, Clone)]
pub struct WatchedLease<L> {
    lease: L,
    ttl: Duration,
    views: HotViews,
}

impl<L> WatchedLease<L> {
    /// Lets `views` hear of `lease`, which runs out `ttl` after it was last held.
    #[must_use]
    pub fn new(lease: L, ttl: Duration, views: HotViews) -> Self {
        Self { lease, ttl, views }
    }
}

/// Forgets everything unless it is settled that all went well: an error and a dropped future alike
/// leave open what was applied.
struct InvalidateOnDrop<'a>(Option<&'a HotViews>);

impl InvalidateOnDrop<'_> {
    fn settle(mut self) {
        self.0 = None;
    }
}

impl Drop for InvalidateOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(views) = self.0 {
            views.forget(&mut views.write());
        }
    }
}

impl<P: Projection> Projection for Watched<P> {
    async fn checkpoint(&self) -> Result<Position, StoreError> {
        let position = self.projection.checkpoint().await?;
        self.views.opened(position);
        Ok(position)
    }

    async fn apply(&self, deliveries: Vec<Delivery>, epoch: Epoch) -> Result<Position, StoreError> {
        let doubt = InvalidateOnDrop(Some(&self.views));
        self.views.applying(&deliveries);
        let last = deliveries.iter().map(|delivery| delivery.event.position);
        let last = last.max().unwrap_or_default();
        let position = self.projection.apply(deliveries, epoch).await?;
        doubt.settle();
        self.views.applied(last, position);
        Ok(position)
    }
}

impl<L: Lease> Lease for WatchedLease<L> {
    async fn hold(&self) -> Result<Option<Epoch>, StoreError> {
        let asked = Instant::now();
        let held = self.lease.hold().await;
        let lease = held.as_ref().ok().copied().flatten();
        self.views
            .lease(lease.map(|epoch| (epoch, asked + self.ttl)));
        held
    }

    async fn release(&self) -> Result<(), StoreError> {
        self.views.lease(None);
        self.lease.release().await
    }
}

#[cfg(test)]
mod tests;

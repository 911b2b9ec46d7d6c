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
//! What changes rows beside the projector (a repair, a rebuild, an un-parked order) shows after
//! [`KEPT`] at the latest.

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
struct Doubt<'a>(Option<&'a HotViews>);

impl Doubt<'_> {
    fn settle(mut self) {
        self.0 = None;
    }
}

impl Drop for Doubt<'_> {
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
        let doubt = Doubt(Some(&self.views));
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
mod tests {
    use std::sync::Mutex;

    use chrono::DateTime;
    use serde_json::value::RawValue;

    use super::*;
    use crate::event_sourcing::RecordedEvent;

    const TTL: Duration = Duration::from_mins(1);

    /// A projection that answers what it is told to, and a lease that is held as it is told to.
    #[derive(Default)]
    struct Told {
        position: Mutex<Option<Position>>,
        epoch: Mutex<Option<Epoch>>,
        /// Looked into while a chunk is being applied.
        views: HotViews,
    }

    impl Projection for &'static Told {
        async fn checkpoint(&self) -> Result<Position, StoreError> {
            let position = *self.position.lock().unwrap();
            position.ok_or_else(|| StoreError::unavailable(std::io::Error::other("told so")))
        }

        async fn apply(&self, chunk: Vec<Delivery>, _: Epoch) -> Result<Position, StoreError> {
            for delivery in chunk {
                let id = delivery.event.aggregate_id;
                self.views.keep(id, Position::new(7), view(1));
                assert!(self.views.get(id).is_none(), "while its chunk is applied");
            }
            self.checkpoint().await
        }
    }

    impl Lease for &'static Told {
        async fn hold(&self) -> Result<Option<Epoch>, StoreError> {
            Ok(*self.epoch.lock().unwrap())
        }

        async fn release(&self) -> Result<(), StoreError> {
            Ok(())
        }
    }

    struct Scene {
        told: &'static Told,
        views: HotViews,
        projection: Watched<&'static Told>,
        lease: WatchedLease<&'static Told>,
    }

    impl Scene {
        /// The lease is held, the checkpoint is at 7, and orders 1 and 2 are kept.
        async fn new() -> Self {
            let told: &'static Told = Box::leak(Box::default());
            let views = told.views.clone();
            let scene = Self {
                told,
                projection: Watched::new(told, views.clone()),
                lease: WatchedLease::new(told, TTL, views.clone()),
                views,
            };
            scene.hold(Some(1)).await;
            scene.tell(Some(7));
            scene.projection.checkpoint().await.unwrap();
            scene.views.keep(id(1), Position::new(7), view(1));
            scene.views.keep(id(2), Position::new(7), view(1));
            scene
        }

        fn tell(&self, position: Option<i64>) {
            *self.told.position.lock().unwrap() = position.map(Position::new);
        }

        async fn hold(&self, epoch: Option<i64>) {
            *self.told.epoch.lock().unwrap() = epoch.map(Epoch);
            self.lease.hold().await.unwrap();
        }

        async fn apply(&self, chunk: Vec<Delivery>) {
            // What it answers is what the test told it to.
            let _ = self.projection.apply(chunk, Epoch(1)).await;
        }

        /// Up to where the kept view of an order is complete.
        fn kept(&self, order: u128) -> Option<i64> {
            self.views
                .get(id(order))
                .map(|(_, position)| position.get())
        }
    }

    fn id(order: u128) -> Uuid {
        Uuid::from_u128(order)
    }

    fn view(version: i32) -> HotView {
        HotView {
            version: Version::new(version),
            body: Bytes::from_static(b"{}"),
        }
    }

    fn delivery(previous: i64, position: i64, order: u128) -> Delivery {
        let nothing = || RawValue::from_string("{}".to_owned()).unwrap();
        Delivery {
            previous: Position::new(previous),
            event: RecordedEvent {
                position: Position::new(position),
                event_id: Uuid::from_u128(9),
                aggregate_type: "Order".to_owned(),
                aggregate_id: id(order),
                version: Version::new(2),
                event_type: "OrderCompleted".to_owned(),
                schema_version: 1,
                data: nothing(),
                metadata: nothing(),
                occurred_at: DateTime::UNIX_EPOCH,
            },
        }
    }

    #[tokio::test]
    async fn a_chunk_takes_its_own_orders_away_and_moves_the_others_on() {
        let scene = Scene::new().await;
        scene.tell(Some(8));

        scene.apply(vec![delivery(7, 8, 1)]).await;

        assert_eq!((scene.kept(1), scene.kept(2)), (None, Some(8)));
    }

    #[tokio::test]
    async fn what_was_read_before_the_last_chunk_is_not_kept() {
        let scene = Scene::new().await;
        scene.tell(Some(8));
        scene.apply(vec![delivery(7, 8, 1)]).await;

        scene.views.keep(id(1), Position::new(7), view(1));

        assert_eq!(scene.kept(1), None);
    }

    #[tokio::test]
    async fn a_chunk_with_a_gap_before_it_takes_everything_away() {
        let scene = Scene::new().await;
        scene.tell(Some(9));

        scene.apply(vec![delivery(8, 9, 1)]).await;

        assert_eq!((scene.kept(1), scene.kept(2)), (None, None));
    }

    #[tokio::test]
    async fn a_checkpoint_that_somebody_else_moved_takes_everything_away() {
        let scene = Scene::new().await;
        scene.tell(Some(20));

        scene.apply(vec![delivery(7, 8, 1)]).await;

        assert_eq!(scene.kept(2), None);
    }

    #[tokio::test]
    async fn a_failed_chunk_takes_everything_away_until_the_checkpoint_is_known() {
        let scene = Scene::new().await;
        scene.tell(None);
        scene.apply(vec![delivery(7, 8, 1)]).await;
        scene.views.keep(id(2), Position::new(7), view(1));
        assert_eq!(scene.kept(2), None);

        scene.tell(Some(7));
        scene.projection.checkpoint().await.unwrap();
        scene.views.keep(id(2), Position::new(7), view(1));

        assert_eq!(scene.kept(2), Some(7));
    }

    #[tokio::test]
    async fn a_lost_or_changed_lease_takes_everything_away() {
        for epoch in [None, Some(2)] {
            let scene = Scene::new().await;

            scene.hold(epoch).await;

            assert_eq!(scene.kept(2), None, "{epoch:?}");
        }
    }

    #[tokio::test]
    async fn a_lease_that_ran_out_unnoticed_counts_as_lost() {
        let scene = Scene::new().await;

        scene.views.lease(Some((Epoch(1), Instant::now())));

        assert_eq!(scene.kept(2), None);
    }
}

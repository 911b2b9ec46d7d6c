//! What the projector's steps do to the views that are kept.

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

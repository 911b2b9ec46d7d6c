//! Which views the steps of the projector remove.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicI32, Ordering},
};

use chrono::DateTime;
use serde_json::value::RawValue;

use super::*;

const TTL: Duration = Duration::from_mins(1);

/// A projection and a lease that return what the test sets.
#[derive(Default)]
struct Stub {
    /// The checkpoint; `None` makes the projection fail.
    position: Mutex<Option<Position>>,
    /// The epoch; `None` if the lease is not held.
    epoch: Mutex<Option<Epoch>>,
    /// Checked while a chunk is being applied.
    views: HotViews,
}

impl Projection for &'static Stub {
    async fn checkpoint(&self) -> Result<Position, StoreError> {
        let position = *self.position.lock().unwrap();
        position.ok_or_else(|| StoreError::unavailable(std::io::Error::other("set by the test")))
    }

    async fn apply(
        &self,
        _after: Position,
        events: &[Arc<RecordedEvent>],
        _: Epoch,
    ) -> Result<Position, StoreError> {
        for event in events {
            let id = event.aggregate_id;
            self.views.keep(id, Position::new(7), view(1));
            assert!(
                self.views.get(id).is_none(),
                "a view was kept while its chunk is applied"
            );
        }
        self.checkpoint().await
    }

    async fn rebuild(&self) -> Result<Position, StoreError> {
        self.checkpoint().await
    }
}

impl Lease for &'static Stub {
    async fn hold(&self) -> Result<Option<Epoch>, StoreError> {
        Ok(*self.epoch.lock().unwrap())
    }

    async fn release(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The views, with a stub behind them.
struct Fixture {
    stub: &'static Stub,
    views: HotViews,
    projection: InvalidatingProjection<&'static Stub>,
    lease: InvalidatingLease<&'static Stub>,
}

impl Fixture {
    /// The lease is held, the checkpoint is at 7, and orders 1 and 2 are kept.
    async fn new() -> Self {
        let stub: &'static Stub = Box::leak(Box::default());
        let views = stub.views.clone();
        let fixture = Self {
            stub,
            projection: InvalidatingProjection::new(stub, views.clone()),
            lease: InvalidatingLease::new(stub, TTL, views.clone()),
            views,
        };
        fixture.hold(Some(1)).await;
        fixture.set_checkpoint(Some(7));
        fixture.projection.checkpoint().await.unwrap();
        fixture.views.keep(id(1), Position::new(7), view(1));
        fixture.views.keep(id(2), Position::new(7), view(1));
        fixture
    }

    fn set_checkpoint(&self, position: Option<i64>) {
        *self.stub.position.lock().unwrap() = position.map(Position::new);
    }

    async fn hold(&self, epoch: Option<i64>) {
        *self.stub.epoch.lock().unwrap() = epoch.map(Epoch);
        self.lease.hold().await.unwrap();
    }

    /// Applies an event of an order, which follows `after` in the store.
    async fn apply(&self, after: i64, position: i64, order: u128) {
        let events = [Arc::new(event(position, order))];
        let after = Position::new(after);
        // The result is what the test has set.
        let _ = self.projection.apply(after, &events, Epoch(1)).await;
    }

    /// The position up to which the kept view of an order is complete.
    fn kept(&self, order: u128) -> Option<i64> {
        self.views
            .get(id(order))
            .map(|(_, positions)| positions.end().get())
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

fn event(position: i64, order: u128) -> RecordedEvent {
    let empty = || RawValue::from_string("{}".to_owned()).unwrap();
    RecordedEvent {
        position: Position::new(position),
        event_id: Uuid::from_u128(9),
        aggregate_type: "Order".to_owned(),
        aggregate_id: id(order),
        version: Version::new(2),
        event_type: "OrderCompleted".to_owned(),
        schema_version: 1,
        data: empty(),
        metadata: empty(),
        occurred_at: DateTime::UNIX_EPOCH,
    }
}

#[tokio::test]
async fn a_rebuild_removes_all_views() {
    let fixture = Fixture::new().await;

    fixture.projection.rebuild().await.unwrap();

    assert_eq!((fixture.kept(1), fixture.kept(2)), (None, None));
}

#[tokio::test]
async fn a_chunk_removes_the_views_of_its_orders_and_moves_the_position_of_the_others() {
    let fixture = Fixture::new().await;
    fixture.set_checkpoint(Some(8));

    fixture.apply(7, 8, 1).await;

    assert_eq!((fixture.kept(1), fixture.kept(2)), (None, Some(8)));
}

#[tokio::test]
async fn a_view_that_was_read_before_the_last_chunk_is_not_kept() {
    let fixture = Fixture::new().await;
    fixture.set_checkpoint(Some(8));
    fixture.apply(7, 8, 1).await;

    fixture.views.keep(id(1), Position::new(7), view(1));

    assert_eq!(fixture.kept(1), None);
}

#[tokio::test]
async fn a_chunk_with_a_gap_before_it_removes_all_views() {
    let fixture = Fixture::new().await;
    fixture.set_checkpoint(Some(9));

    fixture.apply(8, 9, 1).await;

    assert_eq!((fixture.kept(1), fixture.kept(2)), (None, None));
}

#[tokio::test]
async fn a_checkpoint_that_another_process_moved_removes_all_views() {
    let fixture = Fixture::new().await;
    fixture.set_checkpoint(Some(20));

    fixture.apply(7, 8, 1).await;

    assert_eq!(fixture.kept(2), None);
}

#[tokio::test]
async fn a_failed_chunk_removes_all_views_until_the_checkpoint_is_read() {
    let fixture = Fixture::new().await;
    fixture.set_checkpoint(None);
    fixture.apply(7, 8, 1).await;
    fixture.views.keep(id(2), Position::new(7), view(1));
    assert_eq!(fixture.kept(2), None);

    fixture.set_checkpoint(Some(7));
    fixture.projection.checkpoint().await.unwrap();
    fixture.views.keep(id(2), Position::new(7), view(1));

    assert_eq!(fixture.kept(2), Some(7));
}

#[tokio::test]
async fn a_lost_or_changed_lease_removes_all_views() {
    for epoch in [None, Some(2)] {
        let fixture = Fixture::new().await;

        fixture.hold(epoch).await;

        assert_eq!(fixture.kept(2), None, "{epoch:?}");
    }
}

#[tokio::test]
async fn a_lease_that_ran_out_counts_as_lost() {
    let fixture = Fixture::new().await;

    fixture.views.set_lease(Some((Epoch(1), Instant::now())));

    assert_eq!(fixture.kept(2), None);
}

#[test]
fn a_removed_view_is_not_shown_again_while_its_successor_is_kept() {
    let (views, at_least) = (HotViews::default(), AtomicI32::new(0));
    let is_over = AtomicBool::new(false);
    views.set_lease(Some((Epoch(1), Instant::now() + TTL)));

    std::thread::scope(|scope| {
        scope.spawn(|| {
            for version in 0..200_000 {
                HotViews::remove_all(&mut views.write());
                views.checkpoint_read(Position::new(7));
                at_least.store(version, Ordering::SeqCst);
                views.keep(id(1), Position::new(7), view(version));
            }
            is_over.store(true, Ordering::SeqCst);
        });
        while !is_over.load(Ordering::SeqCst) {
            let at_least = at_least.load(Ordering::SeqCst);
            if let Some((view, _)) = views.get(id(1)) {
                assert!(
                    view.version.get() >= at_least,
                    "{} < {at_least}",
                    view.version
                );
            }
        }
    });
}

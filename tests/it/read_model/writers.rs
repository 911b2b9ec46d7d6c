//! Several writers of the read model, and writers that fail or are dropped.

use std::time::Duration;

use orders::{
    event_sourcing::{Epoch, StoreError, projection::Projection},
    order::OrderId,
    read_model::Refolded,
};
use tokio::time::timeout;

use super::{EPOCH, Fixture, fold};

#[tokio::test]
async fn a_stale_epoch_writes_nothing() {
    let (fixture, _) = Fixture::with_histories(11, 10, 100).await;
    let deliveries = fixture.deliveries().await;
    fixture
        .projector
        .apply(deliveries[..50].to_vec(), Epoch(5))
        .await
        .unwrap();
    let before = fixture.stored_orders().await;

    let refused = fixture
        .projector
        .apply(deliveries[50..].to_vec(), Epoch(4))
        .await;

    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(fixture.stored_orders().await, before);
    let checkpoint = fixture.projector.checkpoint().await.unwrap();
    assert_eq!(checkpoint, deliveries[49].event.position);
    fixture.projector.catch_up(|_| ()).await.unwrap();
    fixture.assert_complete().await;
}

#[tokio::test]
async fn cached_rows_are_dropped_when_another_writer_wrote() {
    let (fixture, _) = Fixture::with_histories(15, 20, 400).await;
    let deliveries = fixture.deliveries().await;
    let busy = |id: OrderId| {
        let events = deliveries.iter().enumerate();
        let events = events.filter(move |(_, delivery)| delivery.event.aggregate_id == id.get());
        events.map(|(index, _)| index).collect::<Vec<_>>()
    };
    let ids: Vec<OrderId> = fixture.expected_orders().await.into_keys().collect();
    let events = ids.into_iter().map(busy).max_by_key(Vec::len).unwrap();
    let (second, third) = (events[1], events[2]);
    fixture.apply(&deliveries[..second]).await;
    // The other projector reads this with its next chunk and caches it.
    fixture.run("update order_views set total_minor = 17").await;
    let projector = fixture.projector_named("caches");
    let chunk = deliveries[second..third].to_vec();
    projector.apply(chunk, EPOCH).await.unwrap();

    for id in fixture.expected_orders().await.into_keys() {
        assert_eq!(fixture.projector.refold(id).await.unwrap(), Refolded::Whole);
    }
    let rest = deliveries[third..].to_vec();
    projector.apply(rest, EPOCH).await.unwrap();

    fixture.assert_complete().await;
}

#[tokio::test]
async fn two_projectors_give_the_fold_of_the_events() {
    let (fixture, _) = Fixture::with_histories(17, 20, 600).await;
    let other = fixture.projector_named("other");
    let deliveries = fixture.deliveries().await;

    for (index, chunk) in deliveries.chunks(15).enumerate() {
        let projector = if index % 3 == 0 {
            &other
        } else {
            &fixture.projector
        };
        projector.apply(chunk.to_vec(), EPOCH).await.unwrap();
    }
    // Also at the same time: both apply all events, and no row is written twice.
    fixture
        .run("update projection_checkpoint set position = 0")
        .await;
    for chunk in deliveries.chunks(40) {
        let both = [&fixture.projector, &other].map(|each| each.apply(chunk.to_vec(), EPOCH));
        for applied in futures::future::join_all(both).await {
            applied.unwrap();
        }
    }

    fixture.assert_complete().await;
}

#[tokio::test]
async fn rows_and_checkpoint_move_together_or_not_at_all() {
    let (fixture, _) = Fixture::with_histories(12, 10, 100).await;
    let deliveries = fixture.deliveries().await;
    fixture.apply(&deliveries[..40]).await;
    let before = fixture.stored_orders().await;
    fixture
        .run(
            "create function refuse() returns trigger language plpgsql as
              $$ begin raise 'no' using errcode = '57P03'; end $$;
              create trigger refuse before update on projection_checkpoint
              for each row execute function refuse()",
        )
        .await;

    let refused = fixture
        .projector
        .apply(deliveries[40..].to_vec(), EPOCH)
        .await;

    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(fixture.stored_orders().await, before);
    assert_eq!(
        before,
        fold(
            deliveries[..40]
                .iter()
                .map(|delivery| delivery.event.clone())
        )
    );
    fixture
        .run("drop trigger refuse on projection_checkpoint")
        .await;
    fixture.apply(&deliveries).await;
    fixture.assert_complete().await;
}

#[tokio::test]
async fn an_apply_that_is_dropped_midway_leaves_no_open_transaction() {
    let (fixture, _) = Fixture::with_histories(13, 20, 300).await;
    let deliveries = fixture.deliveries().await;
    for micros in (0..40).map(|step| step * 250) {
        let apply = fixture.projector.apply(deliveries.clone(), EPOCH);
        let _ = timeout(Duration::from_micros(micros), apply).await;
        fixture
            .run("update projection_checkpoint set position = 0, epoch = 0")
            .await;
    }
    let open: i64 = sqlx::query_scalar(
        "select count(*) from pg_stat_activity
         where datname = current_database() and state like 'idle in transaction%'",
    )
    .fetch_one(&fixture.pool)
    .await
    .unwrap();
    assert!(open <= 1, "{open} transactions are open");

    fixture.apply(&deliveries).await;

    fixture.assert_complete().await;
}

//! Several writers of the read model, and writers that fail or are dropped.

use std::time::Duration;

use orders::{
    event_sourcing::{Epoch, RecordedEvent, StoreError, projection::Projection},
    order::OrderId,
    read_model::Refolded,
};
use tokio::time::timeout;

use super::{EPOCH, Fixture, apply, fold};

#[tokio::test]
async fn a_stale_epoch_writes_nothing() {
    let (fixture, _) = Fixture::with_histories(11, 10, 100).await;
    let events = fixture.events().await;
    apply(&fixture.projector, &events[..50], Epoch(5))
        .await
        .unwrap();
    let before = fixture.stored_orders().await;

    let refused = apply(&fixture.projector, &events[50..], Epoch(4)).await;

    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(fixture.stored_orders().await, before);
    let checkpoint = fixture.projector.checkpoint().await.unwrap();
    assert_eq!(checkpoint, events[49].position);
    fixture.projector.catch_up(|_| ()).await.unwrap();
    fixture.assert_complete().await;
}

#[tokio::test]
async fn cached_rows_are_dropped_when_another_writer_wrote() {
    let (fixture, _) = Fixture::with_histories(15, 20, 400).await;
    let events = fixture.events().await;
    let indexes_of = |id: OrderId| {
        let of_order = events.iter().enumerate();
        let of_order = of_order.filter(move |(_, event)| event.aggregate_id == id.get());
        of_order.map(|(index, _)| index).collect::<Vec<_>>()
    };
    let ids: Vec<OrderId> = fixture.expected_orders().await.into_keys().collect();
    let busiest = ids
        .into_iter()
        .map(indexes_of)
        .max_by_key(Vec::len)
        .unwrap();
    let (second, third) = (busiest[1], busiest[2]);
    fixture.apply(&events[..second]).await;
    // The other projector reads this with its next chunk and caches it.
    fixture.run("update order_views set total_minor = 17").await;
    let projector = fixture.projector_named("caches");
    let chunk = &events[second..third];
    apply(&projector, chunk, EPOCH).await.unwrap();

    for id in fixture.expected_orders().await.into_keys() {
        assert_eq!(fixture.projector.refold(id).await.unwrap(), Refolded::Whole);
    }
    let rest = &events[third..];
    apply(&projector, rest, EPOCH).await.unwrap();

    fixture.assert_complete().await;
}

#[tokio::test]
async fn two_projectors_give_the_fold_of_the_events() {
    let (fixture, _) = Fixture::with_histories(17, 20, 600).await;
    let other = fixture.projector_named("other");
    let events = fixture.events().await;

    for (index, chunk) in events.chunks(15).enumerate() {
        let projector = if index % 3 == 0 {
            &other
        } else {
            &fixture.projector
        };
        apply(projector, chunk, EPOCH).await.unwrap();
    }
    // Also at the same time: both apply all events, and no row is written twice.
    fixture
        .run("update projection_checkpoint set position = 0")
        .await;
    for chunk in events.chunks(40) {
        let both = [&fixture.projector, &other].map(|each| apply(each, chunk, EPOCH));
        for applied in futures::future::join_all(both).await {
            applied.unwrap();
        }
    }

    fixture.assert_complete().await;
}

#[tokio::test]
async fn rows_and_checkpoint_move_together_or_not_at_all() {
    let (fixture, _) = Fixture::with_histories(12, 10, 100).await;
    let events = fixture.events().await;
    fixture.apply(&events[..40]).await;
    let before = fixture.stored_orders().await;
    fixture
        .run(
            "create function refuse() returns trigger language plpgsql as
              $$ begin raise 'no' using errcode = '57P03'; end $$;
              create trigger refuse before update on projection_checkpoint
              for each row execute function refuse()",
        )
        .await;

    let refused = apply(&fixture.projector, &events[40..], EPOCH).await;

    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(fixture.stored_orders().await, before);
    assert_eq!(
        before,
        fold(events[..40].iter().map(|event| RecordedEvent::clone(event)))
    );
    fixture
        .run("drop trigger refuse on projection_checkpoint")
        .await;
    fixture.apply(&events).await;
    fixture.assert_complete().await;
}

#[tokio::test]
async fn an_apply_that_is_dropped_midway_leaves_no_open_transaction() {
    let (fixture, _) = Fixture::with_histories(13, 20, 300).await;
    let events = fixture.events().await;
    for micros in (0..40).map(|step| step * 250) {
        let apply = apply(&fixture.projector, &events, EPOCH);
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

    fixture.apply(&events).await;

    fixture.assert_complete().await;
}

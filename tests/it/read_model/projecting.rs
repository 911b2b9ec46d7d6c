//! Projecting deliveries: in order, repeated, out of order, lost.

use orders::{event_sourcing::Position, order::OrderId};
use uuid::Uuid;

use super::{
    Fixture,
    history::{SeededRandom, TestEvent, at, store},
};

#[tokio::test]
async fn deliveries_in_order_give_the_fold_of_the_events() {
    let (fixture, _) = Fixture::with_histories(1, 40, 600).await;

    for chunk in fixture.deliveries().await.chunks(70) {
        let checkpoint = fixture.apply(chunk).await;
        assert_eq!(
            Some(checkpoint),
            chunk.last().map(|last| last.event.position)
        );
    }

    fixture.assert_complete().await;
}

#[tokio::test]
async fn repeated_deliveries_change_nothing() {
    let (fixture, _) = Fixture::with_histories(2, 30, 400).await;
    let deliveries = fixture.deliveries().await;

    for chunk in deliveries.chunks(37) {
        let twice: Vec<_> = chunk.iter().chain(chunk).cloned().collect();
        fixture.apply(&twice).await;
        fixture.apply(chunk).await;
    }
    fixture.apply(&deliveries).await;

    fixture.assert_complete().await;
}

#[tokio::test]
async fn events_repeated_after_the_checkpoint_was_set_back_change_nothing() {
    let (fixture, _) = Fixture::with_histories(3, 30, 400).await;
    let deliveries = fixture.deliveries().await;
    fixture.apply(&deliveries).await;

    fixture
        .run("update projection_checkpoint set position = 0")
        .await;
    for chunk in deliveries.chunks(23) {
        fixture.apply(chunk).await;
    }

    fixture.assert_complete().await;
}

#[tokio::test]
async fn deliveries_out_of_order_give_the_fold_of_the_events() {
    let (fixture, _) = Fixture::with_histories(4, 30, 500).await;
    let mut deliveries = fixture.deliveries().await;
    SeededRandom::new(4).shuffle(&mut deliveries);

    for chunk in deliveries.chunks(11) {
        fixture.apply(chunk).await;
    }

    fixture.assert_complete().await;
}

#[tokio::test]
async fn lost_deliveries_are_read_from_the_store() {
    let (fixture, _) = Fixture::with_histories(5, 30, 500).await;
    let mut random = SeededRandom::new(5);
    let deliveries = fixture.deliveries().await;

    for chunk in deliveries.chunks(40) {
        let last = chunk.last().map(|last| last.event.position);
        let kept = chunk
            .iter()
            .filter(|delivery| random.below(3) == 0 || Some(delivery.event.position) == last);
        fixture.apply(&kept.cloned().collect::<Vec<_>>()).await;
    }

    fixture.assert_complete().await;
}

#[tokio::test]
async fn a_gap_longer_than_a_page_is_closed_in_several_transactions() {
    let (fixture, _) = Fixture::with_histories(6, 60, 2600).await;

    let last = fixture.deliveries().await.pop().unwrap();
    fixture.apply(&[last]).await;

    fixture.assert_complete().await;
}

#[tokio::test]
async fn catching_up_reads_the_store_without_deliveries() {
    let (fixture, _) = Fixture::with_histories(7, 50, 2300).await;

    fixture.projector.catch_up(|_| ()).await.unwrap();

    fixture.assert_complete().await;
}

#[tokio::test]
async fn events_of_other_aggregates_only_move_the_checkpoint() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "insert into events (event_id, aggregate_type, aggregate_id, version, type,
                  schema_version, data, metadata, created_at)
              values (gen_random_uuid(), 'BankAccount', gen_random_uuid(), 1, 'Opened', 1, '{}',
                  '{}', now())",
        )
        .await;

    let checkpoint = fixture.apply(&fixture.deliveries().await).await;

    assert_ne!(checkpoint, Position::ZERO);
    fixture.assert_complete().await;
}

#[tokio::test]
async fn rows_that_lack_events_are_filled_from_the_store() {
    let (fixture, _) = Fixture::with_histories(8, 5, 120).await;
    let deliveries = fixture.deliveries().await;
    let (before, after) = deliveries.split_at(60);
    fixture.apply(before).await;

    fixture.run("truncate order_views, order_items").await;
    fixture.apply(after).await;

    let shown = fixture.stored_orders().await;
    let folded = fixture.expected_orders().await;
    for delivery in after {
        let id = OrderId::new(delivery.event.aggregate_id);
        assert_eq!(shown.get(&id), folded.get(&id));
    }
}

#[tokio::test]
async fn a_deleted_row_is_folded_again() {
    let (fixture, _) = Fixture::with_histories(16, 20, 400).await;
    let deliveries = fixture.deliveries().await;
    fixture.apply(&deliveries[..200]).await;
    let before: Vec<OrderId> = fixture.stored_orders().await.into_keys().collect();

    fixture
        .run("delete from order_views; delete from order_items")
        .await;
    fixture.apply(&deliveries[200..]).await;

    // Orders with later events are complete. `verify` finds the others.
    let shown = fixture.stored_orders().await;
    let folded = fixture.expected_orders().await;
    assert!(before.iter().any(|id| shown.contains_key(id)));
    for (id, view) in shown {
        assert_eq!(Some(&view), folded.get(&id));
    }
}

#[tokio::test]
async fn an_old_creation_event_is_upcast() {
    let fixture = Fixture::new().await;
    let id = OrderId::new(Uuid::from_u128(77));
    let old = TestEvent {
        order_id: id,
        version: 1,
        event_type: "OrderCreated".to_owned(),
        schema_version: 1,
        data: format!(r#"{{"orderId": "{id}", "total": "12.50"}}"#),
        at: at(0),
    };
    store(&fixture.pool, &[old]).await;

    fixture.apply(&fixture.deliveries().await).await;

    let view = fixture.views.find(id).await.unwrap().order.unwrap();
    assert_eq!(view.order.customer_id, "unknown");
    assert_eq!(view.order.total_minor, 1250);
    assert_eq!(view.items[0].product_id, "unknown");
}

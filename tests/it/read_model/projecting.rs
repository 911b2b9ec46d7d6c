//! Projecting events: in order, repeated, with a gap before them.

use orders::{
    event_sourcing::{Position, StoreError, projection::Projection},
    order::OrderId,
};
use uuid::Uuid;

use super::{
    EPOCH, Fixture, apply,
    history::{TestEvent, at, store},
};

#[tokio::test]
async fn events_in_order_give_the_fold_of_the_events() {
    let (fixture, _) = Fixture::with_histories(1, 40, 600).await;

    for chunk in fixture.events().await.chunks(70) {
        let checkpoint = fixture.apply(chunk).await;
        assert_eq!(Some(checkpoint), chunk.last().map(|last| last.position));
    }

    fixture.assert_complete().await;
}

#[tokio::test]
async fn repeated_events_change_nothing() {
    let (fixture, _) = Fixture::with_histories(2, 30, 400).await;
    let events = fixture.events().await;

    for chunk in events.chunks(37) {
        fixture.apply(chunk).await;
        fixture.apply(chunk).await;
    }
    fixture.apply(&events).await;

    fixture.assert_complete().await;
}

#[tokio::test]
async fn events_repeated_after_the_checkpoint_was_set_back_change_nothing() {
    let (fixture, _) = Fixture::with_histories(3, 30, 400).await;
    let events = fixture.events().await;
    fixture.apply(&events).await;

    fixture
        .run("update projection_checkpoint set position = 0")
        .await;
    for chunk in events.chunks(23) {
        fixture.apply(chunk).await;
    }

    fixture.assert_complete().await;
}

#[tokio::test]
async fn events_after_a_gap_are_refused_and_change_nothing() {
    let (fixture, _) = Fixture::with_histories(4, 30, 500).await;
    let events = fixture.events().await;
    let checkpoint = fixture.apply(&events[..100]).await;
    let before = fixture.stored_orders().await;

    let refused = apply(&fixture.projector, &events[101..], EPOCH).await;

    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(fixture.projector.checkpoint().await.unwrap(), checkpoint);
    assert_eq!(fixture.stored_orders().await, before);
    fixture.apply(&events[50..]).await;
    fixture.assert_complete().await;
}

#[tokio::test]
async fn catching_up_reads_the_store() {
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

    let checkpoint = fixture.apply(&fixture.events().await).await;

    assert_ne!(checkpoint, Position::ZERO);
    fixture.assert_complete().await;
}

#[tokio::test]
async fn rows_that_lack_events_are_filled_from_the_store() {
    let (fixture, _) = Fixture::with_histories(8, 5, 120).await;
    let events = fixture.events().await;
    let (before, after) = events.split_at(60);
    fixture.apply(before).await;

    fixture.run("truncate order_views, order_items").await;
    fixture.apply(after).await;

    let shown = fixture.stored_orders().await;
    let folded = fixture.expected_orders().await;
    for event in after {
        let id = OrderId::new(event.aggregate_id);
        assert_eq!(shown.get(&id), folded.get(&id));
    }
}

#[tokio::test]
async fn a_deleted_row_is_folded_again() {
    let (fixture, _) = Fixture::with_histories(16, 20, 400).await;
    let events = fixture.events().await;
    fixture.apply(&events[..200]).await;
    let before: Vec<OrderId> = fixture.stored_orders().await.into_keys().collect();

    fixture
        .run("delete from order_views; delete from order_items")
        .await;
    fixture.apply(&events[200..]).await;

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

    fixture.apply(&fixture.events().await).await;

    let view = fixture.views.find(id).await.unwrap().order.unwrap();
    assert_eq!(view.order.customer_id, "unknown");
    assert_eq!(view.order.total_minor, 1250);
    assert_eq!(view.items[0].product_id, "unknown");
}

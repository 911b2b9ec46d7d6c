use std::time::Duration;

use orders::{
    event_sourcing::{Epoch, Position, StoreError, Version, projection::Projection},
    read_model::Refolded,
};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    EPOCH, World, fold,
    history::{Dice, Planted, at, histories, store},
};

async fn world_with(seed: u64, orders: usize, events: usize) -> (World, Vec<Planted>) {
    let world = World::new().await;
    let planted = histories(&mut Dice(seed), orders, events);
    store(&world.pool, &planted).await;
    (world, planted)
}

#[tokio::test]
async fn deliveries_in_order_come_to_the_fold() {
    let (world, _) = world_with(1, 40, 600).await;

    for chunk in world.deliveries().await.chunks(70) {
        let checkpoint = world.apply(chunk).await;
        assert_eq!(
            Some(checkpoint),
            chunk.last().map(|last| last.event.position)
        );
    }

    world.assert_caught_up().await;
}

#[tokio::test]
async fn deliveries_that_come_twice_change_nothing() {
    let (world, _) = world_with(2, 30, 400).await;
    let deliveries = world.deliveries().await;

    for chunk in deliveries.chunks(37) {
        let twice: Vec<_> = chunk.iter().chain(chunk).cloned().collect();
        world.apply(&twice).await;
        world.apply(chunk).await;
    }
    world.apply(&deliveries).await;

    world.assert_caught_up().await;
}

#[tokio::test]
async fn a_checkpoint_set_back_repeats_events_without_effect() {
    let (world, _) = world_with(3, 30, 400).await;
    let deliveries = world.deliveries().await;
    world.apply(&deliveries).await;

    world
        .run("update projection_checkpoint set position = 0")
        .await;
    for chunk in deliveries.chunks(23) {
        world.apply(chunk).await;
    }

    world.assert_caught_up().await;
}

#[tokio::test]
async fn deliveries_out_of_order_come_to_the_fold() {
    let (world, _) = world_with(4, 30, 500).await;
    let mut deliveries = world.deliveries().await;
    Dice(4).shuffle(&mut deliveries);

    for chunk in deliveries.chunks(11) {
        world.apply(chunk).await;
    }

    world.assert_caught_up().await;
}

#[tokio::test]
async fn lost_deliveries_are_read_from_the_store() {
    let (world, _) = world_with(5, 30, 500).await;
    let mut dice = Dice(5);
    let deliveries = world.deliveries().await;

    for chunk in deliveries.chunks(40) {
        let last = chunk.last().map(|last| last.event.position);
        let kept = chunk
            .iter()
            .filter(|delivery| dice.below(3) == 0 || Some(delivery.event.position) == last);
        world.apply(&kept.cloned().collect::<Vec<_>>()).await;
    }

    world.assert_caught_up().await;
}

#[tokio::test]
async fn a_gap_longer_than_a_page_is_closed_in_several_transactions() {
    let (world, _) = world_with(6, 60, 2600).await;

    let last = world.deliveries().await.pop().unwrap();
    world.apply(&[last]).await;

    world.assert_caught_up().await;
}

#[tokio::test]
async fn catching_up_needs_no_delivery() {
    let (world, _) = world_with(7, 50, 2300).await;

    world.projector.catch_up(|_| ()).await.unwrap();

    world.assert_caught_up().await;
}

#[tokio::test]
async fn events_of_other_aggregates_only_move_the_checkpoint() {
    let world = World::new().await;
    world
        .run(
            "insert into events (event_id, aggregate_type, aggregate_id, version, type,
                  schema_version, data, metadata, created_at)
              values (gen_random_uuid(), 'BankAccount', gen_random_uuid(), 1, 'Opened', 1, '{}',
                  '{}', now())",
        )
        .await;

    let checkpoint = world.apply(&world.deliveries().await).await;

    assert_ne!(checkpoint, Position::ZERO);
    world.assert_caught_up().await;
}

#[tokio::test]
async fn a_row_that_fell_behind_is_filled_from_the_store() {
    let (world, _) = world_with(8, 5, 120).await;
    let deliveries = world.deliveries().await;
    let (before, after) = deliveries.split_at(60);
    world.apply(before).await;

    world.run("truncate order_views, order_items").await;
    world.apply(after).await;

    let shown = world.shown().await;
    let folded = world.folded().await;
    for delivery in after {
        let id = delivery.event.aggregate_id;
        assert_eq!(shown.get(&id), folded.get(&id));
    }
}

#[tokio::test]
async fn a_poison_event_parks_its_order_and_the_others_flow() {
    let world = World::new().await;
    let mut planted = histories(&mut Dice(9), 12, 300);
    let index = planted.iter().position(|event| event.version == 3).unwrap();
    let poisoned = planted[index].order_id;
    let right_type = std::mem::replace(&mut planted[index].event_type, "OrderMelted".to_owned());
    store(&world.pool, &planted).await;

    for chunk in world.deliveries().await.chunks(50) {
        world.apply(chunk).await;
    }

    let parked = world.projector.parked().await.unwrap();
    assert_eq!(parked.len(), 1);
    assert_eq!(
        (parked[0].order_id, parked[0].version),
        (poisoned.into(), 3)
    );
    assert!(
        parked[0].reason.contains("OrderMelted"),
        "{}",
        parked[0].reason
    );
    assert_eq!(world.shown().await, world.folded().await);
    assert_eq!(world.shown().await[&poisoned].order.version, 2);
    let found = world.views.find(poisoned.into()).await.unwrap();
    assert_eq!(found.parked, Some(Version::new(3)));

    let still = world.projector.unpark(poisoned.into()).await.unwrap();
    assert!(matches!(still, Refolded::Parked(_)));
    assert_eq!(world.shown().await[&poisoned].order.version, 2);
    let mut connection = world.pool.acquire().await.unwrap();
    sqlx::raw_sql("set orders.allow_event_maintenance = on")
        .execute(&mut *connection)
        .await
        .unwrap();
    sqlx::query("update events set type = $1 where type = 'OrderMelted'")
        .bind(right_type)
        .execute(&mut *connection)
        .await
        .unwrap();
    drop(connection);
    assert_eq!(
        world.projector.unpark(poisoned.into()).await.unwrap(),
        Refolded::Whole
    );
    world.assert_caught_up().await;
}

#[tokio::test]
async fn data_that_the_database_refuses_parks_only_its_order() {
    let (world, planted) = world_with(10, 20, 300).await;
    let culprit = planted[150].order_id;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "alter table order_views add constraint refused check (id <> '{culprit}')"
    )))
    .execute(&world.pool)
    .await
    .unwrap();

    world.apply(&world.deliveries().await).await;

    assert_eq!(world.parked().await, [culprit]);
    let mut folded = world.folded().await;
    folded.remove(&culprit);
    assert_eq!(world.shown().await, folded);
    world
        .run("alter table order_views drop constraint refused")
        .await;
    assert_eq!(
        world.projector.unpark(culprit.into()).await.unwrap(),
        Refolded::Whole
    );
    world.assert_caught_up().await;
}

#[tokio::test]
async fn a_stale_epoch_writes_nothing() {
    let (world, _) = world_with(11, 10, 100).await;
    let deliveries = world.deliveries().await;
    world
        .projector
        .apply(deliveries[..50].to_vec(), Epoch(5))
        .await
        .unwrap();
    let before = world.shown().await;

    let refused = world
        .projector
        .apply(deliveries[50..].to_vec(), Epoch(4))
        .await;

    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(world.shown().await, before);
    let checkpoint = world.projector.checkpoint().await.unwrap();
    assert_eq!(checkpoint, deliveries[49].event.position);
    world.projector.catch_up(|_| ()).await.unwrap();
    world.assert_caught_up().await;
}

#[tokio::test]
async fn what_is_remembered_of_rows_ends_with_another_writer() {
    let (world, _) = world_with(15, 20, 400).await;
    let deliveries = world.deliveries().await;
    let busy = |id: Uuid| {
        let events = deliveries.iter().enumerate();
        let events = events.filter(move |(_, delivery)| delivery.event.aggregate_id == id);
        events.map(|(index, _)| index).collect::<Vec<_>>()
    };
    let ids: Vec<Uuid> = world.folded().await.into_keys().collect();
    let events = ids.into_iter().map(busy).max_by_key(Vec::len).unwrap();
    let (second, third) = (events[1], events[2]);
    world.apply(&deliveries[..second]).await;
    // Read by the projector with its next chunk, and remembered so.
    world.run("update order_views set total_minor = 17").await;
    let projector = world.on_pool_named("remembers");
    let chunk = deliveries[second..third].to_vec();
    projector.apply(chunk, EPOCH).await.unwrap();

    for id in world.folded().await.into_keys() {
        assert_eq!(
            world.projector.unpark(id.into()).await.unwrap(),
            Refolded::Whole
        );
    }
    let rest = deliveries[third..].to_vec();
    projector.apply(rest, EPOCH).await.unwrap();

    world.assert_caught_up().await;
}

#[tokio::test]
async fn a_row_that_is_gone_is_folded_anew() {
    let (world, _) = world_with(16, 20, 400).await;
    let deliveries = world.deliveries().await;
    world.apply(&deliveries[..200]).await;
    let before: Vec<Uuid> = world.shown().await.into_keys().collect();

    world
        .run("delete from order_views; delete from order_items")
        .await;
    world.apply(&deliveries[200..]).await;

    // Those that something happened to since are whole; the others are `verify`'s.
    let shown = world.shown().await;
    let folded = world.folded().await;
    assert!(before.iter().any(|id| shown.contains_key(id)));
    for (id, view) in shown {
        assert_eq!(Some(&view), folded.get(&id));
    }
}

#[tokio::test]
async fn projectors_that_write_by_turns_come_to_the_fold() {
    let (world, _) = world_with(17, 20, 600).await;
    let other = world.on_pool_named("other");
    let deliveries = world.deliveries().await;

    for (index, chunk) in deliveries.chunks(15).enumerate() {
        let projector = if index % 3 == 0 {
            &other
        } else {
            &world.projector
        };
        projector.apply(chunk.to_vec(), EPOCH).await.unwrap();
    }
    // At once, too: all get there, and nothing is written twice.
    world
        .run("update projection_checkpoint set position = 0")
        .await;
    for chunk in deliveries.chunks(40) {
        let both = [&world.projector, &other].map(|each| each.apply(chunk.to_vec(), EPOCH));
        for applied in futures::future::join_all(both).await {
            applied.unwrap();
        }
    }

    world.assert_caught_up().await;
}

#[tokio::test]
async fn rows_and_checkpoint_move_together_or_not_at_all() {
    let (world, _) = world_with(12, 10, 100).await;
    let deliveries = world.deliveries().await;
    world.apply(&deliveries[..40]).await;
    let before = world.shown().await;
    world
        .run(
            "create function refuse() returns trigger language plpgsql as
              $$ begin raise 'no' using errcode = '57P03'; end $$;
              create trigger refuse before update on projection_checkpoint
              for each row execute function refuse()",
        )
        .await;

    let refused = world
        .projector
        .apply(deliveries[40..].to_vec(), EPOCH)
        .await;

    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(world.shown().await, before);
    assert_eq!(
        before,
        fold(
            deliveries[..40]
                .iter()
                .map(|delivery| delivery.event.clone())
        )
    );
    world
        .run("drop trigger refuse on projection_checkpoint")
        .await;
    world.apply(&deliveries).await;
    world.assert_caught_up().await;
}

#[tokio::test]
async fn an_apply_that_is_dropped_midway_leaves_nothing_behind() {
    let (world, _) = world_with(13, 20, 300).await;
    let deliveries = world.deliveries().await;
    for micros in (0..40).map(|step| step * 250) {
        let apply = world.projector.apply(deliveries.clone(), EPOCH);
        let _ = timeout(Duration::from_micros(micros), apply).await;
        world
            .run("update projection_checkpoint set position = 0, epoch = 0")
            .await;
    }
    let open: i64 = sqlx::query_scalar(
        "select count(*) from pg_stat_activity
         where datname = current_database() and state like 'idle in transaction%'",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert!(open <= 1, "{open} transactions are open");

    world.apply(&deliveries).await;

    world.assert_caught_up().await;
}

#[tokio::test]
async fn an_old_creation_event_is_lifted() {
    let world = World::new().await;
    let id = Uuid::from_u128(77);
    let old = Planted {
        order_id: id,
        version: 1,
        event_type: "OrderCreated".to_owned(),
        schema_version: 1,
        data: format!(r#"{{"orderId": "{id}", "total": "12.50"}}"#),
        at: at(0),
    };
    store(&world.pool, &[old]).await;

    world.apply(&world.deliveries().await).await;

    let view = world.views.find(id.into()).await.unwrap().order.unwrap();
    assert_eq!(view.order.customer_id, "unknown");
    assert_eq!(view.order.total_minor, 1250);
    assert_eq!(view.items[0].product_id, "unknown");
}

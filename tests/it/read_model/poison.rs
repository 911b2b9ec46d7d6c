//! Orders that are parked because an event cannot be applied, and how they come back.

use orders::{event_sourcing::Version, read_model::Refolded};

use super::{
    Fixture,
    history::{histories, store},
};

#[tokio::test]
async fn an_event_that_cannot_be_applied_parks_its_order_and_no_other() {
    let fixture = Fixture::new().await;
    let mut events = histories(9, 12, 300);
    let index = events.iter().position(|event| event.version == 3).unwrap();
    let poisoned = events[index].order_id;
    let right_type = std::mem::replace(&mut events[index].event_type, "OrderMelted".to_owned());
    store(&fixture.pool, &events).await;

    for chunk in fixture.events().await.chunks(50) {
        fixture.apply(chunk).await;
    }

    let parked = fixture.projector.parked().await.unwrap();
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].order_id, parked[0].version), (poisoned, 3));
    assert!(
        parked[0].reason.contains("OrderMelted"),
        "{}",
        parked[0].reason
    );
    assert_eq!(
        fixture.stored_orders().await,
        fixture.expected_orders().await
    );
    assert_eq!(fixture.stored_orders().await[&poisoned].order.version, 2);
    let found = fixture.views.find(poisoned).await.unwrap();
    assert_eq!(found.parked, Some(Version::new(3)));

    let still = fixture.projector.refold(poisoned).await.unwrap();
    assert!(matches!(still, Refolded::Parked(_)));
    assert_eq!(fixture.stored_orders().await[&poisoned].order.version, 2);
    let mut connection = fixture.pool.acquire().await.unwrap();
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
        fixture.projector.refold(poisoned).await.unwrap(),
        Refolded::Whole
    );
    fixture.assert_complete().await;
}

#[tokio::test]
async fn data_that_the_database_refuses_parks_only_its_order() {
    let (fixture, events) = Fixture::with_histories(10, 20, 300).await;
    let culprit = events[150].order_id;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "alter table order_views add constraint refused check (id <> '{culprit}')"
    )))
    .execute(&fixture.pool)
    .await
    .unwrap();

    fixture.apply(&fixture.events().await).await;

    assert_eq!(fixture.parked().await, [culprit]);
    let mut folded = fixture.expected_orders().await;
    folded.remove(&culprit);
    assert_eq!(fixture.stored_orders().await, folded);
    fixture
        .run("alter table order_views drop constraint refused")
        .await;
    assert_eq!(
        fixture.projector.refold(culprit).await.unwrap(),
        Refolded::Whole
    );
    fixture.assert_complete().await;
}

//! Verification: which differences it finds, and how it repairs them.

use orders::read_model::{Finding, Verify, VerifyReport};
use uuid::Uuid;

use super::{
    Fixture, PgEventStore,
    history::{histories, store},
};

async fn fixture(seed: u64) -> (Fixture, Verify<PgEventStore>) {
    let (fixture, _) = Fixture::with_histories(seed, 250, 1200).await;
    fixture.projector.catch_up(|_| ()).await.unwrap();
    let verify = Verify::new(fixture.projector.clone());
    (fixture, verify)
}

async fn run(verify: &Verify<PgEventStore>, is_repair: bool) -> (VerifyReport, Vec<Finding>) {
    let mut findings = Vec::new();
    let found = |finding: &Finding| findings.push(finding.clone());
    let report = verify.run(is_repair, |_| (), found).await.unwrap();
    (report, findings)
}

async fn order(fixture: &Fixture, offset: i64) -> Uuid {
    sqlx::query_scalar(
        "select id from order_views where item_count > 1 order by id offset $1 limit 1",
    )
    .bind(offset)
    .fetch_one(&fixture.pool)
    .await
    .unwrap()
}

fn rows(findings: &[Finding]) -> Vec<(Uuid, String)> {
    let rows = findings.iter().filter_map(|finding| match finding {
        Finding::ReadModel {
            order_id, field, ..
        } => Some((order_id.get(), field.clone())),
        Finding::Store { .. } => None,
    });
    rows.collect()
}

#[tokio::test]
async fn a_correct_read_model_has_no_finding() {
    let (fixture, verify) = fixture(40).await;

    let (report, findings) = run(&verify, false).await;

    assert_eq!(findings, []);
    assert!(report.is_clean());
    assert_eq!(
        (report.orders, report.events),
        (fixture.stored_orders().await.len() as u64, 1200)
    );
}

#[tokio::test]
async fn events_beyond_the_checkpoint_are_no_difference() {
    let (fixture, verify) = fixture(41).await;
    store(&fixture.pool, &histories(410, 20, 200)).await;

    let (report, findings) = run(&verify, false).await;

    assert_eq!(findings, []);
    assert_eq!(report.events, 1200);
}

/// Statements that damage one order each.
const DAMAGES: [&str; 7] = [
    "update order_views set status = 'lost' where id = $1",
    "update order_items set quantity = 77777 where order_id = $1
     and line_no = (select min(line_no) from order_items where order_id = $1)",
    "delete from order_items where order_id = $1
     and line_no = (select max(line_no) from order_items where order_id = $1)",
    "with items as (delete from order_items where order_id = $1)
     delete from order_views where id = $1",
    "insert into order_items select order_id, gen_random_uuid(), 1, 'p', 1, 1, added_at
     from order_items where order_id = $1 limit 1",
    "insert into projection_parked values ($1, 1, 1, 'OrderCreated', 'no reason')",
    "insert into order_views select $1, 'c', 'created', 'EUR', 0, 0, 0, 1, 1, now(), now()",
];

#[tokio::test]
async fn differences_are_reported_and_repaired() {
    let (fixture, verify) = fixture(42).await;
    let mut ids = Vec::new();
    for offset in 0..6 {
        ids.push(order(&fixture, offset).await);
    }
    ids.push(Uuid::from_u128(u128::MAX)); // an order without events
    for (statement, id) in DAMAGES.into_iter().zip(&ids) {
        let damage = sqlx::query(statement).bind(id);
        damage.execute(&fixture.pool).await.unwrap();
    }

    let (report, findings) = run(&verify, true).await;

    assert_eq!(
        (report.in_store, report.differing_orders, report.repaired),
        (0, 7, 7)
    );
    let found = rows(&findings);
    let has = |id: Uuid, start: &str, end: &str| {
        let mut found = found.iter();
        found.any(|(order, field)| *order == id && field.starts_with(start) && field.ends_with(end))
    };
    assert!(has(ids[0], "status", "status"));
    assert!(has(ids[1], "item ", " quantity"));
    assert!(has(ids[2], "item ", ""));
    assert!(has(ids[3], "order", "order"));
    assert!(has(ids[4], "item ", ""));
    assert!(has(ids[5], "parked", "parked"));
    assert!(has(ids[6], "order", "order"));
    fixture.assert_complete().await;
    assert_eq!(run(&verify, false).await.1, []);
}

#[tokio::test]
async fn invalid_events_in_the_store_are_reported() {
    let fixture = Fixture::new().await;
    let mut events = histories(43, 30, 400);
    let at = |events: &[super::history::TestEvent], version, nth: usize| {
        let found = events
            .iter()
            .enumerate()
            .filter(|(_, event)| event.version == version);
        found.map(|(index, _)| index).nth(nth).unwrap()
    };
    let unknown = at(&events, 2, 0);
    events[unknown].event_type = "OrderMelted".to_owned();
    let created_twice = at(&events, 2, 2);
    let first = at(&events, 1, 4);
    let lost = events[first].order_id;
    events[created_twice].event_type = "OrderCreated".to_owned();
    events[created_twice].schema_version = 3;
    events[created_twice].data = events[0].data.clone();
    let bad = [
        events[unknown].order_id,
        events[created_twice].order_id,
        lost,
    ];
    events.remove(first);
    store(&fixture.pool, &events).await;
    fixture.projector.catch_up(|_| ()).await.unwrap();

    let (report, findings) = run(&Verify::new(fixture.projector.clone()), false).await;

    assert_eq!(
        rows(&findings),
        [],
        "the rows show the events before the invalid ones"
    );
    assert!(report.in_store >= 3);
    for id in bad {
        let is_named = |finding: &Finding| match finding {
            Finding::Store { order_id, .. } => *order_id == id,
            Finding::ReadModel { .. } => false,
        };
        assert!(findings.iter().any(is_named), "{id}");
    }
}

#[tokio::test]
async fn a_sample_of_orders_can_be_verified() {
    let (fixture, verify) = fixture(44).await;
    let id = order(&fixture, 3).await;
    sqlx::query("update order_views set version = version + 1, updated_at = now() where id = $1")
        .bind(id)
        .execute(&fixture.pool)
        .await
        .unwrap();

    let recent = verify.recently_changed(5).await.unwrap();
    let sampled = verify.changed_at(&[1, 5, 9]).await.unwrap();
    let report = verify.orders(&recent, true, |_| ()).await.unwrap();

    assert_eq!(recent[0], id);
    assert!(!sampled.is_empty());
    assert_eq!(
        (report.orders, report.differing_orders, report.repaired),
        (5, 1, 1)
    );
    fixture.assert_complete().await;
}

#[tokio::test]
async fn verifying_beside_a_projector_and_rebuilds_finds_nothing() {
    let (fixture, verify) = fixture(45).await;
    let more = histories(450, 60, 1000);
    let (pool, projector) = (fixture.pool.clone(), fixture.projector.clone());
    let writer = tokio::spawn(async move {
        for events in more.chunks(10) {
            store(&pool, events).await;
            projector.catch_up(|_| ()).await.unwrap();
        }
    });
    let rebuild = orders::read_model::Rebuild::new(fixture.projector.clone());
    let rebuilds = tokio::spawn(async move {
        for _ in 0..3 {
            rebuild.run(false, |_| ()).await.unwrap();
        }
    });

    while !writer.is_finished() || !rebuilds.is_finished() {
        let (_, findings) = run(&verify, false).await;
        assert_eq!(findings, []);
    }

    writer.await.unwrap();
    rebuilds.await.unwrap();
    fixture.assert_complete().await;
}

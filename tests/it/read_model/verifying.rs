use orders::read_model::{Finding, Verify, VerifyReport};
use uuid::Uuid;

use super::{
    PgEventStore, World,
    history::{Dice, histories, store},
};

async fn world(seed: u64) -> (World, Verify<PgEventStore>) {
    let world = World::new().await;
    store(&world.pool, &histories(&mut Dice(seed), 250, 1200)).await;
    world.projector.catch_up(|_| ()).await.unwrap();
    let verify = Verify::new(world.projector.clone());
    (world, verify)
}

async fn run(verify: &Verify<PgEventStore>, is_repair: bool) -> (VerifyReport, Vec<Finding>) {
    let mut findings = Vec::new();
    let found = |finding: &Finding| findings.push(finding.clone());
    let report = verify.run(is_repair, |_| (), found).await.unwrap();
    (report, findings)
}

async fn order(world: &World, offset: i64) -> Uuid {
    sqlx::query_scalar(
        "select id from order_views where item_count > 1 order by id offset $1 limit 1",
    )
    .bind(offset)
    .fetch_one(&world.pool)
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
async fn a_right_read_model_has_no_finding() {
    let (world, verify) = world(40).await;

    let (report, findings) = run(&verify, false).await;

    assert_eq!(findings, []);
    assert!(report.is_clean());
    assert_eq!(
        (report.orders, report.events),
        (world.shown().await.len() as u64, 1200)
    );
}

#[tokio::test]
async fn events_beyond_the_checkpoint_are_no_difference() {
    let (world, verify) = world(41).await;
    store(&world.pool, &histories(&mut Dice(410), 20, 200)).await;

    let (report, findings) = run(&verify, false).await;

    assert_eq!(findings, []);
    assert_eq!(report.events, 1200);
}

#[tokio::test]
async fn planted_differences_are_named_and_repaired() {
    let (world, verify) = world(42).await;
    let mut ids = Vec::new();
    for offset in 0..6 {
        ids.push(order(&world, offset).await);
    }
    let plant = |statement: &'static str, id: Uuid| {
        let query = sqlx::query(statement).bind(id);
        query.execute(&world.pool)
    };
    plant(
        "update order_views set status = 'lost' where id = $1",
        ids[0],
    )
    .await
    .unwrap();
    plant("update order_items set quantity = 77777 where order_id = $1 and line_no = (select min(line_no) from order_items where order_id = $1)", ids[1]).await.unwrap();
    plant("delete from order_items where order_id = $1 and line_no = (select max(line_no) from order_items where order_id = $1)", ids[2]).await.unwrap();
    plant("with i as (delete from order_items where order_id = $1) delete from order_views where id = $1", ids[3]).await.unwrap();
    plant("insert into order_items select order_id, gen_random_uuid(), 1, 'p', 1, 1, added_at from order_items where order_id = $1 limit 1", ids[4]).await.unwrap();
    plant(
        "insert into projection_parked values ($1, 1, 1, 'OrderCreated', 'why not')",
        ids[5],
    )
    .await
    .unwrap();
    let ghost = Uuid::from_u128(u128::MAX);
    plant(
        "insert into order_views select $1, 'c', 'created', 'EUR', 0, 0, 0, 1, 1, now(), now()",
        ghost,
    )
    .await
    .unwrap();

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
    assert!(has(ghost, "order", "order"));
    world.assert_caught_up().await;
    assert_eq!(run(&verify, false).await.1, []);
}

#[tokio::test]
async fn a_store_with_bad_events_is_found_out() {
    let world = World::new().await;
    let mut planted = histories(&mut Dice(43), 30, 400);
    let at = |planted: &[super::history::Planted], version, nth: usize| {
        let found = planted
            .iter()
            .enumerate()
            .filter(|(_, event)| event.version == version);
        found.map(|(index, _)| index).nth(nth).unwrap()
    };
    let melted = at(&planted, 2, 0);
    planted[melted].event_type = "OrderMelted".to_owned();
    let created_twice = at(&planted, 2, 2);
    let first = at(&planted, 1, 4);
    let lost = planted[first].order_id;
    planted[created_twice].event_type = "OrderCreated".to_owned();
    planted[created_twice].schema_version = 3;
    planted[created_twice].data = planted[0].data.clone();
    let bad = [
        planted[melted].order_id,
        planted[created_twice].order_id,
        lost,
    ];
    planted.remove(first);
    store(&world.pool, &planted).await;
    world.projector.catch_up(|_| ()).await.unwrap();

    let (report, findings) = run(&Verify::new(world.projector.clone()), false).await;

    assert_eq!(rows(&findings), [], "the rows are as before the bad events");
    assert!(report.in_store >= 3);
    for id in bad {
        let is_named = |finding: &Finding| match finding {
            Finding::Store { order_id, .. } => order_id.get() == id,
            Finding::ReadModel { .. } => false,
        };
        assert!(findings.iter().any(is_named), "{id}");
    }
}

#[tokio::test]
async fn samples_are_verified_alone() {
    let (world, verify) = world(44).await;
    let id = order(&world, 3).await;
    sqlx::query("update order_views set version = version + 1, updated_at = now() where id = $1")
        .bind(id)
        .execute(&world.pool)
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
    world.assert_caught_up().await;
}

#[tokio::test]
async fn verifying_beside_a_projector_and_rebuilds_finds_nothing() {
    let (world, verify) = world(45).await;
    let more = histories(&mut Dice(450), 60, 1000);
    let (pool, projector) = (world.pool.clone(), world.projector.clone());
    let writer = tokio::spawn(async move {
        for events in more.chunks(10) {
            store(&pool, events).await;
            projector.catch_up(|_| ()).await.unwrap();
        }
    });
    let rebuild = orders::read_model::Rebuild::new(world.projector.clone());
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
    world.assert_caught_up().await;
}

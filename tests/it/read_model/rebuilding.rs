//! Rebuilding beside readers, the projector, and failures.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use orders::read_model::{ListQuery, Rebuild, RebuildError, Refolded};
use tokio::time::timeout;

use super::{
    Fixture,
    history::{SeededRandom, histories, store},
};

async fn fixture(
    seed: u64,
    orders: usize,
    events: usize,
) -> (Fixture, Rebuild<super::PgEventStore>) {
    let (fixture, _) = Fixture::with_histories(seed, orders, events).await;
    fixture.projector.catch_up(|_| ()).await.unwrap();
    let rebuild = Rebuild::new(fixture.projector.clone());
    (fixture, rebuild)
}

/// The definitions of the read model's tables in the catalogue.
async fn catalogue(fixture: &Fixture) -> Vec<String> {
    sqlx::query_scalar(
        "select format('column %s.%s %s %s', table_name, column_name, data_type, is_nullable)
         from information_schema.columns
         where table_schema = 'public' and table_name in ('order_views', 'order_items', 'projection_parked')
         union all select 'index ' || indexdef from pg_indexes where schemaname = 'public'
         union all select format('constraint %s %s', conname, pg_get_constraintdef(oid))
             from pg_constraint where connamespace = 'public'::regnamespace
         union all select format('table %s %s %s', relname, reloptions, relacl) from pg_class
             where relnamespace = 'public'::regnamespace and relkind = 'r'
         union all select 'schema ' || nspname from pg_namespace where nspname like 'read_model%'
         order by 1",
    )
    .fetch_all(&fixture.pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_rebuild_of_a_correct_read_model_changes_nothing() {
    let (fixture, rebuild) = fixture(30, 60, 1500).await;
    fixture
        .run(
            "do $$ begin create role it_reports; exception when others then null; end $$;
              grant select on order_views, order_items to it_reports",
        )
        .await;
    let before = catalogue(&fixture).await;

    let rebuilt = rebuild.run(false, |_| ()).await.unwrap();

    assert_eq!(
        (rebuilt.events, rebuilt.differing),
        (1500, 0),
        "{:?}",
        rebuilt.examples
    );
    assert!(rebuilt.is_switched);
    assert_eq!(catalogue(&fixture).await, before);
    fixture.assert_complete().await;
}

#[tokio::test]
async fn a_rebuild_repairs_and_reports_differences() {
    let (fixture, rebuild) = fixture(31, 40, 600).await;
    fixture
        .run(
            "update order_views set total_minor = total_minor + 1
              where id = (select min(id::text)::uuid from order_views);
              delete from order_views where id = (select max(id::text)::uuid from order_views)",
        )
        .await;
    let wrong: Vec<uuid::Uuid> = sqlx::query_scalar("select id from order_views order by id")
        .fetch_all(&fixture.pool)
        .await
        .unwrap();

    let dry = rebuild.run(true, |_| ()).await.unwrap();
    assert_eq!(
        (dry.differing, dry.is_switched),
        (2, false),
        "{:?}",
        dry.examples
    );
    assert_ne!(fixture.expected_orders().await.len(), wrong.len());

    let rebuilt = rebuild.run(false, |_| ()).await.unwrap();
    assert_eq!(rebuilt.differing, 2);
    let example = &rebuilt.examples[0];
    assert_eq!(
        (example.order_id, example.field.as_str()),
        (wrong[0].into(), "total_minor")
    );
    assert_ne!(example.live, example.rebuilt);
    fixture.assert_complete().await;
}

#[tokio::test]
async fn readers_and_the_projector_are_not_disturbed_by_a_switch() {
    let (fixture, rebuild) = fixture(32, 50, 2000).await;
    let more = histories(320, 50, 2000);
    let is_done = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));
    let orders = fixture.expected_orders().await.len();
    let id = *fixture.expected_orders().await.keys().next().unwrap();
    let readers = (0..3).map(|_| {
        let (views, is_done, reads) = (fixture.views.clone(), is_done.clone(), reads.clone());
        tokio::spawn(async move {
            let query = ListQuery {
                limit: 100,
                with_total: true,
                with_items: true,
                ..ListQuery::default()
            };
            while !is_done.load(Ordering::Relaxed) {
                let page = views.list(&query).await.unwrap();
                assert!(page.total.unwrap().count >= orders as i64);
                assert!(page.orders.iter().all(|view| {
                    view.items.len() == usize::try_from(view.order.item_count).unwrap()
                }));
                assert!(views.find(id).await.unwrap().order.is_some());
                reads.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let (pool, projector, flag) = (
        fixture.pool.clone(),
        fixture.projector.clone(),
        is_done.clone(),
    );
    let writer = tokio::spawn(async move {
        for events in more.chunks(10) {
            store(&pool, events).await;
            projector.catch_up(|_| ()).await.unwrap();
            if flag.load(Ordering::Relaxed) {
                break;
            }
        }
    });

    for _ in 0..5 {
        let rebuilt = rebuild.run(false, |_| ()).await.unwrap();
        assert_eq!(rebuilt.differing, 0, "{:?}", rebuilt.examples);
    }

    is_done.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(reads.load(Ordering::Relaxed) > 10);
    fixture.projector.catch_up(|_| ()).await.unwrap();
    fixture.assert_complete().await;
}

#[tokio::test]
async fn a_rebuild_dropped_at_any_moment_leaves_the_live_rows_and_can_run_again() {
    let (fixture, rebuild) = fixture(33, 40, 1500).await;
    let mut random = SeededRandom::new(33);
    for _ in 0..20 {
        let moment = Duration::from_millis(random.below(250));
        let _ = timeout(moment, rebuild.run(false, |_| ())).await;

        fixture.assert_complete().await;
    }
    // The lock of the last rebuild ends when the server has closed its connection.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let rebuilt = loop {
        match rebuild.run(false, |_| ()).await {
            Err(RebuildError::Running) if tokio::time::Instant::now() < deadline => {}
            done => break done.unwrap(),
        }
    };

    assert_eq!((rebuilt.events, rebuilt.differing), (1500, 0));
    fixture.assert_complete().await;
}

#[tokio::test]
async fn a_rebuild_whose_connections_the_server_kills_leaves_the_live_rows() {
    let (fixture, _) = fixture(34, 40, 1500).await;
    let mut random = SeededRandom::new(34);
    for _ in 0..8 {
        let victim = fixture.projector_named("victim");
        let moment = Duration::from_millis(random.below(150));
        let kill = async {
            tokio::time::sleep(moment).await;
            fixture
                .run(
                    "select pg_terminate_backend(pid) from pg_stat_activity
                     where datname = current_database() and application_name = 'victim'",
                )
                .await;
        };
        let rebuild = Rebuild::new(victim);
        let _ = tokio::join!(rebuild.run(false, |_| ()), kill);

        fixture.assert_complete().await;
    }
}

#[tokio::test]
async fn a_rebuild_refuses_a_view_on_the_live_tables_and_names_it() {
    let (fixture, rebuild) = fixture(37, 5, 50).await;
    fixture
        .run("create view report as select id, total_minor from order_views")
        .await;

    let Err(RebuildError::Store(refused)) = rebuild.run(false, |_| ()).await else {
        panic!("the rebuild should be refused");
    };

    let source = std::error::Error::source(&refused).unwrap().to_string();
    assert!(
        source.contains("view report depends on the read model"),
        "{source}"
    );
    fixture.assert_complete().await;
}

#[tokio::test]
async fn a_second_rebuild_is_refused_while_one_is_running() {
    let (_fixture, rebuild) = fixture(35, 5, 100).await;

    let (first, second) = tokio::join!(rebuild.run(false, |_| ()), rebuild.run(false, |_| ()));

    let outcomes = [first, second];
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(
        outcomes
            .iter()
            .any(|outcome| matches!(outcome, Err(RebuildError::Running)))
    );
}

#[tokio::test]
async fn a_rebuild_tries_parked_orders_again() {
    let fixture = Fixture::new().await;
    let mut events = histories(36, 12, 300);
    let poison = events.iter().position(|event| event.version == 3).unwrap();
    events[poison].event_type = "OrderMelted".to_owned();
    store(&fixture.pool, &events).await;
    let healthy = events
        .iter()
        .find(|event| event.order_id != events[poison].order_id)
        .unwrap();
    fixture.projector.catch_up(|_| ()).await.unwrap();
    sqlx::query(
        "insert into projection_parked (order_id, version, position, event_type, reason)
         values ($1, 1, 1, 'OrderCreated', 'a bug that was fixed')",
    )
    .bind(healthy.order_id.get())
    .execute(&fixture.pool)
    .await
    .unwrap();

    let rebuilt = Rebuild::new(fixture.projector.clone())
        .run(false, |_| ())
        .await
        .unwrap();

    assert_eq!(rebuilt.differing, 1, "{:?}", rebuilt.examples);
    assert_eq!(fixture.parked().await, [events[poison].order_id]);
    assert_eq!(
        fixture.stored_orders().await,
        fixture.expected_orders().await
    );
    let again = fixture
        .projector
        .refold(events[poison].order_id)
        .await
        .unwrap();
    assert!(matches!(again, Refolded::Parked(_)));
}

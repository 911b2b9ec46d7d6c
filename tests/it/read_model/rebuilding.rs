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
    World,
    history::{Dice, histories, store},
};

async fn world(seed: u64, orders: usize, events: usize) -> (World, Rebuild<super::PgEventStore>) {
    let world = World::new().await;
    store(&world.pool, &histories(&mut Dice(seed), orders, events)).await;
    world.projector.catch_up(|_| ()).await.unwrap();
    let rebuild = Rebuild::new(world.projector.clone());
    (world, rebuild)
}

/// Everything that the catalogue says of the read model's tables.
async fn catalogue(world: &World) -> Vec<String> {
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
    .fetch_all(&world.pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn a_rebuild_of_a_right_read_model_changes_nothing() {
    let (world, rebuild) = world(30, 60, 1500).await;
    world
        .run(
            "do $$ begin create role it_reports; exception when others then null; end $$;
              grant select on order_views, order_items to it_reports",
        )
        .await;
    let before = catalogue(&world).await;

    let rebuilt = rebuild.run(false, |_| ()).await.unwrap();

    assert_eq!(
        (rebuilt.events, rebuilt.differing),
        (1500, 0),
        "{:?}",
        rebuilt.examples
    );
    assert!(rebuilt.is_switched);
    assert_eq!(catalogue(&world).await, before);
    world.assert_caught_up().await;
}

#[tokio::test]
async fn a_rebuild_heals_what_differs_and_says_in_what() {
    let (world, rebuild) = world(31, 40, 600).await;
    world
        .run(
            "update order_views set total_minor = total_minor + 1
              where id = (select min(id::text)::uuid from order_views);
              delete from order_views where id = (select max(id::text)::uuid from order_views)",
        )
        .await;
    let wrong: Vec<uuid::Uuid> = sqlx::query_scalar("select id from order_views order by id")
        .fetch_all(&world.pool)
        .await
        .unwrap();

    let dry = rebuild.run(true, |_| ()).await.unwrap();
    assert_eq!(
        (dry.differing, dry.is_switched),
        (2, false),
        "{:?}",
        dry.examples
    );
    assert_ne!(world.folded().await.len(), wrong.len());

    let rebuilt = rebuild.run(false, |_| ()).await.unwrap();
    assert_eq!(rebuilt.differing, 2);
    let example = &rebuilt.examples[0];
    assert_eq!(
        (example.order_id, example.field.as_str()),
        (wrong[0], "total_minor")
    );
    assert_ne!(example.live, example.rebuilt);
    world.assert_caught_up().await;
}

#[tokio::test]
async fn readers_and_the_projector_go_on_while_a_rebuild_switches() {
    let (world, rebuild) = world(32, 50, 2000).await;
    let more = histories(&mut Dice(320), 50, 2000);
    let is_done = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));
    let orders = world.folded().await.len();
    let id = *world.folded().await.keys().next().unwrap();
    let readers = (0..3).map(|_| {
        let (views, is_done, reads) = (world.views.clone(), is_done.clone(), reads.clone());
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
                assert!(views.find(id.into()).await.unwrap().order.is_some());
                reads.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    let (pool, projector, flag) = (world.pool.clone(), world.projector.clone(), is_done.clone());
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
    world.projector.catch_up(|_| ()).await.unwrap();
    world.assert_caught_up().await;
}

#[tokio::test]
async fn a_rebuild_killed_at_any_moment_leaves_the_live_rows_and_can_run_again() {
    let (world, rebuild) = world(33, 40, 1500).await;
    let mut dice = Dice(33);
    for _ in 0..20 {
        let moment = Duration::from_millis(dice.below(250));
        let _ = timeout(moment, rebuild.run(false, |_| ())).await;

        world.assert_caught_up().await;
    }
    // The lock of the last one goes with its connection.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let rebuilt = loop {
        match rebuild.run(false, |_| ()).await {
            Err(RebuildError::Running) if tokio::time::Instant::now() < deadline => {}
            done => break done.unwrap(),
        }
    };

    assert_eq!((rebuilt.events, rebuilt.differing), (1500, 0));
    world.assert_caught_up().await;
}

#[tokio::test]
async fn a_rebuild_whose_connections_the_server_kills_leaves_the_live_rows() {
    let (world, _) = world(34, 40, 1500).await;
    let mut dice = Dice(34);
    for _ in 0..8 {
        let victim = world.on_pool_named("victim");
        let moment = Duration::from_millis(dice.below(150));
        let kill = async {
            tokio::time::sleep(moment).await;
            world
                .run(
                    "select pg_terminate_backend(pid) from pg_stat_activity
                     where datname = current_database() and application_name = 'victim'",
                )
                .await;
        };
        let rebuild = Rebuild::new(victim);
        let _ = tokio::join!(rebuild.run(false, |_| ()), kill);

        world.assert_caught_up().await;
    }
}

#[tokio::test]
async fn a_view_on_the_live_tables_is_named_before_the_work() {
    let (world, rebuild) = world(37, 5, 50).await;
    world
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
    world.assert_caught_up().await;
}

#[tokio::test]
async fn a_second_rebuild_says_that_one_is_running() {
    let (_world, rebuild) = world(35, 5, 100).await;

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
    let world = World::new().await;
    let mut planted = histories(&mut Dice(36), 12, 300);
    let poison = planted.iter().position(|event| event.version == 3).unwrap();
    planted[poison].event_type = "OrderMelted".to_owned();
    store(&world.pool, &planted).await;
    let healthy = planted
        .iter()
        .find(|event| event.order_id != planted[poison].order_id)
        .unwrap();
    world.projector.catch_up(|_| ()).await.unwrap();
    sqlx::query(
        "insert into projection_parked (order_id, version, position, event_type, reason)
         values ($1, 1, 1, 'OrderCreated', 'a bug, fixed since')",
    )
    .bind(healthy.order_id)
    .execute(&world.pool)
    .await
    .unwrap();

    let rebuilt = Rebuild::new(world.projector.clone())
        .run(false, |_| ())
        .await
        .unwrap();

    assert_eq!(rebuilt.differing, 1, "{:?}", rebuilt.examples);
    assert_eq!(world.parked().await, [planted[poison].order_id]);
    assert_eq!(world.shown().await, world.folded().await);
    let again = world
        .projector
        .unpark(planted[poison].order_id.into())
        .await
        .unwrap();
    assert!(matches!(again, Refolded::Parked(_)));
}

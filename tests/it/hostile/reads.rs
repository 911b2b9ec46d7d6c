//! Reads of one instance never go back, whatever happens to the instance, the database or a replica.

use std::{sync::Arc, time::Duration};

use orders::{
    live::FreshEvents,
    order::upcasters::upcasters,
    postgres::{self, PgEventStore, Writer, writer::WriterOptions},
    read_model::Projector,
};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use uuid::Uuid;

use crate::support::{
    TestApp,
    app::Answer,
    eventually,
    servers::{fresh_database, url_of_database},
};

/// Places an order and waits until reads show it. Returns its path.
async fn place(app: &TestApp) -> String {
    let placed = app.post("/v1/orders", &json!({"customerId": "c"})).await;
    assert_eq!(placed.status, 201, "{}", placed.text);
    app.wait_until_projected(placed.id(), 1).await;
    format!("/v1/orders/{}", placed.id())
}

/// Adds a line. Returns the answer.
async fn add_line(app: &TestApp, path: &str) -> Answer {
    let line = json!({"productId": "p", "quantity": 1, "price": "1"});
    let added = app.post(&format!("{path}/items"), &line).await;
    assert_eq!(added.status, 201, "{}", added.text);
    added
}

/// Runs statements in one transaction.
async fn run(database: &PgPool, statements: &'static str) {
    sqlx::raw_sql(statements)
        .execute(database)
        .await
        .expect("PostgreSQL answers");
}

/// What a read shows: status, version of the order, position.
fn shown(read: &Answer) -> (u16, i64, i64) {
    let position = read.header("projection-position").parse();
    let version = read.json()["version"].as_i64();
    (
        read.status,
        version.unwrap_or_default(),
        position.unwrap_or_default(),
    )
}

/// Makes all projectors wait, before they lock anything, but those that [`other_projector`] makes.
const HOLD_PROJECTORS: &str = "
    create function hold_projector() returns trigger language plpgsql as $$
    begin
        if current_setting('application_name') <> 'other' then
            perform pg_advisory_xact_lock(77);
        end if;
        return null;
    end $$;
    create trigger hold_projector before update on projection_checkpoint
        for each statement execute function hold_projector()";

/// The projector of another process.
fn other_projector(app: &TestApp) -> Projector<PgEventStore> {
    let options = postgres::connect_options(&app.database_url).expect("a URL");
    let options = options.application_name("other");
    let pool = postgres::pool(options.clone(), 2);
    let (_, writer) = Writer::new(options, WriterOptions::default(), FreshEvents::default());
    let store = PgEventStore::new(pool.clone(), writer, Duration::from_mins(1));
    let chain = upcasters("EUR".parse().expect("a currency")).expect("all upcasters");
    Projector::new(pool, store, Arc::new(chain))
}

#[tokio::test]
async fn a_view_in_memory_is_not_shown_after_a_newer_one_of_another_process() {
    let app = TestApp::start().await;
    let (kept, other) = (place(&app).await, place(&app).await);
    let mut holder = PgConnection::connect(&app.database_url).await.unwrap();
    let lock = sqlx::raw_sql("select pg_advisory_lock(77)");
    lock.execute(&mut holder).await.unwrap();
    run(&app.database, HOLD_PROJECTORS).await;

    // The process believes that it projects, keeps a view in memory, and has stopped at an event.
    app.get(&kept).await;
    add_line(&app, &other).await;
    eventually("the projector stands still", || async {
        let waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted
            and database = (select oid from pg_database where datname = current_database())";
        let waiting = sqlx::query_scalar::<_, i64>(waiting);
        (waiting.fetch_one(&app.database).await.ok()? == 1).then_some(())
    })
    .await;
    add_line(&app, &kept).await;
    // Its lease is taken early, and the other process applies the events.
    let end = other_projector(&app).catch_up(|_| ()).await.unwrap();

    assert_eq!(shown(&app.get(&other).await), (200, 2, end.get()));
    assert_eq!(shown(&app.get(&kept).await), (200, 2, end.get()));
    holder.close().await.unwrap();
    app.stop().await;
}

#[tokio::test]
async fn a_read_waits_for_rows_that_a_crash_of_postgresql_took_back() {
    let app = TestApp::start().await;
    // It does not project, so it has no views in memory.
    let reader = app.second().await;
    let path = place(&app).await;
    run(
        &app.database,
        "create table before as select * from order_views",
    )
    .await;
    let added = add_line(&app, &path).await;
    let token = [("consistency-token", added.header("consistency-token"))];
    assert_eq!(shown(&reader.get_with(&path, &token).await), (200, 2, 2));

    // The projector's commits are not flushed, so a crash takes rows and checkpoint back together.
    run(
        &app.database,
        "update projection_checkpoint set position = 1, revision = revision - 1;
         delete from order_items;
         delete from order_views;
         insert into order_views (id, customer_id, status, currency, total_minor, item_count,
                total_quantity, version, position, created_at, updated_at)
             select id, customer_id, status, currency, total_minor, item_count, total_quantity,
                 version, position, created_at, updated_at from before",
    )
    .await;

    assert_eq!(shown(&reader.get(&path).await), (200, 2, 2));
    let listed = reader.get("/v1/orders").await;
    assert_eq!(listed.json()["items"][0]["version"], 2);
    reader.stop().await;
    app.stop().await;
}

/// Makes the replica show one order at this version, which is also its position.
async fn set_replica(replica: &PgPool, order: Uuid, version: i32) {
    let set = format!(
        "update projection_checkpoint set position = {version};
         delete from order_views;
         insert into order_views (id, customer_id, status, currency, total_minor, item_count,
                total_quantity, version, position, created_at, updated_at)
             values ('{order}', 'c', 'created', 'EUR', 0, 0, 0, {version}, {version}, now(), now())"
    );
    let set = sqlx::raw_sql(AssertSqlSafe(set)).execute(replica).await;
    set.expect("PostgreSQL answers");
}

/// A service that reads from a replica, which gets only what the test gives it.
async fn with_replica() -> (TestApp, PgPool) {
    let (options, name) = fresh_database().await;
    let url = url_of_database(&name);
    let app = TestApp::start_with(|config| config.database_read_url = Some(url)).await;
    (app, PgPool::connect_lazy_with(options))
}

#[tokio::test]
async fn a_read_waits_for_a_replica_that_is_behind_an_earlier_read() {
    let (app, replica) = with_replica().await;
    let order = app
        .post("/v1/orders", &json!({"customerId": "c"}))
        .await
        .id();
    add_line(&app, &format!("/v1/orders/{order}")).await;
    let version = |read: &Answer| read.json()["items"][0]["version"].as_i64();

    set_replica(&replica, order, 2).await;
    assert_eq!(version(&app.get("/v1/orders").await), Some(2));
    // The next query meets another replica.
    set_replica(&replica, order, 1).await;
    let behind = app.get_with("/v1/orders", &[("prefer", "wait=0")]).await;
    let with = [("prefer", "wait=10")];
    let (waited, ()) = futures::join!(app.get_with("/v1/orders", &with), async {
        set_replica(&replica, order, 2).await;
    });

    assert_eq!(
        (behind.status, behind.code().as_str()),
        (503, "read_model_behind")
    );
    assert_eq!((waited.status, version(&waited)), (200, Some(2)));
    replica.close().await;
    app.stop().await;
}

#[tokio::test]
async fn a_view_in_memory_does_not_make_other_reads_wait_for_the_replica() {
    let (app, replica) = with_replica().await;
    let order = app
        .post("/v1/orders", &json!({"customerId": "c"}))
        .await
        .id();
    app.wait_until_caught_up().await;
    set_replica(&replica, order, 1).await;
    let path = format!("/v1/orders/{order}");
    assert_eq!(shown(&app.get(&path).await), (200, 1, 1));

    // The replica lacks the second order, the projector does not.
    app.post("/v1/orders", &json!({"customerId": "c"})).await;
    app.wait_until_caught_up().await;

    assert_eq!(shown(&app.get(&path).await), (200, 1, 1));
    let listed = app.get_with("/v1/orders", &[("prefer", "wait=0")]).await;
    assert_eq!(listed.status, 200, "{}", listed.text);
    replica.close().await;
    app.stop().await;
}

#[tokio::test]
async fn a_parked_order_is_shown_once_the_read_model_could_show_it() {
    let mut app = TestApp::start().await;
    app.may_park();
    // No row of the order can be written.
    app.may_differ();
    run(
        &app.database,
        "alter table order_views add constraint refused check (customer_id <> 'refused')",
    )
    .await;
    let order = json!({"customerId": "refused"});
    let parked = app.post("/v1/orders", &order).await;
    let path = format!("/v1/orders/{}", parked.id());
    app.wait_until_caught_up().await;
    let mut blocker = app.database.begin().await.unwrap();
    sqlx::raw_sql("select from projection_checkpoint for update")
        .execute(&mut *blocker)
        .await
        .unwrap();
    add_line(&app, &path).await;

    // If an operator brought the order back now, reads would show version 1.
    let behind = app.get_with(&path, &[("prefer", "wait=0")]).await;
    let with = [("prefer", "wait=10")];
    let (waited, ()) = futures::join!(app.get_with(&path, &with), async {
        blocker.rollback().await.expect("the projector continues");
    });

    assert_eq!(
        (behind.status, behind.code().as_str()),
        (503, "read_model_behind")
    );
    assert_eq!(behind.header("order-parked"), "version=1");
    assert_eq!(shown(&waited), (200, 2, 2));
    assert_eq!(waited.header("order-parked"), "version=1");
    app.stop().await;
}

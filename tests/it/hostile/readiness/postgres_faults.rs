//! A PostgreSQL that answers but takes no commands.

use orders::{event_sourcing::Pulse, postgres, sql::run_query};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{place, status, wait_for, wait_until_ok};
use crate::support::{
    TestApp,
    servers::{fresh_database, servers},
};

/// Makes the database refuse every event, as a full disk does.
const FILL: &str = "create function fill() returns trigger language plpgsql as $$ begin
        raise exception 'could not extend file: no space left on device' using errcode = 'disk_full';
    end $$;
    create trigger full_disk before insert on events for each statement execute function fill()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_unavailable_until_appends_succeed_again() {
    let app = TestApp::start().await;
    let idle = app.second().await;
    wait_until_ok(&app).await;

    sqlx::raw_sql(FILL).execute(&app.database).await.unwrap();
    let refused = place(&app).await;

    assert_eq!(
        (refused.status, refused.code().as_str()),
        (503, "store_unavailable")
    );
    // The other instance gets no command, and says so too.
    for instance in [&app, &idle] {
        let words = "the disk of PostgreSQL is full";
        let words = wait_for(instance, "postgres", "unavailable", words).await;
        assert!(words.starts_with("commands have failed for "), "{words}");
        assert!(!words.contains("extend file"), "{words}");
    }
    // No command comes any more: a trial finds out, and leaves nothing behind.
    sqlx::raw_sql("drop trigger full_disk on events")
        .execute(&app.database)
        .await
        .unwrap();
    for instance in [&app, &idle] {
        wait_until_ok(instance).await;
    }
    let events: i64 = sqlx::query_scalar("select count(*) from events")
        .fetch_one(&app.database)
        .await
        .unwrap();
    assert_eq!(events, 0);
    assert_eq!(place(&app).await.status, 201);
    idle.stop().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_writes_is_unavailable_before_any_command_fails() {
    let app = TestApp::start().await;
    wait_until_ok(&app).await;
    let name = app.config.nats_stream.clone();
    let mut server = PgConnection::connect(&servers().database_url)
        .await
        .unwrap();

    let mut run = async |statements: String| {
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&mut server)
            .await
            .unwrap();
    };
    run(format!(
        "alter database {name} set default_transaction_read_only = on;
         select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"
    ))
    .await;
    wait_for(&app, "postgres", "unavailable", "read-only").await;
    assert_eq!(status(&app).await, "unavailable");
    let refused = place(&app).await;
    assert_eq!(refused.status, 503);
    // The sessions of this time stay read-only: the service must not keep them.
    run(format!(
        "alter database {name} reset default_transaction_read_only"
    ))
    .await;

    wait_until_ok(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn a_session_that_takes_no_writes_is_not_used_again() {
    let (options, _) = fresh_database().await;
    let pool = postgres::pool(options, 1);
    let run = async |statements: &'static str| {
        run_query(&pool, &Pulse::unwatched(), async |session| {
            sqlx::raw_sql(statements).execute(session).await
        })
        .await
    };

    run("set default_transaction_read_only = on").await.unwrap();
    let refused = run("create table written ()").await;
    let accepted = run("create table written ()").await;

    assert!(refused.is_err_and(|error| error.is_transient()));
    assert!(accepted.is_ok(), "{accepted:?}");
}

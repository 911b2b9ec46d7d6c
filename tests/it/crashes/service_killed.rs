//! The service killed with SIGKILL.

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::sync::watch;

use super::{MIDDLE, assert_all_is_well, orders};
use crate::support::{
    eventually,
    servers::fresh_database,
    service::{DataDir, Service, assert_gone},
    shop::{Outcome, Shop},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_service_loses_no_command_and_applies_none_twice() {
    let data = DataDir::new("killed");
    let mut service = Service::embedded(&data).await;
    let (set_url, url) = watch::channel(service.url.clone());
    let shop = Shop::new(vec![url], orders());
    let load = shop.open();

    for _ in 0..2 {
        shop.ledger.progress(MIDDLE).await;
        assert!(!load.is_finished());
        let servers = service.descendants().await;
        service.kill_9().await;
        // Starts at once, while the servers of the killed service may still be ending.
        service = Service::embedded(&data).await;
        assert_gone(&servers).await;
        set_url.send(service.url.clone()).unwrap();
    }
    load.await.unwrap();

    assert!(shop.ledger.count(|outcome| outcome == Outcome::Unknown) > 0);
    assert_all_is_well(&shop, &data, &service.url).await;
}

/// When a service dies while one of its servers is stopped, the kernel sends SIGHUP and SIGCONT to
/// the server's process group, which includes the supervisor. The test sends SIGHUP itself, before
/// the kill, so that the order does not depend on chance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_killed_while_nats_is_stopped_leaves_no_server_behind() {
    let data = DataDir::new("killed-while-stopped");
    let service = Service::embedded(&data).await;
    let servers = service.descendants().await;
    kill(data.nats_pid().unwrap(), Signal::SIGSTOP).unwrap();
    let supervisors: Vec<_> = servers.iter().filter(|one| one.name == "sh").collect();
    assert!(supervisors.len() >= 2, "{servers:?}");
    for supervisor in supervisors {
        supervisor.signal(Signal::SIGHUP);
    }

    service.kill_9().await;

    assert_gone(&servers).await;
}

/// Killed between commit and answer. A kill under load reaches that moment only by chance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_was_stored_but_not_answered_is_replayed_by_the_next_service() {
    let (options, name) = fresh_database().await;
    let database = PgPool::connect_with(options).await.unwrap();
    let stored = || async {
        let stored = sqlx::query_scalar::<_, i64>("select count(*) from events");
        stored.fetch_one(&database).await.unwrap()
    };
    let service = Service::on_shared_servers(&name).await;
    let order = json!({"customerId": "17850.0"});
    let create = |url: &str| {
        let request = reqwest::Client::new().post(format!("{url}/v1/orders"));
        request.header("idempotency-key", "k").json(&order).send()
    };
    let mut append_lock = database.acquire().await.unwrap();
    sqlx::query("select pg_advisory_lock(7021839001)")
        .execute(&mut *append_lock)
        .await
        .unwrap();
    let unanswered = tokio::spawn(create(&service.url));
    eventually("the append waits in PostgreSQL", || async {
        let waits: bool = sqlx::query_scalar(
            "select exists (select from pg_locks l join pg_database d on d.oid = l.database
                            where d.datname = current_database()
                              and l.locktype = 'advisory' and not l.granted)",
        )
        .fetch_one(&database)
        .await
        .unwrap();
        waits.then_some(())
    })
    .await;

    // The service is stopped; PostgreSQL executes the statement that it has received.
    service.signal(Signal::SIGSTOP);
    sqlx::query("select pg_advisory_unlock(7021839001)")
        .execute(&mut *append_lock)
        .await
        .unwrap();
    eventually("the command is stored", || async {
        (stored().await == 1).then_some(())
    })
    .await;
    service.kill_9().await;
    assert!(unanswered.await.unwrap().is_err());

    let next = Service::on_shared_servers(&name).await;
    let answer = create(&next.url).await.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers()["idempotent-replayed"], "true");
    let first: Value = answer.json().await.unwrap();
    let again: Value = create(&next.url).await.unwrap().json().await.unwrap();
    assert_eq!(first, again);
    assert_eq!(stored().await, 1);
}

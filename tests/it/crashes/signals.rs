//! SIGTERM and SIGINT: accepted commands are answered, and no process is left.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{MIDDLE, STOP_LIMIT, orders};
use crate::support::{
    eventually,
    servers::fresh_database,
    service::{DataDir, Service, assert_gone},
    shop::Shop,
    truth,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_under_load_answers_every_accepted_command() {
    stops_cleanly_under_load("sigterm", Signal::SIGTERM).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigint_under_load_answers_every_accepted_command() {
    stops_cleanly_under_load("sigint", Signal::SIGINT).await;
}

async fn stops_cleanly_under_load(name: &str, signal: Signal) {
    let data = DataDir::new(name);
    let mut service = Service::embedded(&data).await;
    let servers = service.descendants().await;
    let names: Vec<&str> = servers.iter().map(|process| &*process.name).collect();
    assert!(
        names.contains(&"postgres") && names.contains(&"nats-server"),
        "{names:?}"
    );
    let shop = Shop::at(&service.url, orders());
    let load = shop.open();
    shop.ledger.progress(MIDDLE).await;
    // A request that is never completed must not delay the stop for long.
    let mut unfinished = unfinished_request(&service.url).await;

    service.signal(signal);
    let status = service.ended(STOP_LIMIT).await;

    assert_eq!(status.code(), Some(0), "{status}");
    let log = service.log();
    assert!(log.contains("stopped") && !log.contains("lost"), "{log}");
    assert!(!load.is_finished());
    load.abort();
    assert!(load.await.is_err());
    assert_gone(&servers).await;
    let mut rest = vec![];
    // The connection is reset or closed, not left open.
    let _ = unfinished.read_to_end(&mut rest).await;

    let _restarted = Service::embedded(&data).await;
    truth::assert_everything_stored_was_answered(&shop, &data.database()).await;
    data.assert_verifies().await;
}

/// The slowest command possible: PostgreSQL never finishes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_command_is_answered_before_the_service_stops() {
    let (options, name) = fresh_database().await;
    let database = PgPool::connect_with(options).await.unwrap();
    let mut service = Service::on_shared_servers(&name).await;
    let mut append_lock = database.acquire().await.unwrap();
    sqlx::query("select pg_advisory_lock(7021839001)")
        .execute(&mut *append_lock)
        .await
        .unwrap();
    let url = format!("{}/v1/orders", service.url);
    let order = json!({"customerId": "17850.0"});
    let command = tokio::spawn(reqwest::Client::new().post(url).json(&order).send());
    eventually("the command waits for the lock", || async {
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

    service.signal(Signal::SIGTERM);
    let answer = command.await.unwrap().expect("an answer");
    let status = service.ended(STOP_LIMIT).await;

    assert_eq!(answer.status(), 503);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["code"], "timeout");
    assert_eq!(status.code(), Some(0), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_stops_at_once() {
    let data = DataDir::new("second-signal");
    let mut service = Service::embedded(&data).await;
    let servers = service.descendants().await;
    // The service waits for this request.
    let mut unfinished = unfinished_request(&service.url).await;

    service.signal(Signal::SIGTERM);
    stops_listening(&service.url).await;
    assert!(service.is_running());
    service.signal(Signal::SIGINT);

    let status = service.ended(Duration::from_secs(3)).await;
    assert_eq!(status.code(), Some(1), "{status}");
    assert_gone(&servers).await;
    let _ = unfinished.shutdown().await;
}

/// A connection with a request of which the service has received only a part.
async fn unfinished_request(url: &str) -> TcpStream {
    let address = url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = "POST /v1/orders HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                expect: 100-continue\r\ncontent-length: 100\r\n\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100");
    connection.write_all(b"{\"customerId\":").await.unwrap();
    connection
}

/// Waits until the service accepts no more connections.
async fn stops_listening(url: &str) {
    let address = url.strip_prefix("http://").unwrap();
    eventually("the service accepts no more connections", || async {
        TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
}

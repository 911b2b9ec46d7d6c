//! Data and addresses stay over stops, kills and restarts.

use async_nats::jetstream::{self, stream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orders::embedded::{Embedded, EmbeddedOptions, PrivateNats, PrivatePostgres};
use sqlx::{Connection, Executor, PgConnection, Row};

use super::{connect, data_dir, recorded_pids, servers_of, until};
use crate::support::connect_to_nats;

async fn rows(url: &str) -> i64 {
    let row = connect(url)
        .await
        .fetch_one("select count(*) from kept")
        .await
        .unwrap();
    row.get(0)
}

/// The stream of the tests. A killed server may lose messages that it has not flushed, so it is
/// read only after clean stops.
async fn kept_stream(url: &str) -> stream::Stream {
    let context = jetstream::new(connect_to_nats(url).await.unwrap());
    let config = stream::Config {
        name: "KEPT".to_owned(),
        subjects: vec!["kept".to_owned()],
        ..stream::Config::default()
    };
    context.get_or_create_stream(config).await.unwrap()
}

async fn publish(url: &str, payload: Vec<u8>) {
    kept_stream(url).await;
    let context = jetstream::new(connect_to_nats(url).await.unwrap());
    context
        .publish("kept", payload.into())
        .await
        .unwrap()
        .await
        .unwrap();
}

#[tokio::test]
async fn data_survives_a_clean_stop() {
    let data = data_dir();
    let options = EmbeddedOptions::new(data.path());
    let servers = Embedded::start(&options).await.unwrap();
    let mut connection = connect(servers.database_url()).await;
    connection
        .execute("create table kept (id int); insert into kept values (1)")
        .await
        .unwrap();
    drop(connection);
    publish(servers.nats_url(), vec![b'x'; 7_000_000]).await;
    servers.stop().await;
    assert_eq!(servers_of(data.path()), Vec::<i32>::new());

    let servers = Embedded::start(&options).await.unwrap();

    assert_eq!(rows(servers.database_url()).await, 1);
    let mut stream = kept_stream(servers.nats_url()).await;
    assert_eq!(stream.info().await.unwrap().state.messages, 1);
    servers.stop().await;
}

#[tokio::test]
async fn the_database_is_durable_private_and_utf8() {
    let data = data_dir();
    let postgres = PrivatePostgres::start(&EmbeddedOptions::new(data.path()))
        .await
        .unwrap();
    let mut connection = connect(&postgres.database_url()).await;

    for (setting, expected) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("wal_segment_size", "1MB"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
        ("jit", "off"),
        ("TimeZone", "UTC"),
    ] {
        let show = sqlx::AssertSqlSafe(format!("show {setting}"));
        let value: String = connection.fetch_one(show).await.unwrap().get(0);
        assert_eq!(value, expected, "{setting}");
    }
    let collation = "select datcollate from pg_database where datname = current_database()";
    let collation: String = connection.fetch_one(collation).await.unwrap().get(0);
    assert_eq!(collation, "C");
}

#[tokio::test]
async fn a_killed_postgresql_starts_again_on_the_same_socket_with_every_commit() {
    let data = data_dir();
    let mut postgres = PrivatePostgres::start(&EmbeddedOptions::new(data.path()))
        .await
        .unwrap();
    let url = postgres.database_url();
    let mut connection = connect(&url).await;
    connection
        .execute("create table kept (id int); insert into kept values (1)")
        .await
        .unwrap();
    let first = postgres.pid();

    // A connection stays open, so that its backend outlives the server by a moment.
    postgres.kill().await;
    assert_eq!(postgres.pid(), None);
    postgres.restart().await.unwrap();

    assert_eq!(postgres.database_url(), url);
    assert_ne!(postgres.pid(), first);
    assert_eq!(rows(&url).await, 1);
    postgres.stop().await;
}

#[tokio::test]
async fn a_killed_nats_server_starts_again_on_the_same_port() {
    let data = data_dir();
    let mut nats = PrivateNats::start(&EmbeddedOptions::new(data.path()))
        .await
        .unwrap();
    let url = nats.nats_url();
    let first = nats.pid();

    nats.kill().await;
    assert!(connect_to_nats(&url).await.is_err());
    nats.restart().await.unwrap();

    assert_eq!(nats.nats_url(), url);
    assert_ne!(nats.pid(), first);
    connect_to_nats(&url).await.unwrap();
    nats.stop().await;
}

#[tokio::test]
async fn crashed_servers_are_restarted_at_the_same_addresses() {
    let data = data_dir();
    let servers = Embedded::start(&EmbeddedOptions::new(data.path()))
        .await
        .unwrap();
    let crashed = recorded_pids(data.path());

    for pid in crashed {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }

    until("PostgreSQL answers again", async || {
        PgConnection::connect(servers.database_url()).await.is_ok()
    })
    .await;
    until("NATS answers again", async || {
        connect_to_nats(servers.nats_url()).await.is_ok()
    })
    .await;
    servers.stop().await;
    assert_eq!(servers_of(data.path()), Vec::<i32>::new());
}

//! One private PostgreSQL and one NATS for the whole test process, started by the embedded module.
//! Each test has its own database and its own JetStream stream, so that all can run at once.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
    sync::OnceLock,
};

use orders::{
    embedded::{Embedded, EmbeddedOptions},
    postgres,
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;

use super::small_disk;

/// The URLs of the servers.
#[derive(Debug, Clone)]
pub struct Servers {
    pub database_url: String,
    pub nats_url: String,
}

/// The servers of this process. The first call starts them; they end with the process.
pub fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        // They need their own thread and runtime: a test's runtime ends with the test.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let directory = fresh_directory();
                let embedded = Embedded::start(&EmbeddedOptions::new(&directory))
                    .await
                    .expect("the embedded servers start");
                let servers = Servers {
                    database_url: embedded.database_url().to_owned(),
                    nats_url: embedded.nats_url().to_owned(),
                };
                sender.send(servers).expect("a test waits");
                std::future::pending::<()>().await;
            });
        });
        receiver.recv().expect("the embedded servers start")
    })
}

/// A new data directory. Directories of ended test processes are removed.
fn fresh_directory() -> PathBuf {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name
            .strip_prefix("it-")
            .and_then(|id| id.parse::<i32>().ok());
        let is_running = process
            .is_some_and(|id| nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), None).is_ok());
        if process.is_some() && !is_running {
            small_disk::unmount_below(&entry.path());
            // If this fails, the next process tries again.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    process_directory()
}

/// The directory with the data of this process.
pub fn process_directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("it-{}", std::process::id()))
}

/// The connect options of a new database with the current schema, and its name.
pub async fn fresh_database() -> (PgConnectOptions, String) {
    let name = format!("test_{}", Uuid::now_v7().simple());
    let options = PgConnectOptions::from_str(&servers().database_url).expect("a URL");
    let mut connection = PgConnection::connect_with(&options)
        .await
        .expect("PostgreSQL answers");
    connection
        .execute(AssertSqlSafe(format!("create database {name}")))
        .await
        .expect("a database is created");
    connection.close().await.expect("the connection closes");
    let options = postgres::connect_options(&servers().database_url)
        .expect("a URL")
        .database(&name);
    postgres::prepare(&options, false)
        .await
        .expect("migrations apply");
    (options, name)
}

/// The URL of a database on the shared server.
pub fn url_of_database(name: &str) -> String {
    let url = &servers().database_url;
    let (before, query) = url
        .split_once('?')
        .map_or((url.as_str(), ""), |parts| parts);
    let (server, _) = before.rsplit_once('/').expect("a URL with a database");
    if query.is_empty() {
        format!("{server}/{name}")
    } else {
        format!("{server}/{name}?{query}")
    }
}

//! The private PostgreSQL and nats-server: start, stop, crash, and start again.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, stream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orders::embedded::{Embedded, EmbeddedOptions, PrivateNats, PrivatePostgres};
use sqlx::{Connection, Executor, PgConnection, Row};
use tempfile::TempDir;
use tokio::time::sleep;

const LIMIT: Duration = Duration::from_secs(20);

/// A directory that PostgreSQL's user can enter when the tests run as root.
fn data_dir() -> TempDir {
    let open = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new()
        .permissions(open)
        .tempdir()
        .unwrap()
}

/// The pids of the processes, not the supervisors, that work on a directory.
fn servers_of(directory: &Path) -> Vec<i32> {
    let listed = Command::new("ps")
        .args(["-A", "-ww", "-o", "pid=,command="])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let name = directory.display().to_string();
    text.lines()
        .filter_map(|line| line.trim().split_once(' '))
        .filter(|(_, command)| command.contains(&name) && !command.trim().starts_with("/bin/sh"))
        .filter_map(|(pid, _)| pid.parse().ok())
        .collect()
}

/// The pids of the two servers, as they say themselves: a process that PostgreSQL has only just
/// forked looks like the server for a moment.
fn recorded_pids(directory: &Path) -> [i32; 2] {
    ["postgres/data/postmaster.pid", "nats/nats-server.pid"].map(|file| {
        let text = std::fs::read_to_string(directory.join(file)).unwrap();
        text.lines().next().unwrap().trim().parse().unwrap()
    })
}

/// The pids of the supervising shells of a directory's servers.
fn supervisors_of(directory: &Path) -> Vec<i32> {
    let listed = Command::new("ps")
        .args(["-A", "-ww", "-o", "pid=,command="])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let name = directory.display().to_string();
    let mut pids = Vec::new();
    let mut in_script = None;
    for line in text.lines() {
        // The script is many lines long; the directory stands on its last one.
        if let Some((pid, command)) = line.trim().split_once(' ')
            && let Ok(pid) = pid.parse::<i32>()
        {
            in_script = command.trim().starts_with("/bin/sh").then_some(pid);
        }
        if line.contains(&name)
            && let Some(pid) = in_script
        {
            pids.push(pid);
        }
    }
    pids
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

async fn rows(url: &str) -> i64 {
    let row = connect(url)
        .await
        .fetch_one("select count(*) from kept")
        .await
        .unwrap();
    row.get(0)
}

/// The stream of the tests. With few flushes a killed server might lose messages, so it is read
/// only after clean stops.
async fn kept_stream(url: &str) -> stream::Stream {
    let context = jetstream::new(async_nats::connect(url).await.unwrap());
    let config = stream::Config {
        name: "KEPT".to_owned(),
        subjects: vec!["kept".to_owned()],
        ..stream::Config::default()
    };
    context.get_or_create_stream(config).await.unwrap()
}

async fn publish(url: &str, payload: Vec<u8>) {
    kept_stream(url).await;
    let context = jetstream::new(async_nats::connect(url).await.unwrap());
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

    let began = Instant::now();
    let servers = Embedded::start(&options).await.unwrap();
    println!("second start took {:?}", began.elapsed());

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

    // A connection stays open: its backend outlives the server by a moment.
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
    assert!(async_nats::connect(&url).await.is_err());
    nats.restart().await.unwrap();

    assert_eq!(nats.nats_url(), url);
    assert_ne!(nats.pid(), first);
    async_nats::connect(&url).await.unwrap();
    nats.stop().await;
}

#[tokio::test]
async fn servers_that_crash_are_restarted_at_the_same_addresses() {
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
        async_nats::connect(servers.nats_url()).await.is_ok()
    })
    .await;
    servers.stop().await;
    assert_eq!(servers_of(data.path()), Vec::<i32>::new());
}

#[tokio::test]
async fn servers_end_when_their_owner_is_dropped_without_a_stop() {
    let data = data_dir();
    let options = EmbeddedOptions::new(data.path());
    let (postgres, nats) = tokio::try_join!(
        PrivatePostgres::start(&options),
        PrivateNats::start(&options)
    )
    .unwrap();

    // What the kernel does to a killed service's pipes.
    drop((postgres, nats));

    until("no server is left", async || {
        servers_of(data.path()).is_empty()
    })
    .await;
}

#[tokio::test]
async fn orphans_of_a_killed_supervisor_are_stopped_by_the_next_start() {
    let data = data_dir();
    let options = EmbeddedOptions::new(data.path());
    let (postgres, nats) = tokio::try_join!(
        PrivatePostgres::start(&options),
        PrivateNats::start(&options)
    )
    .unwrap();
    let orphans = recorded_pids(data.path());
    let supervisors = supervisors_of(data.path());
    // Each server has a shell, and the shell's subshell that watches the pipe.
    assert_eq!(
        (orphans.len(), supervisors.len()),
        (2, 4),
        "{supervisors:?}"
    );
    for pid in supervisors {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    drop((postgres, nats));
    for pid in orphans {
        kill(Pid::from_raw(pid), None).unwrap();
    }

    let servers = Embedded::start(&options).await.unwrap();

    connect(servers.database_url()).await;
    let running = servers_of(data.path());
    assert!(
        orphans.iter().all(|pid| !running.contains(pid)),
        "{orphans:?} {running:?}"
    );
    servers.stop().await;
}

#[tokio::test]
async fn a_reused_pid_in_a_stale_pid_file_does_not_prevent_a_start() {
    let data = data_dir();
    let mut postgres = PrivatePostgres::start(&EmbeddedOptions::new(data.path()))
        .await
        .unwrap();
    let pid_file = data.path().join("postgres/data/postmaster.pid");
    postgres.kill().await;
    let stale = std::fs::read_to_string(&pid_file).unwrap();
    // Another program of the same user, as far as PostgreSQL can see.
    let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
    let (_, rest) = stale.split_once('\n').unwrap();
    std::fs::write(&pid_file, format!("{}\n{rest}", stranger.id())).unwrap();

    let outcome = postgres.restart().await;

    assert!(stranger.try_wait().unwrap().is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    outcome.unwrap();
    postgres.stop().await;
}

#[tokio::test]
async fn a_second_start_on_the_same_directory_is_refused() {
    let data = data_dir();
    let options = EmbeddedOptions::new(data.path());
    let servers = Embedded::start(&options).await.unwrap();

    let refused = Embedded::start(&options).await.unwrap_err().to_string();

    let expected = format!("is in use by process {}", std::process::id());
    assert!(
        refused.starts_with("data directory ") && refused.ends_with(&expected),
        "{refused}"
    );
    servers.stop().await;
}

#[tokio::test]
async fn a_first_start_that_was_killed_half_way_is_begun_anew() {
    let data = data_dir();
    let unfinished = data.path().join("postgres/data.unfinished");
    std::fs::create_dir_all(&unfinished).unwrap();
    std::fs::write(unfinished.join("PG_VERSION"), "15").unwrap();

    let postgres = PrivatePostgres::start(&EmbeddedOptions::new(data.path()))
        .await
        .unwrap();

    connect(&postgres.database_url()).await;
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn a_server_that_ends_at_its_start_says_why() {
    let data = data_dir();
    let options = EmbeddedOptions::new(data.path());
    let mut postgres = PrivatePostgres::start(&options).await.unwrap();
    postgres.stop().await;
    let control = data.path().join("postgres/data/global/pg_control");
    std::fs::remove_file(control).unwrap();

    let error = postgres.restart().await.unwrap_err().to_string();

    assert!(
        error.starts_with("PostgreSQL ended with exit status"),
        "{error}"
    );
    assert!(error.contains("pg_control"), "{error}");
}

#[tokio::test]
async fn as_root_the_data_goes_elsewhere_where_postgresql_cannot_enter_the_directory() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let closed = std::fs::Permissions::from_mode(0o700);
    let data = tempfile::Builder::new()
        .permissions(closed)
        .tempdir()
        .unwrap();
    let options = EmbeddedOptions::new(data.path());

    let mut postgres = PrivatePostgres::start(&options).await.unwrap();
    connect(&postgres.database_url()).await;
    postgres.stop().await;
    drop(postgres);
    let mut again = PrivatePostgres::start(&options).await.unwrap();
    connect(&again.database_url()).await;
    again.stop().await;

    let home = std::fs::read_link(data.path().join("postgres")).unwrap();
    assert!(home.starts_with("/var/lib/orders"), "{}", home.display());
    std::fs::remove_dir_all(home).unwrap();
}

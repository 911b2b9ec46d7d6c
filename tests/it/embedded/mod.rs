//! The embedded PostgreSQL and nats-server: start, stop, crash and restart.

mod orphans;
mod restarts;
mod starts;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::time::sleep;

const DEADLINE: Duration = Duration::from_secs(20);

/// A data directory that PostgreSQL's user can enter, also when the tests run as root.
fn data_dir() -> TempDir {
    let permissions = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new()
        .permissions(permissions)
        .tempdir()
        .unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// The pids of the servers that use a directory, without their supervisors.
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

/// The pids of the two servers, from their pid files. In the list of processes, a process that
/// PostgreSQL has just forked looks like the server for a moment.
fn recorded_pids(directory: &Path) -> [i32; 2] {
    ["postgres/data/postmaster.pid", "nats/nats-server.pid"].map(|file| {
        let text = std::fs::read_to_string(directory.join(file)).unwrap();
        text.lines().next().unwrap().trim().parse().unwrap()
    })
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

//! Creates PostgreSQL's data directory, completely or not at all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tracing::info;

use super::error::EmbeddedError;
use super::supervisor::bare_command;
use super::system_user::SystemUser;

/// The role that owns everything. It has no password, because only the users of the service and of
/// PostgreSQL can reach the socket.
pub(super) const SUPERUSER: &str = "orders";
/// The name of the service's database.
pub(super) const DATABASE: &str = "orders";

/// The major version of the PostgreSQL that created this data directory; `None` if it does not
/// exist.
pub(super) fn major_version(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("PG_VERSION"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Creates the data directory `home/data` with the database in it.
///
/// It is created under another name, flushed to disk, and renamed at the end. So a start that is
/// killed before its end leaves nothing that a later start could take for a data directory.
pub(super) async fn create(
    bin: &Path,
    home: &Path,
    user: Option<SystemUser>,
) -> Result<(), EmbeddedError> {
    let started = Instant::now();
    let unfinished = home.join("data.unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(EmbeddedError::file("remove", &unfinished))?;
    }
    let command = |program: &str| -> (PathBuf, Command) {
        let file = bin.join(program);
        let command = bare_command(&file, home, user);
        (file, command)
    };

    let (file, mut initdb) = command("initdb");
    initdb
        // One flush at the end instead of one for each step; no instructions in the output.
        .args(["--no-sync", "--no-instructions"])
        // The C locale compares bytes: fast, and the same on every machine.
        .args(["--encoding=UTF8", "--locale=C", "--data-checksums"])
        // Small log files: while the log of a new database grows, a commit waits until the next
        // file is filled with zeros and flushed. That takes 25 ms for the default of 16 MB; small
        // files halve the p99.9 under load.
        .arg("--wal-segsize=1")
        .args(["--auth=trust", "--username", SUPERUSER, "--pgdata"])
        .arg(&unfinished);
    run_to_end(&file, initdb, "").await?;

    let (file, mut single) = command("postgres");
    single
        .args(["--single", "-F", "-c", "exit_on_error=true", "-D"])
        .arg(&unfinished);
    single.arg("postgres");
    run_to_end(&file, single, &format!("create database {DATABASE}\n")).await?;

    include_settings(&unfinished.join("postgresql.conf"))?;

    let (file, mut sync) = command("initdb");
    sync.arg("--sync-only").arg("--pgdata").arg(&unfinished);
    run_to_end(&file, sync, "").await?;

    let data = home.join("data");
    fs::rename(&unfinished, &data).map_err(EmbeddedError::file("create", &data))?;
    fs::File::open(home)
        .and_then(|directory| directory.sync_all())
        .map_err(EmbeddedError::file("flush", home))?;
    info!(directory = %data.display(), elapsed = ?started.elapsed(), "PostgreSQL data directory created");
    Ok(())
}

/// Makes PostgreSQL read the generated settings file. The file is beside the data directory,
/// because that holds only files of PostgreSQL's own user.
fn include_settings(conf: &Path) -> Result<(), EmbeddedError> {
    let text = fs::read_to_string(conf).map_err(EmbeddedError::file("read", conf))?;
    let text = format!("{text}\n# The settings of `orders serve`.\ninclude '../orders.conf'\n");
    // Overwritten, not replaced, so that it keeps its owner.
    fs::write(conf, text).map_err(EmbeddedError::file("write", conf))
}

/// Runs a program to its end, with `input` as its standard input.
///
/// # Errors
/// The program cannot be run or fails.
async fn run_to_end(file: &Path, mut command: Command, input: &str) -> Result<(), EmbeddedError> {
    let failed = |source| EmbeddedError::Run {
        program: file.to_owned(),
        source,
    };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    if let Some(mut pipe) = child.stdin.take() {
        // Fails if the program has ended early; its output then explains why.
        let _ = pipe.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.trim().lines().rev().take(15).collect();
    Err(EmbeddedError::Preparation {
        program: file.display().to_string(),
        status: output.status.to_string(),
        output: lines.into_iter().rev().collect::<Vec<_>>().join("\n"),
    })
}

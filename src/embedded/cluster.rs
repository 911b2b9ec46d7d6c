//! Creates PostgreSQL's data directory, all of it or nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tracing::info;

use super::account::Account;
use super::error::EmbeddedError;
use super::supervisor::bare_command;

/// The role that owns everything. Only the service's (and PostgreSQL's) own user can reach the
/// socket, so no password guards it.
pub(super) const SUPERUSER: &str = "orders";
/// The service's database.
pub(super) const DATABASE: &str = "orders";

/// The version of PostgreSQL that made a data directory, if there is one.
pub(super) fn major_version(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("PG_VERSION"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Creates `home/data` with the database in it.
///
/// Everything is made under another name, flushed to disk, and renamed at the end, so a start that
/// is killed half way leaves nothing that a later one could take for a data directory.
pub(super) async fn create(
    bin: &Path,
    home: &Path,
    account: Option<Account>,
) -> Result<(), EmbeddedError> {
    let began = Instant::now();
    let unfinished = home.join("data.unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(EmbeddedError::file("remove", &unfinished))?;
    }
    let run = |program: &str| -> (PathBuf, Command) {
        let file = bin.join(program);
        let command = bare_command(&file, home, account);
        (file, command)
    };

    let (file, mut initdb) = run("initdb");
    initdb
        // One flush at the end instead of one for each step; no hints for a human.
        .args(["--no-sync", "--no-instructions"])
        // Bytes compare as bytes: fast, and the same on every machine.
        .args(["--encoding=UTF8", "--locale=C", "--data-checksums"])
        // While the log still grows, whoever commits waits until its next file is filled with zeros
        // and flushed: 25 ms for the usual 16 MB, and the slowest commands of a young database
        // (p99.9 under load: half with small files).
        .arg("--wal-segsize=1")
        .args(["--auth=trust", "--username", SUPERUSER, "--pgdata"])
        .arg(&unfinished);
    finish(&file, initdb, "").await?;

    let (file, mut single) = run("postgres");
    single
        .args(["--single", "-F", "-c", "exit_on_error=true", "-D"])
        .arg(&unfinished);
    single.arg("postgres");
    finish(&file, single, &format!("create database {DATABASE}\n")).await?;

    include_settings(&unfinished.join("postgresql.conf"))?;

    let (file, mut sync) = run("initdb");
    sync.arg("--sync-only").arg("--pgdata").arg(&unfinished);
    finish(&file, sync, "").await?;

    let data = home.join("data");
    fs::rename(&unfinished, &data).map_err(EmbeddedError::file("create", &data))?;
    fs::File::open(home)
        .and_then(|directory| directory.sync_all())
        .map_err(EmbeddedError::file("flush", home))?;
    info!(directory = %data.display(), elapsed = ?began.elapsed(), "created a PostgreSQL data directory");
    Ok(())
}

/// Makes PostgreSQL read the generated settings. They lie beside the data directory, which holds
/// files of PostgreSQL's own user only.
fn include_settings(conf: &Path) -> Result<(), EmbeddedError> {
    let text = fs::read_to_string(conf).map_err(EmbeddedError::file("read", conf))?;
    let text = format!("{text}\n# The settings of `orders serve`.\ninclude '../orders.conf'\n");
    // Written through and not anew, so that it stays PostgreSQL's own file.
    fs::write(conf, text).map_err(EmbeddedError::file("write", conf))
}

/// Runs a program to its end, with `input` as its standard input.
async fn finish(file: &Path, mut command: Command, input: &str) -> Result<(), EmbeddedError> {
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
        // A program that ended early has its own, better explanation.
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

//! What can go wrong with the embedded servers.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

/// The reason why an embedded server could not be prepared, started or stopped.
#[derive(Debug, Error)]
pub enum EmbeddedError {
    /// Another process holds the directory's lock.
    #[error("data directory {} is in use by process {holder}", directory.display())]
    InUse {
        /// The directory that was asked for.
        directory: PathBuf,
        /// The holder's process id as it wrote it, or `unknown`.
        holder: String,
    },
    /// A server program is not on this machine, or none of them will do.
    #[error(
        "{program} {needed} was not found{seen}; install it with {install} or `make tools`, \
         or name it in {variable}"
    )]
    MissingProgram {
        /// The program's name.
        program: &'static str,
        /// The versions that will do.
        needed: String,
        /// The programs that were found but will not do, and why: ` (…)` or nothing.
        seen: String,
        /// The commands that install it, by package source.
        install: &'static str,
        /// The environment variable that names it.
        variable: &'static str,
    },
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A program could not be run at all.
    #[error("cannot run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A program that prepares the data directory failed.
    #[error("{program} ended with {status}: {output}")]
    Preparation {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// A server ended before it was ready.
    #[error("{server} ended with {status} before it was ready; {} ends with: {tail}", log.display())]
    EndedAtStart {
        /// The server.
        server: &'static str,
        /// How it ended.
        status: String,
        /// Its log file.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
    /// A server runs but did not become ready in time.
    #[error("{server} was not ready after {} s; {} ends with: {tail}", waited.as_secs(), log.display())]
    NotReady {
        /// The server.
        server: &'static str,
        /// How long it was waited for.
        waited: Duration,
        /// Its log file.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
    /// A server that an earlier service left behind cannot be stopped.
    #[error("process {pid} still runs on {} and cannot be stopped", directory.display())]
    Leftover {
        /// The process.
        pid: i32,
        /// The directory that it holds.
        directory: PathBuf,
    },
    /// The place of the unix socket is taken by somebody else.
    #[error("socket directory {} is not a directory of user {user} alone", path.display())]
    SocketDirectory {
        /// The directory.
        path: PathBuf,
        /// The user id that it should belong to.
        user: u32,
    },
    /// Running as root on a machine with no account to run PostgreSQL as.
    #[error(
        "PostgreSQL does not run as root, and this machine has neither user postgres nor nobody"
    )]
    NoAccount,
}

impl EmbeddedError {
    /// Wraps the failure of `action` on `path`, for `map_err`.
    pub(super) fn file(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}

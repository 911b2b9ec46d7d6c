//! The errors of the embedded servers.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

/// Why an embedded server could not be prepared, started or stopped.
#[derive(Debug, Error)]
pub enum EmbeddedError {
    /// Another process holds the directory's lock.
    #[error("data directory {} is in use by process {holder}", directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The process id of the holder, or `unknown`.
        holder: String,
    },
    /// This machine has no suitable server program.
    #[error(
        "{program} {needed} was not found{seen}; install it with {install} or `make tools`, \
         or set {variable}"
    )]
    MissingProgram {
        /// The program's name.
        program: &'static str,
        /// The suitable versions.
        needed: String,
        /// The unsuitable programs that were found, and why: ` (…)` or nothing.
        seen: String,
        /// The commands that install it.
        install: &'static str,
        /// The environment variable that sets its place.
        variable: &'static str,
    },
    /// A file operation failed.
    #[error("cannot {action} {}", path.display())]
    File {
        /// The operation, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A program could not be run.
    #[error("cannot run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A program that prepares the data directory failed.
    #[error("{program} ended with {status}: {output}")]
    Preparation {
        /// The program.
        program: String,
        /// Its exit status.
        status: String,
        /// The end of its output.
        output: String,
    },
    /// A server ended before it was ready.
    #[error("{server} ended with {status} before it was ready; {} ends with: {tail}", log.display())]
    EndedAtStart {
        /// The server's name.
        server: &'static str,
        /// Its exit status.
        status: String,
        /// Its log file.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
    /// A server did not become ready in time.
    #[error("{server} was not ready after {} s; {} ends with: {tail}", waited.as_secs(), log.display())]
    NotReady {
        /// The server's name.
        server: &'static str,
        /// How long the start waited.
        waited: Duration,
        /// Its log file.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
    /// A server of an earlier service cannot be stopped.
    #[error("process {pid} still uses {} and cannot be stopped", directory.display())]
    Orphan {
        /// The process id.
        pid: i32,
        /// The directory that it uses.
        directory: PathBuf,
    },
    /// The socket directory is not private to the server's user.
    #[error("socket directory {} is not private to the user with id {uid}", path.display())]
    SocketDirectory {
        /// The directory.
        path: PathBuf,
        /// The id of the server's user.
        uid: u32,
    },
    /// The service runs as root, and this machine has no user to run the servers as.
    #[error(
        "the embedded servers do not run as root, and this machine has neither user postgres nor \
         nobody"
    )]
    NoSystemUser,
}

impl EmbeddedError {
    /// The error of `action` on `path`, for `map_err`.
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

//! A private PostgreSQL server.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::time::sleep;
use tracing::debug;

use super::directory::{self, DirectoryLock, rotate_log};
use super::error::EmbeddedError;
use super::options::EmbeddedOptions;
use super::orphan::OrphanServer;
use super::postgres_init;
use super::postgres_settings::settings;
use super::postgres_socket::{database_url, prepare_socket_directory, socket_directory};
use super::programs::find_postgres;
use super::server_home::make_home;
use super::supervisor::{Program, StopStep, SupervisedServer};
use super::system_user::SystemUser;

/// Fast shutdown (ends the sessions and writes a checkpoint), immediate shutdown (the next start
/// does a recovery), and the signal that cannot be refused.
const STOP_STEPS: &[StopStep] = &[
    (Signal::SIGINT, Duration::from_secs(5)),
    (Signal::SIGQUIT, Duration::from_secs(2)),
    (Signal::SIGKILL, Duration::from_secs(2)),
];
/// How long the backends of a killed server may take to end. Until then a new server does not
/// start.
const BACKENDS_DEADLINE: Duration = Duration::from_secs(15);
const BACKENDS_POLL_INTERVAL: Duration = Duration::from_millis(50);
const READY_POLL_INTERVAL: Duration = Duration::from_millis(3);

/// A private PostgreSQL server: one directory, one unix socket, one database `orders`.
///
/// The socket's path depends only on the data directory, so the URL stays the same over restarts.
/// Dropping the value stops the server without waiting for its end.
#[derive(Debug)]
pub struct PrivatePostgres {
    bin: PathBuf,
    home: PathBuf,
    socket_directory: PathBuf,
    user: Option<SystemUser>,
    process: Option<SupervisedServer>,
    _lock: DirectoryLock,
}

impl PrivatePostgres {
    /// Starts the server on `<data_dir>/postgres` and waits until it accepts connections. The first
    /// start creates the data directory.
    ///
    /// # Errors
    /// The program is missing, the directory is in use or cannot be used, or the server ends before
    /// it is ready.
    pub async fn start(options: &EmbeddedOptions) -> Result<Self, EmbeddedError> {
        let data_dir = directory::make(&options.data_dir)?;
        let user = SystemUser::for_server(&data_dir.join("postgres"))?;
        let home = make_home(&data_dir, "postgres", user).await?;
        let lock = DirectoryLock::take(&home)?;
        let data = home.join("data");
        let bin = find_postgres(options, user, postgres_init::major_version(&data)).await?;
        if !data.exists() {
            postgres_init::create(&bin, &home, user).await?;
        }
        let socket_directory = socket_directory(&home);
        let mut postgres = Self {
            bin,
            home,
            socket_directory,
            user,
            process: None,
            _lock: lock,
        };
        postgres.launch().await?;
        Ok(postgres)
    }

    /// The URL of the server of this data directory, if another process runs one.
    ///
    /// # Errors
    /// The data directory cannot be used.
    pub fn running(options: &EmbeddedOptions) -> Result<Option<String>, EmbeddedError> {
        let Ok(home) = fs::canonicalize(options.data_dir.join("postgres")) else {
            return Ok(None);
        };
        match DirectoryLock::take(&home) {
            Ok(_lock) => Ok(None),
            Err(EmbeddedError::InUse { .. }) => Ok(Some(database_url(&socket_directory(&home)))),
            Err(error) => Err(error),
        }
    }

    /// Starts the server again on the same data and socket, after `stop`, `kill` or a crash. Stops
    /// it first if it runs.
    ///
    /// # Errors
    /// The server ends before it is ready.
    pub async fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.stop().await;
        self.launch().await
    }

    /// Stops the server cleanly: with a fast shutdown, after five seconds with an immediate one.
    pub async fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop().await;
        }
        // Fails if a killed server has left its socket; the next start removes that.
        let _ = fs::remove_dir(&self.socket_directory);
    }

    /// Kills the server with SIGKILL.
    pub async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Waits until the server ends without being asked to, and returns its exit status as text.
    /// Never completes if no server runs.
    pub async fn exited(&mut self) -> String {
        match &mut self.process {
            Some(process) => process.exited().await,
            None => std::future::pending().await,
        }
    }

    /// The server's process id; `None` after `stop` and `kill`.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.process.as_ref().map(SupervisedServer::pid)
    }

    /// The database URL, for `sqlx` and `psql`. It stays the same over restarts.
    #[must_use]
    pub fn database_url(&self) -> String {
        database_url(&self.socket_directory)
    }

    /// Starts the server, and tries again while backends of a killed server are still ending.
    async fn launch(&mut self) -> Result<(), EmbeddedError> {
        let data = self.home.join("data");
        let pid_file = data.join("postmaster.pid");
        let orphan = OrphanServer {
            pid_file: &pid_file,
            program: "postgres",
            data: &data,
            stop_steps: STOP_STEPS,
        };
        orphan.stop().await?;
        prepare_socket_directory(&self.socket_directory, self.user)?;
        let settings_file = self.home.join("orders.conf");
        directory::write_new(&settings_file, &settings(&self.socket_directory))?;
        rotate_log(&self.log());
        let deadline = Instant::now() + BACKENDS_DEADLINE;
        loop {
            match self
                .launch_once(&data, &pid_file, orphan.recorded_pid())
                .await
            {
                Err(EmbeddedError::EndedAtStart { tail, .. })
                    if tail.contains("pre-existing shared memory block")
                        && Instant::now() < deadline =>
                {
                    debug!("waiting for the backends of a killed PostgreSQL");
                    sleep(BACKENDS_POLL_INTERVAL).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn launch_once(
        &mut self,
        data: &Path,
        pid_file: &Path,
        stale_pid: Option<i32>,
    ) -> Result<(), EmbeddedError> {
        let mut environment = Vec::new();
        if let Some(pid) = stale_pid {
            // The recorded pid may now belong to any process, and PostgreSQL would take that for a
            // running server. It ignores the pid in this variable (meant for callers of pg_ctl).
            // Removing the pid file instead would also remove PostgreSQL's protection against
            // backends that are still alive.
            environment.push(("PG_GRANDPARENT_PID", pid.to_string()));
        }
        let file = self.bin.join("postgres");
        let program = Program {
            name: "PostgreSQL",
            file: &file,
            arguments: vec!["-D".into(), data.into()],
            environment,
            directory: &self.home,
            log: self.log(),
            user: self.user,
            stop_steps: STOP_STEPS,
        };
        let process = SupervisedServer::start(&program, |pid| wait_until_ready(pid_file, pid));
        self.process = Some(process.await?);
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.home.join("postgresql.log")
    }
}

/// Waits until the pid file says that the server accepts connections. `pg_ctl --wait` does the
/// same.
async fn wait_until_ready(pid_file: &Path, pid: i32) {
    loop {
        if fs::read_to_string(pid_file).is_ok_and(|text| is_ready(&text, pid)) {
            return;
        }
        sleep(READY_POLL_INTERVAL).await;
    }
}

/// Whether a pid file names this server and says `ready`: the first line is the pid, the eighth one
/// the state.
fn is_ready(pid_file: &str, pid: i32) -> bool {
    let mut lines = pid_file.lines().map(str::trim);
    lines.next() == Some(pid.to_string().as_str()) && lines.nth(6) == Some("ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_ready_when_its_own_pid_file_says_so() {
        let text = "77\n/data\n1700000000\n5432\n/tmp/x\n\n  1 2\nready   \n";

        assert!(is_ready(text, 77));
        assert!(!is_ready(text, 78));
        assert!(!is_ready(&text.replace("ready", "starting"), 77));
        assert!(!is_ready("77\n/data\n", 77));
    }
}
